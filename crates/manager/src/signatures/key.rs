use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer, VerifyingKey};

/// What a public key begins with as text.
const PUBLIC: &str = "ed25519:";
/// The same of a secret one.
const SECRET: &str = "ed25519-secret:";

/// The key with which a node signs what it says, of [Ed25519](https://www.rfc-editor.org/rfc/rfc8032). Whoever has it
/// speaks as that node.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new one, from the random numbers of the operating system.
    pub fn generate() -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(&rand::random()))
    }

    /// Reads what [`to_secret_text`](Self::to_secret_text) wrote; white space around it does not count.
    ///
    /// # Errors
    /// [`InvalidKey`], which does not repeat the text.
    pub fn from_secret_text(text: &str) -> Result<SigningKey, InvalidKey> {
        let secret = text.trim().strip_prefix(SECRET).and_then(from_hex);
        let secret = secret.ok_or(InvalidKey { prefix: SECRET, is_public: false })?;
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// The key itself, `ed25519-secret:` and 64 hexadecimal digits, to be kept where nobody else reads it.
    pub fn to_secret_text(&self) -> String {
        format!("{SECRET}{}", Hex(self.0.as_bytes()))
    }

    /// The key by which others know it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, statement: &[u8]) -> [u8; 64] {
        self.0.sign(statement).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {}", self.public())
    }
}

/// The key by which what a node says is known to be from it. No secret. As text `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether whoever has the secret of this key signed the statement. Strict: a key of small order, with which a signature
    /// may fit several statements, signs nothing.
    pub(super) fn signed(&self, statement: &[u8], proof: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(statement, &ed25519_dalek::Signature::from_bytes(proof)).is_ok()
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", Hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<PublicKey, InvalidKey> {
        let invalid = InvalidKey { prefix: PUBLIC, is_public: true };
        let key = text.trim().strip_prefix(PUBLIC).and_then(from_hex).ok_or(invalid.clone())?;
        match VerifyingKey::from_bytes(&key) {
            Ok(point) if !point.is_weak() => Ok(PublicKey(key)),
            _ => Err(invalid),
        }
    }
}

/// A text is not a key. It is not repeated: it may be a secret one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {} key: expected {prefix} and 64 hexadecimal digits", if *is_public { "public" } else { "secret" })]
pub struct InvalidKey {
    prefix: &'static str,
    is_public: bool,
}

struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = SigningKey::generate();
        let again = SigningKey::from_secret_text(&format!(" {}\n", key.to_secret_text())).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
    }

    #[test]
    fn a_statement_is_signed_by_one_key_alone() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let proof = key.sign(b"a");
        assert!(key.public().signed(b"a", &proof));
        assert!(!key.public().signed(b"b", &proof));
        assert!(!other.public().signed(b"a", &proof));
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        let secret = SigningKey::generate().to_secret_text();
        let error = secret.parse::<PublicKey>().unwrap_err().to_string();
        assert_eq!(error, "this is no public key: expected ed25519: and 64 hexadecimal digits");
        for text in ["", "ed25519:", "ed25519:00", &format!("ed25519:{}é", "0".repeat(62))] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        // The neutral element of the curve, with which anything can be signed.
        assert!(format!("ed25519:01{}", "0".repeat(62)).parse::<PublicKey>().is_err());
        let error = SigningKey::from_secret_text("hello").unwrap_err().to_string();
        assert_eq!(error, "this is no secret key: expected ed25519-secret: and 64 hexadecimal digits");
    }

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let key = SigningKey::generate();
        let secret = key.to_secret_text();
        assert!(!format!("{key:?}").contains(secret.rsplit(':').next().unwrap()));
    }

    /// The first test vector of RFC 8032, section 7.1: whoever writes a client can check against it.
    #[test]
    fn keys_and_signatures_are_those_of_rfc_8032() {
        let secret = "ed25519-secret:9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = SigningKey::from_secret_text(secret).unwrap();
        assert_eq!(
            key.public().to_string(),
            "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let proof: String = key.sign(b"").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            proof,
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b"
        );
    }
}
