//! Values split into fields and back, and hostile ones are refused without recursion.

use std::collections::BTreeMap;

use archipelago_proto::{
    DecodeError, EncodeError, Limits, check_value, decode_value, encode_value, join_fields, split_fields,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct User {
    name: String,
    age: Option<u32>,
    tags: Vec<String>,
}

#[test]
fn a_struct_splits_into_its_fields_and_joins_again() {
    let limits = Limits::default();
    let user = User { name: "Alice".into(), age: None, tags: vec!["a".into()] };
    let value = encode_value(&user, &limits).unwrap();
    let fields = split_fields(&value, &limits).unwrap().unwrap();
    assert_eq!(fields.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["name", "age", "tags"]);
    let joined = join_fields(fields.iter().map(|(name, value)| (&**name, &value[..])));
    assert_eq!(joined, value);
    assert_eq!(decode_value::<User>(&joined, &limits).unwrap(), user);
}

#[test]
fn what_is_not_a_map_of_text_has_no_fields() {
    let limits = Limits::default();
    for value in [encode_value(&7, &limits), encode_value(&BTreeMap::from([(1, 2)]), &limits)] {
        assert_eq!(split_fields(&value.unwrap(), &limits).unwrap(), None);
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let limits = Limits::default();
    assert!(decode_value::<u8>(&Bytes::from_static(&[1, 2]), &limits).is_err());
    assert!(decode_value::<u8>(&Bytes::new(), &limits).is_err());
}

#[test]
fn nesting_beyond_the_limit_is_refused_not_a_stack_overflow() {
    let limits = Limits::default();
    let nested = |depth: usize| Bytes::from([vec![0x91; depth], vec![0xc0]].concat());
    assert!(check_value(&nested(limits.value_depth_max), &limits).is_ok());
    let error = decode_value::<serde_json::Value>(&nested(400_000), &limits).unwrap_err();
    assert_eq!(error, DecodeError::OverLimit { limit: "value_depth_max", found: 65, max: 64 });
}

#[test]
fn a_value_over_the_limit_names_it() {
    let limits = Limits::default();
    let error = encode_value(&"x".repeat(600 * 1024), &limits).unwrap_err();
    assert!(matches!(error, EncodeError::OverLimit { limit: "value_bytes_max", max: 524_288, .. }));
}

#[test]
fn a_forged_length_is_refused_without_allocating() {
    let forged = Bytes::from_static(&[0xdf, 0xff, 0xff, 0xff, 0xff]);
    assert!(split_fields(&forged, &Limits::default()).is_err());
    let forged = Bytes::from_static(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0]);
    assert!(check_value(&forged, &Limits::default()).is_err());
}

#[test]
fn writes_within_the_limits_stay_readable_when_they_are_too_large_together() {
    use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
    use archipelago_proto::{Body, Record, ReplicaTable, Slot, Version};
    let limits = Limits::default();
    let field =
        |n: u8| (Slot::Field(format!("f{n}").into()), Some(Bytes::from(vec![n; limits.value_bytes_max])));
    let dot = Dot::new(ReplicaId::new("a", Incarnation::from_bits(1)).unwrap(), 1);
    let version = Version { dot, hlc: Hlc::ZERO, body: Body::Fields((0..3).map(field).collect()) };
    let (record, mut table) = (Record { versions: vec![version] }, ReplicaTable::default());
    let stored = record.encode(&mut table);
    assert_eq!(Record::decode(stored, &table, &limits).unwrap(), record);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f32>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(Into::into),
        "\\PC{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            proptest::collection::btree_map("[a-z]{0,4}", inner, 0..20)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_round_trips_through_its_fields(value in json()) {
        let limits = Limits::default();
        let bytes = encode_value(&value, &limits).unwrap();
        prop_assert_eq!(&decode_value::<serde_json::Value>(&bytes, &limits).unwrap(), &value);
        match split_fields(&bytes, &limits).unwrap() {
            None => prop_assert!(!value.is_object()),
            Some(fields) => {
                let joined = join_fields(fields.iter().map(|(name, value)| (&**name, &value[..])));
                prop_assert_eq!(joined, bytes);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = split_fields(&bytes, &Limits::default());
        let _ = decode_value::<serde_json::Value>(&bytes, &Limits::default());
    }
}
