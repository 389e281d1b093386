//! Bytes that were forged, damaged or invented are refused, or mean a state like any other.

use proptest::prelude::*;

use super::agreement::{actor, encoded, encoded_states};
use crate::{
    EwFlag, GSet, MAX_DEPTH, OrMap, OrSet, PnCounter, Value,
    dynamic::{self, DynamicCrdt, DynamicError},
    executions::executions,
    extension,
};

/// Whatever decodes can be asked, joined and encoded.
fn use_all_of(bytes: &[u8]) {
    if let Ok(value) = rmp_serde::from_slice::<Value>(bytes) {
        let again = rmp_serde::to_vec_named(&value).unwrap();
        assert_eq!(rmp_serde::from_slice::<Value>(&again).unwrap(), value);
        let _ = (value.to_string(), value.readable());
    }
    let Ok(odd) = DynamicCrdt::decode(bytes) else { return };
    let canonical = odd.encode().unwrap();
    assert_eq!(DynamicCrdt::decode(&canonical).unwrap(), odd);
    assert_eq!(dynamic::join(bytes, &canonical).unwrap(), canonical);
    assert_eq!(dynamic::delta(bytes, &canonical).unwrap(), None);
}

fn forged(payload: &[u8]) -> Vec<u8> {
    extension::wrap(payload).unwrap()
}

#[test]
fn what_is_not_one_whole_extension_is_not_a_crdt() {
    let whole = encoded(&PnCounter::<archipelago_clock::ReplicaId>::new());
    for end in 0..whole.len() {
        assert_eq!(dynamic::normalize(&whole[..end]), Err(DynamicError::NotACrdt));
    }
    assert_eq!(dynamic::normalize(&[&whole[..], &[0xc0]].concat()), Err(DynamicError::NotACrdt));
    assert_eq!(dynamic::normalize(&[0xc0]), Err(DynamicError::NotACrdt));
    let other_type = [&[0xd4, 1][..], &[0]].concat();
    assert!(!dynamic::is_crdt(&other_type));
    assert!(rmp_serde::from_slice::<Value>(&other_type).unwrap_err().to_string().contains("extension 1"));
}

#[test]
fn unknown_versions_and_kinds_are_named_and_forged_ones_refused() {
    assert_eq!(
        dynamic::normalize(&forged(&[0x93, 2, 2, 0xc0])),
        Err(DynamicError::UnknownVersion { version: 2 })
    );
    assert_eq!(dynamic::kind_of(&forged(&[0x93, 1, 99, 0xc0])), Err(DynamicError::UnknownKind { code: 99 }));
    let mut set: OrSet<u8> = OrSet::new();
    set.insert(actor(0), 1).unwrap();
    let payload = extension::payload_of(&encoded(&set)).unwrap().to_vec();
    for code in (1..=16).filter(|&code| code != 6) {
        let mut other = payload.clone();
        other[2] = code;
        assert!(dynamic::normalize(&forged(&other)).is_err(), "{code}");
    }
    // A map of bounded counters, which cannot be nested.
    let map = encoded(&OrMap::<u8, EwFlag>::new());
    assert!(dynamic::normalize(&map).is_ok());
    let mut flags: OrMap<u8, EwFlag> = OrMap::new();
    flags.update(actor(0), 1, |flag, actor| flag.enable(actor)).unwrap();
    let mut other = extension::payload_of(&encoded(&flags)).unwrap().to_vec();
    assert_eq!(other[2..5], [0x92, 15, 12]);
    other[4] = 3;
    let error = dynamic::normalize(&forged(&other)).unwrap_err().to_string();
    assert!(error.contains("cannot hold"), "{error}");
}

#[test]
fn states_of_different_kinds_are_not_joined() {
    let counter = encoded(&PnCounter::<archipelago_clock::ReplicaId>::new());
    let flags = encoded(&OrMap::<u8, EwFlag>::new());
    let sets = encoded(&OrMap::<u8, OrSet<u8>>::new());
    for (one, other) in [(&counter, &flags), (&flags, &sets)] {
        assert!(matches!(dynamic::join(one, other), Err(DynamicError::KindMismatch(_))));
        assert!(matches!(dynamic::delta(one, other), Err(DynamicError::KindMismatch(_))));
    }
}

#[test]
fn a_value_of_full_depth_fits_and_more_is_refused() {
    let deepest = (1..MAX_DEPTH).fold(Value::List(vec![]), |inner, _| Value::List(vec![inner]));
    let bytes = encoded(&GSet::from_iter([deepest]));
    assert_eq!(dynamic::normalize(&bytes).unwrap(), bytes);
    let as_field = encoded(&Value::List(vec![rmp_serde::from_slice(&bytes).unwrap()]));
    use_all_of(&as_field);

    // A set of a set of a set, and so on, which no depth of lists would tell.
    let mut inner: GSet<Value> = GSet::new();
    let mut levels = 0;
    let error = loop {
        match DynamicCrdt::from_typed(&inner) {
            Ok(crdt) => inner = GSet::from_iter([Value::from(crdt)]),
            Err(error) => break error,
        }
        levels += 1;
    };
    assert!(levels > 20, "{levels}");
    let sets = inner.iter().next().cloned().unwrap();
    use_all_of(&encoded(&(1..MAX_DEPTH).fold(sets, |inner, _| Value::List(vec![inner]))));
    assert!(matches!(error, DynamicError::Malformed { .. } | DynamicError::TooDeep), "{error}");
    // The same, forged: each level is [1, 4, [the one below]].
    let mut forgery = vec![0xc0];
    for _ in 0..10_000 {
        forgery = forged(&[&[0x93, 1, 4, 0x91][..], &forgery].concat());
    }
    assert_eq!(dynamic::normalize(&forgery), Err(DynamicError::TooDeep));
    assert!(rmp_serde::from_slice::<Value>(&forgery).is_err());
    assert!(rmp_serde::from_slice::<GSet<Value>>(&forgery).is_err());
}

#[test]
fn a_tag_hides_no_crdt_in_message_pack() {
    let tagged = encoded(&std::collections::BTreeMap::from([("!crdt", "930102c0")]));
    let error = rmp_serde::from_slice::<Value>(&tagged).unwrap_err().to_string();
    assert!(error.contains("reserved"), "{error}");
}

proptest! {
    #[test]
    fn invented_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..64), code in 0..20u8) {
        use_all_of(&bytes);
        use_all_of(&forged(&bytes));
        use_all_of(&forged(&[&[0x93, 1, code][..], &bytes].concat()));
        use_all_of(&forged(&[&[0x93, 1, 0x92, 15, code][..], &bytes].concat()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_states_are_harmless(
        run in executions(any::<(u8, u8, u8)>()),
        damages in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        for whole in encoded_states(&run) {
            for (at, byte) in &damages {
                let mut bytes = whole.clone();
                let len = bytes.len();
                bytes[at % len] = *byte;
                use_all_of(&bytes);
                // With the head intact, so that the state is looked at.
                let payload = extension::payload_of(&whole).unwrap();
                let mut payload = payload.to_vec();
                let at = 3 + at % (payload.len() - 3);
                payload[at] = *byte;
                use_all_of(&forged(&payload));
                payload.remove(at);
                use_all_of(&forged(&payload));
            }
        }
    }
}
