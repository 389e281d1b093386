//! The worked examples of resolution, as they are written.

use std::collections::BTreeMap;

use archipelago_clock::{ReplicaId, VectorClock};
use archipelago_conflict::{Candidate, ConflictResolver, Custom, Resolution, Strategy};
use archipelago_crdt::{PnCounter, Value, dynamic::DynamicCrdt, value};

fn clock(entries: &[(&str, u64)]) -> VectorClock<String> {
    entries.iter().map(|&(node, sequence)| (node.to_owned(), sequence)).collect()
}

fn lww() -> ConflictResolver {
    ConflictResolver::new(Strategy::Lww)
}

fn field_merge() -> ConflictResolver {
    ConflictResolver::new(Strategy::FieldMerge)
}

fn resolved(resolver: &ConflictResolver, local: &Candidate, remote: &Candidate) -> Candidate {
    resolver.resolve(local, remote).into_candidate()
}

#[test]
fn of_alice_at_1000_and_bob_at_2000_bob_wins_on_both_sides() {
    let (alice, bob) = (Candidate::new("Alice", 1000, "us"), Candidate::new("Bob", 2000, "eu"));
    let here = lww().resolve(&alice, &bob);
    assert_eq!((here.value, here.resolution), (Value::from("Bob"), Resolution::Remote));
    assert_eq!(here.conflicting, [alice.clone(), bob.clone()]);
    let there = lww().resolve(&bob, &alice);
    assert_eq!((there.value, there.resolution), (Value::from("Bob"), Resolution::Local));
}

#[test]
fn of_equal_timestamps_the_higher_node_id_wins_on_both_sides() {
    let (us, eu) = (Candidate::new("from us", 1000, "us"), Candidate::new("from eu", 1000, "eu"));
    let here = lww().resolve(&us, &eu);
    assert_eq!((here.value.as_text(), here.resolution), (Some("from us"), Resolution::Local));
    let there = lww().resolve(&eu, &us);
    assert_eq!((there.value.as_text(), there.resolution), (Some("from us"), Resolution::Remote));
}

#[test]
fn under_version_vector_the_dominating_side_wins_whatever_its_stamp() {
    let resolver = ConflictResolver::new(Strategy::VersionVector);
    let old = Candidate::new("old", 9000, "us").with_vector_clock(clock(&[("us", 1)]));
    let new = Candidate::new("new", 1000, "eu").with_vector_clock(clock(&[("us", 1), ("eu", 1)]));
    let here = resolver.resolve(&old, &new);
    assert_eq!((here.value.as_text(), here.resolution), (Some("new"), Resolution::Remote));
    assert_eq!(here.conflicting, []);
    let there = resolver.resolve(&new, &old);
    assert_eq!((there.value.as_text(), there.resolution), (Some("new"), Resolution::Local));
}

#[test]
fn under_version_vector_concurrent_versions_are_both_listed() {
    let resolver = ConflictResolver::new(Strategy::VersionVector);
    let us = Candidate::new("us", 1000, "us").with_vector_clock(clock(&[("us", 1)]));
    let eu = Candidate::new("eu", 2000, "eu").with_vector_clock(clock(&[("eu", 1)]));
    let resolved = resolver.resolve(&us, &eu);
    assert_eq!((resolved.value.as_text(), resolved.resolution), (Some("eu"), Resolution::Merged));
    assert_eq!(resolved.conflicting, [us, eu]);
}

#[test]
fn field_merge_keeps_all_four_fields_and_the_newer_name() {
    let us = Candidate::new(value!({ "name": "Alice", "email": "alice@example.com", "age": 30 }), 1000, "us");
    let eu = Candidate::new(value!({ "name": "Alicia", "phone": "555-0100" }), 2000, "eu");
    let merged = field_merge().resolve(&us, &eu);
    let expected = value!({ "name": "Alicia", "email": "alice@example.com", "age": 30, "phone": "555-0100" });
    assert_eq!(merged.value, expected);
    assert_eq!(merged.resolution, Resolution::Merged);
    assert_eq!(merged.conflicting, [us, eu]);
}

#[test]
fn field_merge_of_three_is_associative_where_stamps_of_whole_records_are_not() {
    let a = Candidate::new(value!({ "x": 1 }), 1, "us");
    let b = Candidate::new(value!({ "y": 1 }), 3, "us");
    let c = Candidate::new(value!({ "x": 2 }), 2, "us");
    let expected = value!({ "x": 2, "y": 1 });
    assert_eq!(resolved(&field_merge(), &resolved(&field_merge(), &a, &b), &c).value, expected);
    assert_eq!(resolved(&field_merge(), &a, &resolved(&field_merge(), &b, &c)).value, expected);

    // With the stamp of the whole record alone, x of time 1 passes for x of time 3.
    let ab = Candidate { record: None, ..resolved(&field_merge(), &a, &b) };
    assert_eq!(resolved(&field_merge(), &ab, &c).value, value!({ "x": 1, "y": 1 }));
}

#[test]
fn crdt_merge_joins_counters_and_takes_the_newer_title() {
    let post = |title: &str, views: u64, likes: u64, actor: &str| {
        let actor: ReplicaId = actor.parse().expect("a replica id");
        let counter = |by| {
            let mut counter = PnCounter::new();
            counter.increment(actor.clone(), by).expect("a small count");
            Value::from(DynamicCrdt::from_typed(&counter).expect("a known kind"))
        };
        Value::Map(BTreeMap::from([
            ("title".to_owned(), Value::from(title)),
            ("views".to_owned(), counter(views)),
            ("likes".to_owned(), counter(likes)),
        ]))
    };
    let resolver = ConflictResolver::new(Strategy::CrdtMerge);
    let us = Candidate::new(post("old", 100, 50, "us@0000000000000001"), 1000, "us");
    let eu = Candidate::new(post("new", 75, 30, "eu@0000000000000001"), 2000, "eu");
    let merged = resolver.resolve(&us, &eu);
    assert_eq!(merged.value.readable(), value!({ "title": "new", "views": 175, "likes": 80 }));
    assert_eq!(merged.resolution, Resolution::Merged);
    let again = resolver.resolve(&merged.into_candidate(), &eu);
    assert_eq!(again.value.readable(), value!({ "title": "new", "views": 175, "likes": 80 }));
    assert_eq!(resolver.resolve(&eu, &us).value, again.value);
}

#[test]
fn a_custom_cart_merge_sums_quantities_by_item() {
    let cart = Custom::new("sum-cart", 1, |siblings| {
        let mut sums = BTreeMap::<String, i64>::new();
        for cart in siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.as_map()) {
            for (item, quantity) in cart {
                *sums.entry(item.clone()).or_default() += quantity.as_int().unwrap_or(0);
            }
        }
        Some(sums.into_iter().map(|(item, quantity)| (item, Value::Int(quantity))).collect())
    });
    let resolver = ConflictResolver::new(cart);
    let us = Candidate::new(value!({ "apple": 2, "pear": 1 }), 1000, "us");
    let eu = Candidate::new(value!({ "apple": 3, "plum": 4 }), 2000, "eu");
    let resolved = resolver.resolve(&us, &eu);
    assert_eq!(resolved.value, value!({ "apple": 5, "pear": 1, "plum": 4 }));
    assert_eq!(resolved.resolution, Resolution::Custom);
    assert_eq!(resolved.conflicting, [us.clone(), eu.clone()]);
    assert_eq!(resolver.resolve(&eu, &us).value, resolved.value);
}
