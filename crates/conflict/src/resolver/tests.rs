use std::sync::LazyLock;

use archipelago_crdt::{Value, value};
use proptest::{prelude::*, strategy::Strategy as Generator};

use super::*;
use crate::Strategy;

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
fn a_reused_stamp_still_converges() {
    let (one, two) = (Candidate::new("one", 1000, "us"), Candidate::new("two", 1000, "us"));
    assert_eq!(LWW.resolve(&one, &two).value, LWW.resolve(&two, &one).value);
    assert_eq!(FIELD_MERGE.resolve(&one, &two).value, FIELD_MERGE.resolve(&two, &one).value);
}

#[test]
fn field_merge_names_the_side_that_has_it_all() {
    let old = Candidate::new(value!({ "name": "Alice" }), 1000, "us");
    let new = Candidate::new(value!({ "name": "Bob", "age": 30 }), 2000, "eu");
    assert_eq!(FIELD_MERGE.resolve(&old, &new).resolution, Resolution::Remote);
    assert_eq!(FIELD_MERGE.resolve(&new, &old).resolution, Resolution::Local);
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
fn detect_and_manual_show_the_later_side_and_list_both() {
    for strategy in [Strategy::Detect, Strategy::Manual] {
        let resolver = ConflictResolver::new(strategy);
        let (us, eu) = (Candidate::new("us", 1000, "us"), Candidate::new("eu", 2000, "eu"));
        let resolved = resolver.resolve(&us, &eu);
        assert_eq!((resolved.value.as_text(), resolved.resolution), (Some("eu"), Resolution::Remote));
        assert_eq!(resolved.conflicting, [us, eu]);
    }
}
