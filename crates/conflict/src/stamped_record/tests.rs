use archipelago_crdt::value;
use proptest::prelude::*;

use super::*;

type Record = StampedRecord<(u64, String)>;

fn at(time: u64) -> (u64, String) {
    (time, "us".to_owned())
}

fn joined(a: &Record, b: &Record) -> Record {
    let mut joined = a.clone();
    joined.merge(b);
    joined
}

/// One write, with so few stamps and fields that writes collide in every way.
fn writes() -> impl Strategy<Value = Record> {
    let stamp = (0..4u64, "[a-b]");
    let leaf = prop_oneof![(0..3i64).prop_map(Value::Int), Just(Value::Null)];
    let fields = proptest::collection::btree_map("[x-z]", leaf.clone(), 0..3).prop_map(Value::Map);
    let patch = fields.clone();
    (stamp, 0..4u8, "[x-z]", prop_oneof![leaf, fields], patch).prop_map(
        |(stamp, kind, field, whole, patch)| {
            let mut record = Record::new();
            match kind {
                0 => record.remove(&field, stamp).unwrap(),
                1 => record.replace(whole, stamp).unwrap(),
                2 => record.delete(stamp).unwrap(),
                _ => Record::from_value(patch, stamp),
            };
            record
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    proptest::collection::vec(writes(), 0..5)
        .prop_map(|writes| writes.iter().fold(Record::new(), |record, write| joined(&record, write)))
}

#[test]
fn each_field_goes_to_its_own_latest_write() {
    let us = Record::from_value(value!({ "name": "Alice", "email": "a@x", "age": 30 }), at(1000));
    let eu = Record::from_value(value!({ "name": "Bob", "phone": "555" }), at(2000));
    let both = value!({ "name": "Bob", "email": "a@x", "age": 30, "phone": "555" });
    assert_eq!(joined(&us, &eu).value(), Some(both));
    assert_eq!(joined(&us, &eu), joined(&eu, &us));
}

#[test]
fn three_replicas_agree_where_one_stamp_a_record_would_not() {
    let a = Record::from_value(value!({ "x": 1 }), at(1));
    let b = Record::from_value(value!({ "y": 1 }), at(3));
    let c = Record::from_value(value!({ "x": 2 }), at(2));
    assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
    assert_eq!(joined(&joined(&a, &b), &c).value(), Some(value!({ "x": 2, "y": 1 })));
}

#[test]
fn a_removed_field_stays_removed_when_an_older_write_arrives_late() {
    let older = Record::from_value(value!({ "phone": "555", "name": "Bob" }), at(1));
    let mut record = older.clone();
    record.remove("phone", at(2)).unwrap();
    record.merge(&older);
    assert_eq!(record.value(), Some(value!({ "name": "Bob" })));
    assert_eq!(record.stamp_of("phone"), Some(&at(2)));
}

#[test]
fn only_stable_removals_are_forgotten() {
    let mut record = Record::from_value(value!({ "x": 1, "y": 1, "z": 1 }), at(1));
    record.remove("x", at(2)).unwrap();
    record.remove("y", at(3)).unwrap();
    let seen = record.value();
    assert_eq!(record.forget_removed(|stamp| *stamp <= at(2)), 1);
    let names: Vec<_> = record.fields().map(|(name, content, _)| (name, content.value().is_some())).collect();
    assert_eq!(names, [("y", false), ("z", true)]);
    assert_eq!(record.value(), seen);
}

#[test]
fn null_is_a_value_and_removal_is_not() {
    let mut record = Record::from_value(value!({ "phone": null }), at(1));
    assert_eq!(record.value(), Some(value!({ "phone": null })));
    record.remove("phone", at(2)).unwrap();
    assert_eq!(record.value(), Some(value!({})));
}

#[test]
fn a_write_of_the_whole_hides_older_fields_and_shows_newer_ones() {
    let mut record = Record::from_value(value!({ "x": 1, "y": 1 }), at(1));
    record.replace(value!({ "z": 2 }), at(2)).unwrap();
    assert_eq!(record.value(), Some(value!({ "z": 2 })));
    record.merge(&Record::from_value(value!({ "x": 3 }), at(3)));
    assert_eq!(record.value(), Some(value!({ "x": 3, "z": 2 })));
}

#[test]
fn a_field_written_after_a_deletion_brings_the_record_back_alone() {
    let mut record = Record::from_value(value!({ "x": 1, "y": 1 }), at(1));
    record.delete(at(2)).unwrap();
    assert_eq!(record.value(), None);
    record.set("y", Value::from(3), at(3)).unwrap();
    assert_eq!(record.value(), Some(value!({ "y": 3 })));
}

#[test]
fn a_stale_write_is_an_error_that_changes_nothing() {
    let mut record = Record::from_value(value!({ "x": 1 }), at(1));
    record.replace(value!({ "x": 2 }), at(5)).unwrap();
    let before = record.clone();
    assert_eq!(record.set("x", Value::Null, at(5)), Err(RegisterError::StaleStamp));
    assert_eq!(record.set("new", Value::Null, at(4)), Err(RegisterError::StaleStamp));
    assert_eq!(record.remove("x", at(4)), Err(RegisterError::StaleStamp));
    assert_eq!(record.replace(Value::Null, at(5)), Err(RegisterError::StaleStamp));
    assert_eq!(record.delete(at(5)), Err(RegisterError::StaleStamp));
    assert_eq!(record, before);
}

#[test]
fn encodes_readably_and_decodes_strictly() {
    let mut record = StampedRecord::from_value(value!({ "name": "Bob" }), 1);
    record.remove("age", 2).unwrap();
    let json = r#"{"base":null,"fields":{"age":{"stamp":2,"value":"removed"},"name":{"stamp":1,"value":{"set":"Bob"}}}}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), json);

    let hidden = r#"{"base":{"stamp":2,"value":{"set":{"y":1}}},"fields":{"x":{"stamp":1,"value":"removed"},"z":null}}"#;
    let decoded: StampedRecord<u64> = serde_json::from_str(hidden).unwrap();
    let mut expected = StampedRecord::new();
    expected.replace(value!({ "y": 1 }), 2).unwrap();
    assert_eq!(decoded, expected);
}

proptest! {
    #[test]
    fn is_a_join_semilattice(a in records(), b in records(), c in records()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a), "commutative");
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)), "associative");
        prop_assert_eq!(joined(&a, &a), a.clone(), "idempotent");
        prop_assert!(joined(&a, &b).covers(&a), "monotone");
    }

    #[test]
    fn a_delta_says_what_the_state_says(a in records(), b in records(), x in records()) {
        let receiver = joined(&b, &x);
        let mut actual = receiver.clone();
        if let Some(delta) = a.delta_since(&b) {
            actual.merge_delta(&delta);
        }
        prop_assert_eq!(actual, joined(&receiver, &a));
        prop_assert_eq!(a.delta_since(&b).is_none(), b.covers(&a));
    }

    #[test]
    fn updates_move_up_and_return_their_delta(a in records(), time in 0..6u64, kind in 0..4u8) {
        let mut updated = a.clone();
        let result = match kind {
            0 => updated.set("x", Value::from(7), at(time)),
            1 => updated.remove("x", at(time)),
            2 => updated.replace(value!({ "x": 7 }), at(time)),
            _ => updated.delete(at(time)),
        };
        match result {
            Ok(delta) => {
                prop_assert!(updated.covers(&a));
                prop_assert_eq!(joined(&a, &delta), updated);
            }
            Err(_) => prop_assert_eq!(updated, a),
        }
    }

    #[test]
    fn forgetting_removals_keeps_the_value(a in records(), horizon in 0..5u64) {
        let mut reclaimed = a.clone();
        reclaimed.forget_removed(|(time, _)| *time < horizon);
        prop_assert_eq!(reclaimed.value(), a.value());
        prop_assert!(a.covers(&reclaimed));
    }

    #[test]
    fn survives_encoding(a in records()) {
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), a.clone(), "{}", json);
        let bytes = rmp_serde::to_vec_named(&a).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Record>(&bytes).unwrap(), a);
    }
}
