use std::{collections::BTreeMap, ops::Bound};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Call {
    Put(Vec<u8>, Vec<u8>),
    /// Puts a value that is so many bytes longer than the old one, or shorter.
    Resize(Vec<u8>, isize),
    Remove(Vec<u8>),
    Get(Vec<u8>),
    Scan(Bound<Vec<u8>>, Bound<Vec<u8>>, usize),
}

const PREFIXES: [&str; 5] = ["", "user:", "user:eu-west:", "user:eu-west:0", "user:eu-west:000000000000000"];

/// Keys of 1 to 40 bytes, most of which begin as others do, and few enough that calls meet.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let sharing =
        (select(&PREFIXES[..]), 0..200u32).prop_map(|(prefix, id)| format!("{prefix}{id}").into_bytes());
    prop_oneof![4 => sharing, 1 => vec(0..2u8, 1..5), 1 => vec(Just(7u8), 1..41), 1 => vec(any::<u8>(), 1..41)]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), (any::<u8>(), 200..260usize).prop_map(|(byte, len)| vec![byte; len])]
}

fn bounds() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), keys().prop_map(Bound::Included), keys().prop_map(Bound::Excluded)]
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (keys(), values()).prop_map(|(key, value)| Call::Put(key, value)),
        6 => (keys(), -40..40isize).prop_map(|(key, by)| Call::Resize(key, by)),
        3 => keys().prop_map(Call::Remove),
        3 => keys().prop_map(Call::Get),
        1 => (bounds(), bounds(), prop_oneof![0..20usize, Just(usize::MAX)])
            .prop_map(|(from, to, limit)| Call::Scan(from, to, limit)),
    ]
}

fn check(entities: &Entities, model: &mut Model, call: Call) -> Result<(), TestCaseError> {
    match call {
        Call::Put(key, value) => {
            entities.apply(&key, Some(&value));
            model.insert(key, value);
        }
        Call::Resize(key, by) => {
            let Some(value) = model.get_mut(&key) else { return Ok(()) };
            value.resize(value.len().saturating_add_signed(by), 9);
            entities.apply(&key, Some(value));
        }
        Call::Remove(key) => {
            entities.apply(&key, None);
            model.remove(&key);
        }
        Call::Get(key) => {
            let found = entities.get(&key);
            prop_assert_eq!(found.as_deref(), model.get(&key).map(Vec::as_slice));
        }
        Call::Scan(from, to, limit) => {
            let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let Some(range) = KeyRange::new(from, to) else { return Ok(()) };
            prop_assert_eq!(entities.scan(&range, limit), expected(model, &range, limit));
        }
    }
    Ok(())
}

fn expected(model: &Model, range: &KeyRange<'_>, limit: usize) -> Vec<Row> {
    let rows = model.iter().filter(|(key, _)| range.holds(key)).take(limit);
    rows.map(|(key, value)| Row { key: key.clone().into(), value: value.clone().into() }).collect()
}

proptest! {
    #[test]
    fn any_calls_do_what_they_do_to_an_ordered_map(calls in vec(calls(), 1..300)) {
        let (entities, mut model) = (Entities::default(), Model::new());
        for call in calls {
            check(&entities, &mut model, call)?;
        }
        prop_assert_eq!(entities.scan(&KeyRange::all(), usize::MAX), expected(&model, &KeyRange::all(), usize::MAX));
    }
}

#[test]
fn a_scan_pages_through_many_rows_however_they_came() {
    let entities = Entities::default();
    let mut model = Model::new();
    // So many that new rows gather in the buckets. Both numbers are prime: every id comes once, in an order of no use.
    for id in (0..200_003u32).map(|n| n * 7_919 % 200_003) {
        let key = format!("user:eu-west:{id:08}").into_bytes();
        entities.apply(&key, Some(&id.to_be_bytes()));
        model.insert(key, id.to_be_bytes().to_vec());
    }
    let (mut rows, mut last) = (Vec::new(), Bytes::from_static(b"user"));
    while let page @ [.., end] = &entities.scan(&after(&last), 20_000)[..] {
        rows.extend_from_slice(page);
        last = end.key.clone();
    }
    assert_eq!(rows, expected(&model, &KeyRange::all(), usize::MAX));
}

fn after(key: &[u8]) -> KeyRange<'_> {
    KeyRange::new(Bound::Excluded(key), Bound::Unbounded).expect("keys above this one")
}
