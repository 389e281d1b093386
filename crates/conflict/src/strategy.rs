use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use thiserror::Error;

/// How concurrent writes to one entity are brought together.
///
/// | strategy | name | family | outcome of a conflict | choose it when |
/// |---|---|---|---|---|
/// | [`Lww`](Strategy::Lww) | `lww` | joined | the record of the later write, whole | a record is written as a whole |
/// | [`FieldMerge`](Strategy::FieldMerge) | `field-merge` | joined | each field from the later write of that field | writers change different fields |
///
/// All replicas of a namespace must use the same strategy for an entity: compare
/// [`fingerprint`](Strategy::fingerprint)s. The text form is the name, also in serde.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Last writer wins: the write with the greatest stamp is the record, and the others leave no trace.
    #[default]
    Lww,
    /// Each field of a map is a register of its own with a stamp of its own. Fields are those of the outermost
    /// map; what nests below is one value. A record that is not a map is one value as a whole.
    FieldMerge,
}

/// What a replica stores of an entity that was written concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// One state, in which the concurrent writes are joined already.
    Joined,
    /// Every concurrent write, as siblings; what is visible is a function of the set of them.
    Siblings,
}

/// The text names no strategy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is not a conflict strategy: choose one of lww, field-merge")]
pub struct ParseStrategyError {
    /// The offending name, cut to a printable length.
    pub name: String,
}

impl Strategy {
    /// Every strategy, in the order in which they were introduced.
    pub const ALL: [Strategy; 2] = [Strategy::Lww, Strategy::FieldMerge];

    /// The stable name: in configuration, on the wire and in [`Display`](fmt::Display).
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Lww => "lww",
            Strategy::FieldMerge => "field-merge",
        }
    }

    /// What is stored of a conflict.
    pub const fn family(self) -> Family {
        match self {
            Strategy::Lww | Strategy::FieldMerge => Family::Joined,
        }
    }

    /// The version of the strategy's rules: raised when the same writes would have another outcome.
    const fn version(self) -> u8 {
        match self {
            Strategy::Lww | Strategy::FieldMerge => 1,
        }
    }

    /// A number that two replicas share exactly if they resolve by the same rules: FNV-1a in 64 bits of the name,
    /// a `/` and the version of the rules. It is stable over releases and platforms, and no proof against malice.
    pub const fn fingerprint(self) -> u64 {
        let hash = fnv1a(0xcbf2_9ce4_8422_2325, self.name().as_bytes());
        fnv1a(hash, &[b'/', b'0' + self.version()])
    }
}

const fn fnv1a(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        bytes = rest;
    }
    hash
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = ParseStrategyError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == name);
        found.ok_or_else(|| ParseStrategyError { name: name.chars().take(64).collect() })
    }
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_survives_json() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            let json = serde_json::to_string(&strategy).unwrap();
            assert_eq!(serde_json::from_str::<Strategy>(&json).unwrap(), strategy);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = "newest".parse::<Strategy>().unwrap_err().to_string();
        for strategy in Strategy::ALL {
            assert!(message.contains(strategy.name()), "{message}");
        }
    }

    #[test]
    fn fingerprints_never_change() {
        // Replicas of different releases compare these: if one changes, so must the version of its rules.
        assert_eq!(Strategy::Lww.fingerprint(), 0xcd4b_2581_1bfb_1629);
        assert_eq!(Strategy::FieldMerge.fingerprint(), 0x4cd3_629c_b1f4_fb66);
    }
}
