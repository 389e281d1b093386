use std::{cmp::Ordering, fmt, hash, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name of a replica, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Tells apart the lives of one replica: a new one is minted with each new store, so that a replica that lost its
/// disk never reuses its old sequence numbers.
///
/// A later incarnation should be greater. [`Incarnation::mint`] takes time and randomness as arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// An incarnation of the wall clock's milliseconds and 16 random bits: unique among the incarnations of one
    /// name, and later ones greater, as far as the wall clock goes.
    pub const fn mint(unix_ms: u64, random: u16) -> Self {
        Incarnation((unix_ms << 16) | random as u64)
    }

    /// The next incarnation of the same name: as [`mint`](Self::mint), and later than this one whatever the wall clock says.
    #[must_use]
    pub const fn next(self, unix_ms: u64, random: u16) -> Self {
        let later_ms = (self.0 >> 16) + 1;
        Self::mint(if unix_ms > later_ms { unix_ms } else { later_ms }, random)
    }

    /// From the number that [`bits`](Self::bits) gives.
    pub const fn from_bits(bits: u64) -> Self {
        Incarnation(bits)
    }

    /// As a number, for the wire.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The identity of one replica: a stable human name plus an [`Incarnation`].
///
/// Ordered by name, then incarnation; conflict strategies break ties by it. Cheap to clone. The text form is
/// `name@incarnation` with 16 hexadecimal digits, also in serde.
#[derive(Clone)]
pub struct ReplicaId {
    /// The first bytes of the name, the first one most significant, and zeros if there are fewer: in the order of names,
    /// and at hand without looking elsewhere. Ids are compared more often than anything else is done with them.
    prefix: [u64; 2],
    identity: Arc<Identity>,
}

#[derive(Hash)]
struct Identity {
    name: Box<str>,
    incarnation: Incarnation,
}

/// The text is not a replica name or id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReplicaIdError {
    /// The name is empty, too long or has a character that may not be in a NATS subject token.
    #[error("{name:?} is not a replica name: use 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ -")]
    Name {
        /// The offending name, cut to a printable length.
        name: String,
    },
    /// The part after `@` is missing or not 16 hexadecimal digits.
    #[error("{text:?} is not a replica id: expected name@incarnation with 16 hexadecimal digits")]
    Incarnation {
        /// The offending text, cut to a printable length.
        text: String,
    },
}

impl ReplicaId {
    /// The replica `name` in its life `incarnation`.
    ///
    /// # Errors
    /// [`ParseReplicaIdError::Name`] unless the name is 1 to [`NAME_BYTES_MAX`] characters of `A-Z a-z 0-9 _ -`.
    pub fn new(name: &str, incarnation: Incarnation) -> Result<Self, ParseReplicaIdError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
            return Err(ParseReplicaIdError::Name { name: printable(name) });
        }
        Ok(ReplicaId {
            prefix: prefix(name),
            identity: Arc::new(Identity { name: name.into(), incarnation }),
        })
    }

    /// The human name, the same in every incarnation.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// Which life of the replica this is.
    pub fn incarnation(&self) -> Incarnation {
        self.identity.incarnation
    }

    /// How the names compare, of two ids whose names begin alike.
    fn cmp_names(&self, other: &Self) -> Ordering {
        // No name has a zero in it: one that is shorter than the prefix is all in there.
        let is_all = self.prefix[1].trailing_zeros() >= u8::BITS;
        if is_all { Ordering::Equal } else { self.identity.name.cmp(&other.identity.name) }
    }
}

fn prefix(name: &str) -> [u64; 2] {
    let byte = |at: usize| u64::from(name.as_bytes().get(at).copied().unwrap_or_default());
    [0, 8].map(|first| (first..first + 8).fold(0, |word, at| word << u8::BITS | byte(at)))
}

fn printable(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX + 1).collect()
}

impl PartialEq for ReplicaId {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix
            && (Arc::ptr_eq(&self.identity, &other.identity)
                || self.incarnation() == other.incarnation() && self.cmp_names(other).is_eq())
    }
}

impl Eq for ReplicaId {}

impl Ord for ReplicaId {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.prefix != other.prefix {
            return self.prefix.cmp(&other.prefix);
        }
        if Arc::ptr_eq(&self.identity, &other.identity) {
            return Ordering::Equal;
        }
        self.cmp_names(other).then_with(|| self.incarnation().cmp(&other.incarnation()))
    }
}

impl PartialOrd for ReplicaId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl hash::Hash for ReplicaId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), self.incarnation())
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplicaId {
    type Err = ParseReplicaIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseReplicaIdError::Incarnation { text: printable(text) };
        let (name, digits) = text.rsplit_once('@').ok_or_else(malformed)?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() != 16 || !digits.bytes().all(lower_hex) {
            return Err(malformed());
        }
        let bits = u64::from_str_radix(digits, 16).map_err(|_| malformed())?;
        ReplicaId::new(name, Incarnation(bits))
    }
}

impl Serialize for ReplicaId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = ReplicaId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a replica id such as us-east@0190c3a5b6c7d8e9")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReplicaId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}
