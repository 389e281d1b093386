use std::fmt;

use archipelago_clock::{Dot, Hlc};
use serde::{Deserialize, Serialize};

/// The place of one write in the order that decides winners: by HLC, then by replica, then by sequence.
///
/// It is total, since no two writes share a dot, and it agrees with causality: if write a caused write b, then
/// `stamp(a) < stamp(b)`. Every strategy that picks a winner picks the greatest stamp.
///
/// Kulkarni et al., *Logical physical clocks and consistent snapshots in globally distributed databases*, 2014.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    // The order of the fields is the order of stamps.
    /// When the write was made.
    pub hlc: Hlc,
    /// Which write it was.
    pub dot: Dot,
}

impl Stamp {
    /// The stamp of the write `dot`, made at `hlc`.
    pub const fn new(hlc: Hlc, dot: Dot) -> Self {
        Stamp { hlc, dot }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hlc, self.dot)
    }
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Incarnation, ReplicaId};

    use super::*;

    fn stamp(ms: u64, name: &str, sequence: u64) -> Stamp {
        let replica = ReplicaId::new(name, Incarnation::from_bits(1)).unwrap();
        Stamp::new(Hlc::new(ms, 0), Dot::new(replica, sequence))
    }

    #[test]
    fn time_decides_before_replica_before_sequence() {
        let ascending =
            [stamp(1000, "us", 9), stamp(2000, "eu", 8), stamp(2000, "us", 1), stamp(2000, "us", 2)];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn survives_json() {
        let json = serde_json::to_string(&stamp(1000, "us", 9)).unwrap();
        assert_eq!(serde_json::from_str::<Stamp>(&json).unwrap(), stamp(1000, "us", 9));
    }
}
