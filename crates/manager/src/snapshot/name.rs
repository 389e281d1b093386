//! What snapshots are called.

use archipelago_clock::ReplicaId;

/// How many hexadecimal digits of milliseconds a name has: enough until the year 10889.
const TIME_DIGITS: usize = 12;

/// The name of a snapshot: of one namespace, names sort by age.
pub(crate) fn name(namespace: &str, made_unix_ms: u64, replica: &ReplicaId) -> String {
    let (name, incarnation) = (replica.name(), replica.incarnation().bits());
    format!("{namespace}-{made_unix_ms:0TIME_DIGITS$x}-{name}-{incarnation:016x}")
}

/// When the snapshot of this name was made, if it can be one of this namespace.
pub(crate) fn made_unix_ms(name: &str, namespace: &str) -> Option<u64> {
    let rest = name.strip_prefix(namespace)?.strip_prefix('-')?;
    let (time, rest) = rest.split_at_checked(TIME_DIGITS)?;
    rest.strip_prefix('-')?;
    let is_hex = time.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u64::from_str_radix(time, 16).ok())?
}

/// The names that can be snapshots of this namespace, newest first.
pub(crate) fn newest_first(names: Vec<String>, namespace: &str) -> Vec<String> {
    let mut names: Vec<String> =
        names.into_iter().filter(|name| made_unix_ms(name, namespace).is_some()).collect();
    names.sort_unstable_by(|left, right| right.cmp(left));
    names
}

#[cfg(test)]
mod tests {
    use archipelago_clock::Incarnation;

    use super::*;

    fn replica(name: &str) -> ReplicaId {
        ReplicaId::new(name, Incarnation::from_bits(7)).expect("a legal name")
    }

    #[test]
    fn names_of_one_namespace_sort_by_age_and_tell_it() {
        let old = name("people", 1, &replica("z"));
        let new = name("people", 1_795_220_962_300, &replica("a-b"));
        assert_eq!(new, "people-01a1fb81fbfc-a-b-0000000000000007");
        assert_eq!(made_unix_ms(&new, "people"), Some(1_795_220_962_300));
        let foreign = name("peoples", 5, &replica("a"));
        let names = vec![old.clone(), "people-x".to_owned(), foreign, new.clone()];
        assert_eq!(newest_first(names, "people"), [new, old]);
    }

    #[test]
    fn what_is_no_name_of_a_snapshot_is_none() {
        for wrong in [
            "",
            "people",
            "people-",
            "people-01a1fb81fbfc",
            "people-01A1FB81FBFC-a-7",
            "people-ü1a1fb81fbfcü-a",
        ] {
            assert_eq!(made_unix_ms(wrong, "people"), None, "{wrong}");
        }
    }
}
