use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use thiserror::Error;

use crate::{Attention, ConflictStrategy, Family, Join, Reading, Sibling};

/// The built-in strategies.
///
/// | strategy | name | stored | outcome of a conflict | choose it when |
/// |---|---|---|---|---|
/// | [`Lww`](Strategy::Lww) | `lww` | joined | the record of the later write, whole | a record is written as a whole |
/// | [`FieldMerge`](Strategy::FieldMerge) | `field-merge` | joined | each field from the later write of that field | writers change different fields |
/// | [`CrdtMerge`](Strategy::CrdtMerge) | `crdt-merge` | joined | fields that are CRDTs join, the others as under field merge | there are counters, sets or lists |
/// | [`VersionVector`](Strategy::VersionVector) | `version-vector` | siblings | the later write is visible, all versions can be read | readers can merge |
/// | [`Manual`](Strategy::Manual) | `manual` | siblings | the later write is visible and marked, until someone resolves | people decide |
/// | [`Detect`](Strategy::Detect) | `detect` | siblings | the later write is visible, the conflict is reported | people want to know |
///
/// For rules of its own an application uses [`Custom`](crate::Custom). The text form is the name, also in serde.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Last writer wins: the write with the greatest stamp is the record, and the others leave no trace.
    #[default]
    Lww,
    /// Each field of a map is a register of its own with a stamp of its own. Fields are those of the outermost
    /// map; what nests below is one value. A record that is not a map is one value as a whole.
    FieldMerge,
    /// As field merge, but fields that are CRDTs join. A plain write or removal of such a field, or of the record,
    /// takes with it all updates that were made without knowing of it; later ones begin anew.
    CrdtMerge,
    /// A write supersedes what its author had seen. Of concurrent ones the later is visible, and all can be read.
    VersionVector,
    /// Concurrent writes wait for someone to resolve them; the later one is visible meanwhile, and marked.
    Manual,
    /// Concurrent writes are reported; the later one is visible.
    Detect,
}

/// The text names no strategy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{name:?} is not a conflict strategy: choose one of lww, field-merge, crdt-merge, version-vector, manual, detect"
)]
pub struct ParseStrategyError {
    /// The offending name, cut to a printable length.
    pub name: String,
}

impl Strategy {
    /// Every built-in strategy, in the order in which they were introduced.
    pub const ALL: [Strategy; 6] = [
        Strategy::Lww,
        Strategy::FieldMerge,
        Strategy::CrdtMerge,
        Strategy::VersionVector,
        Strategy::Manual,
        Strategy::Detect,
    ];

    /// The stable name: in configuration, on the wire and in [`Display`](fmt::Display).
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Lww => "lww",
            Strategy::FieldMerge => "field-merge",
            Strategy::CrdtMerge => "crdt-merge",
            Strategy::VersionVector => "version-vector",
            Strategy::Manual => "manual",
            Strategy::Detect => "detect",
        }
    }
}

impl ConflictStrategy for Strategy {
    fn name(&self) -> &str {
        Strategy::name(*self)
    }

    fn family(&self) -> Family {
        match self {
            Strategy::Lww => Family::Joined(Join::Whole),
            Strategy::FieldMerge => Family::Joined(Join::Fields),
            Strategy::CrdtMerge => Family::Joined(Join::Crdts),
            Strategy::VersionVector | Strategy::Manual | Strategy::Detect => Family::Siblings,
        }
    }

    fn read(&self, _: &[Sibling]) -> Reading {
        match self {
            Strategy::VersionVector => Reading::All,
            _ => Reading::Greatest,
        }
    }

    fn attention(&self) -> Attention {
        match self {
            Strategy::Manual => Attention::Resolve,
            Strategy::Detect => Attention::Report,
            _ => Attention::None,
        }
    }
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
