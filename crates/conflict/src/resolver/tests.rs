use std::{collections::BTreeMap, sync::LazyLock};

use archipelago_clock::ReplicaId;
use archipelago_crdt::{PnCounter, Value, dynamic::DynamicCrdt, value};
use proptest::{prelude::*, strategy::Strategy as Generator};

use super::*;
use crate::{Custom, Strategy};

static LWW: LazyLock<ConflictResolver> = LazyLock::new(|| ConflictResolver::new(Strategy::Lww));
static FIELD_MERGE: LazyLock<ConflictResolver> =
    LazyLock::new(|| ConflictResolver::new(Strategy::FieldMerge));

fn clock(entries: &[(&str, u64)]) -> VectorClock<String> {
    entries.iter().map(|&(node, sequence)| (node.to_owned(), sequence)).collect()
}

fn resolved(resolver: &ConflictResolver, local: &Candidate, remote: &Candidate) -> Candidate {
    resolver.resolve(local, remote).into_candidate()
}

/// Candidates of so few stamps, fields and values that they collide in every way.
fn candidates() -> impl Generator<Value = Candidate> {
    let leaf = prop_oneof![(0..3i64).prop_map(Value::Int), Just(Value::Null)];
    let map = proptest::collection::btree_map("[x-z]", leaf.clone(), 0..3).prop_map(Value::Map);
    let value = prop_oneof![1 => leaf, 4 => map];
    let sequences = proptest::option::of((0..2u64, 0..2u64));
    (value, 0..4u64, "[a-b]", sequences).prop_map(|(value, timestamp, node_id, sequences)| Candidate {
        vector_clock: sequences.map(|(a, b)| clock(&[("a", a), ("b", b)])),
        ..Candidate::new(value, timestamp, node_id)
    })
}

#[test]
fn the_later_write_wins_on_both_sides() {
    let (alice, bob) = (Candidate::new("Alice", 1000, "us"), Candidate::new("Bob", 2000, "eu"));
    let here = LWW.resolve(&alice, &bob);
    assert_eq!((here.value, here.resolution), (Value::from("Bob"), Resolution::Remote));
    assert_eq!(here.conflicting, [alice.clone(), bob.clone()]);
    let there = LWW.resolve(&bob, &alice);
    assert_eq!((there.value, there.resolution), (Value::from("Bob"), Resolution::Local));
}

#[test]
fn of_equal_timestamps_the_higher_node_id_wins_on_both_sides() {
    let (us, eu) = (Candidate::new("from us", 1000, "us"), Candidate::new("from eu", 1000, "eu"));
    let here = LWW.resolve(&us, &eu);
    assert_eq!((here.value.as_text(), here.resolution), (Some("from us"), Resolution::Local));
    let there = LWW.resolve(&eu, &us);
    assert_eq!((there.value.as_text(), there.resolution), (Some("from us"), Resolution::Remote));
}

#[test]
fn a_reused_stamp_still_converges() {
    let (one, two) = (Candidate::new("one", 1000, "us"), Candidate::new("two", 1000, "us"));
    assert_eq!(LWW.resolve(&one, &two).value, LWW.resolve(&two, &one).value);
    assert_eq!(FIELD_MERGE.resolve(&one, &two).value, FIELD_MERGE.resolve(&two, &one).value);
}

#[test]
fn field_merge_keeps_all_fields_and_the_newer_of_each() {
    let us = Candidate::new(value!({ "name": "Alice", "email": "alice@example.com", "age": 30 }), 1000, "us");
    let eu = Candidate::new(value!({ "name": "Alicia", "phone": "555-0100" }), 2000, "eu");
    let merged = FIELD_MERGE.resolve(&us, &eu);
    let expected = value!({ "name": "Alicia", "email": "alice@example.com", "age": 30, "phone": "555-0100" });
    assert_eq!(merged.value, expected);
    assert_eq!(merged.resolution, Resolution::Merged);
    assert_eq!(merged.conflicting, [us, eu]);
}

#[test]
fn field_merge_names_the_side_that_has_it_all() {
    let old = Candidate::new(value!({ "name": "Alice" }), 1000, "us");
    let new = Candidate::new(value!({ "name": "Bob", "age": 30 }), 2000, "eu");
    assert_eq!(FIELD_MERGE.resolve(&old, &new).resolution, Resolution::Remote);
    assert_eq!(FIELD_MERGE.resolve(&new, &old).resolution, Resolution::Local);
}

#[test]
fn field_merge_of_three_needs_the_stamps_of_the_fields() {
    let a = Candidate::new(value!({ "x": 1 }), 1, "us");
    let b = Candidate::new(value!({ "y": 1 }), 3, "us");
    let c = Candidate::new(value!({ "x": 2 }), 2, "us");
    let expected = value!({ "x": 2, "y": 1 });
    assert_eq!(resolved(&FIELD_MERGE, &resolved(&FIELD_MERGE, &a, &b), &c).value, expected);
    assert_eq!(resolved(&FIELD_MERGE, &a, &resolved(&FIELD_MERGE, &b, &c)).value, expected);

    // With the stamp of the whole record alone, x of time 1 passes for x of time 3.
    let ab = Candidate { record: None, ..resolved(&FIELD_MERGE, &a, &b) };
    assert_eq!(resolved(&FIELD_MERGE, &ab, &c).value, value!({ "x": 1, "y": 1 }));
}

#[test]
fn vector_clocks_tell_an_update_from_a_conflict() {
    let first = Candidate::new("Alice", 1000, "us").with_vector_clock(clock(&[("us", 1)]));
    let update = Candidate::new("Bob", 2000, "eu").with_vector_clock(clock(&[("us", 1), ("eu", 1)]));
    let rival = Candidate::new("Carol", 1500, "ap").with_vector_clock(clock(&[("ap", 1)]));
    assert!(LWW.resolve(&first, &update).conflicting.is_empty());
    assert!(LWW.resolve(&update, &first).conflicting.is_empty());
    assert!(LWW.resolve(&first, &first).conflicting.is_empty());
    assert_eq!(LWW.resolve(&update, &rival).conflicting, [update, rival]);
}

#[test]
fn vector_clocks_do_not_pick_the_winner_or_three_versions_would_go_in_a_circle() {
    // b was written after a by a node whose clock is behind, and c apart from both. If b won over a for that, then
    // c over b and a over c by time, no order of the three would give the same as another.
    let a = Candidate::new("a", 3, "us").with_vector_clock(clock(&[("us", 1)]));
    let b = Candidate::new("b", 1, "eu").with_vector_clock(clock(&[("us", 1), ("eu", 1)]));
    let c = Candidate::new("c", 2, "ap").with_vector_clock(clock(&[("ap", 1)]));
    for [first, second, third] in [[&a, &b, &c], [&b, &c, &a], [&c, &a, &b]] {
        let outcome = resolved(&LWW, &resolved(&LWW, first, second), third);
        assert_eq!(outcome.value.as_text(), Some("a"));
    }
}

#[test]
fn an_empty_record_merges_as_one_that_says_nothing() {
    let empty = Candidate::new(value!({}), 2000, "us");
    let full = Candidate::new(value!({ "x": 1 }), 1000, "eu");
    assert_eq!(FIELD_MERGE.resolve(&empty, &full).value, value!({ "x": 1 }));
    assert_eq!(FIELD_MERGE.resolve(&empty, &empty).value, value!({}));
}

proptest! {
    #[test]
    fn sides_decide_names_and_never_values(a in candidates(), b in candidates()) {
        for resolver in [&*LWW, &*FIELD_MERGE] {
            let (here, there) = (resolver.resolve(&a, &b), resolver.resolve(&b, &a));
            let swapped = match there.resolution {
                Resolution::Local => Resolution::Remote,
                Resolution::Remote => Resolution::Local,
                other => other,
            };
            let same = here.resolution == Resolution::Local && there.resolution == Resolution::Local;
            prop_assert!(same || here.resolution == swapped);
            prop_assert_eq!(here.into_candidate(), there.into_candidate());
        }
    }

    #[test]
    fn any_grouping_gives_the_same(a in candidates(), b in candidates(), c in candidates()) {
        for resolver in [&*LWW, &*FIELD_MERGE] {
            let left = resolved(resolver, &resolved(resolver, &a, &b), &c);
            let right = resolved(resolver, &a, &resolved(resolver, &b, &c));
            prop_assert_eq!(left, right);
        }
    }

    #[test]
    fn resolving_again_changes_nothing(a in candidates(), b in candidates()) {
        for resolver in [&*LWW, &*FIELD_MERGE] {
            let once = resolved(resolver, &a, &b);
            prop_assert_eq!(resolved(resolver, &once, &a), once);
            let itself = resolver.resolve(&a, &a);
            prop_assert_eq!(itself.resolution, Resolution::Local);
            prop_assert_eq!(itself.value, a.value.clone());
        }
    }
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

#[test]
fn detect_and_manual_show_the_later_side_and_list_both() {
    for strategy in [Strategy::Detect, Strategy::Manual] {
        let resolver = ConflictResolver::new(strategy);
        let (us, eu) = (Candidate::new("us", 1000, "us"), Candidate::new("eu", 2000, "eu"));
        let resolved = resolver.resolve(&us, &eu);
        assert_eq!((resolved.value.as_text(), resolved.resolution), (Some("eu"), Resolution::Remote));
        assert_eq!(resolved.conflicting, [us, eu]);
    }
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
