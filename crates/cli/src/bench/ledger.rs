use std::collections::BTreeMap;

/// What the clients were told of each write, by its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) outcomes: BTreeMap<u64, Outcome>,
}

/// What a client was told of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done, as this entry.
    Acknowledged { sequence: u64 },
    /// Nothing: it may be done or not.
    Unknown,
    /// It is not done.
    NotWritten,
    /// First that it is not done, and then that it was.
    Contradicted,
}

impl Ledger {
    pub(crate) fn count(&self, is: impl Fn(Outcome) -> bool) -> u64 {
        self.outcomes.values().filter(|outcome| is(**outcome)).count() as u64
    }
}

/// The key of a write.
pub(crate) fn key(number: u64) -> String {
    format!("w/{number:012}")
}

/// The number of the write that has this key.
pub(crate) fn number(key: &str) -> Option<u64> {
    key.strip_prefix("w/")?.parse().ok()
}

/// The value of a write; no other one has it.
pub(crate) fn value(seed: u64, number: u64) -> String {
    // SplitMix64: neighbours have nothing in common.
    let mut mixed = (seed ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    format!("{number}-{:016x}", mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_number_and_values_differ() {
        for at in [0, 7, 123_456_789] {
            assert_eq!(number(&key(at)), Some(at));
        }
        assert_eq!(number("x/1"), None);
        assert_ne!(value(1, 7), value(1, 8));
        assert_ne!(value(1, 7), value(2, 7));
    }
}
