use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;
use serde::{Deserialize, Serialize, de};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Kind, Setting};

/// What every token begins with, so that one is recognised where it should not be.
const PREFIX: &str = "archipelago_";
/// How many random bytes a token has.
const RANDOM_BYTES: usize = 32;

/// A token that lets its holder use a node. Shown once, and kept by nobody but its holder.
#[derive(Clone)]
pub struct ApiToken(String);

/// What a node keeps of a token: its SHA-256. A token has 256 random bits, so nothing slower is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl ApiToken {
    /// A new one, from the random numbers of the operating system.
    pub fn mint() -> ApiToken {
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill_bytes(&mut random);
        ApiToken(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the node keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(***)")
    }
}

impl TokenHash {
    pub(crate) fn of(token: &str) -> TokenHash {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }

    /// Compares in a time that tells nothing of where the two differ.
    pub(crate) fn is(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for TokenHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let mut hash = [0; 32];
            if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            }
            Some(TokenHash(hash))
        };
        parse().ok_or_else(|| de::Error::custom("it is not 64 hexadecimal digits, the SHA-256 of a token"))
    }
}

impl Setting for TokenHash {
    const KIND: Kind = Kind::Text;
}
