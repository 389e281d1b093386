//! Laws and worked examples of `CausalContext`, against a plain set of dots.

use std::collections::BTreeSet;

use archipelago_clock::{CLOUD_RUNS_MAX, CausalContext, ClockOrdering, Dot, MintError, VectorClock};
use proptest::prelude::*;

type Context = CausalContext<u8>;

fn dots(context: &Context) -> BTreeSet<(u8, u64)> {
    context.iter().map(|dot| (dot.actor, dot.sequence)).collect()
}

fn context(dots: impl IntoIterator<Item = (u8, u64)>) -> Context {
    dots.into_iter().map(|(actor, sequence)| Dot::new(actor, sequence)).collect()
}

fn contexts() -> impl Strategy<Value = Context> {
    // Few actors and sequences, so that runs meet, join and overlap.
    proptest::collection::vec((0u8..4, 1u64..12), 0..24).prop_map(context)
}

#[test]
fn a_run_moves_into_the_clock_when_its_gap_closes() {
    let mut context = context([(1, 3), (1, 2), (1, 5)]);
    assert!(context.clock().is_empty());
    assert_eq!(context.cloud().collect::<Vec<_>>(), [(&1, 2..=3), (&1, 5..=5)]);
    assert!(context.insert(Dot::new(1, 1)));
    assert_eq!((context.clock().get(&1), context.cloud().len()), (3, 1));
    assert!(context.insert(Dot::new(1, 4)));
    assert_eq!(context, Context::from([(1, 5)].into_iter().collect::<VectorClock<u8>>()));
    assert!(!context.insert(Dot::new(1, 4)));
}

#[test]
fn an_actor_mints_only_where_all_its_own_dots_are() {
    let mut context = context([(1, 1), (2, 2)]);
    assert_eq!(context.mint(1), Ok(Dot::new(1, 2)));
    assert_eq!(context.next_dot(3), Ok(Dot::new(3, 1)));
    let before = context.clone();
    assert_eq!(context.mint(2), Err(MintError::OwnDotsMissing));
    assert_eq!(context, before);
    let mut full = Context::from([(1, u64::MAX)].into_iter().collect::<VectorClock<u8>>());
    assert_eq!(full.mint(1), Err(MintError::SequenceExhausted));
}

#[test]
fn there_is_no_dot_zero() {
    let mut context = Context::new();
    assert!(!context.insert(Dot::new(1, 0)));
    assert!(context.is_empty());
}

#[test]
fn the_ends_of_the_sequence_do_not_overflow() {
    let mut context = context([(1, u64::MAX), (1, 1)]);
    context.insert(Dot::new(1, u64::MAX - 1));
    assert_eq!(context.cloud().collect::<Vec<_>>(), [(&1, u64::MAX - 1..=u64::MAX)]);
    assert!(context.contains(&Dot::new(1, u64::MAX)) && !context.contains(&Dot::new(1, 2)));
    let full = Context::from([(1, u64::MAX)].into_iter().collect::<VectorClock<u8>>());
    assert_eq!(full.difference(&context).cloud().collect::<Vec<_>>(), [(&1, 2..=u64::MAX - 2)]);
    context.merge(&full);
    assert_eq!(context, full);
}

#[test]
fn encodes_as_clock_and_runs() {
    let context: CausalContext<String> = [("us", 1), ("us", 3), ("us", 4), ("eu", 2)]
        .map(|(a, s)| Dot::new(a.to_owned(), s))
        .into_iter()
        .collect();
    let json = r#"{"clock":{"us":1},"cloud":[["eu",2,2],["us",3,4]]}"#;
    assert_eq!(serde_json::to_string(&context).unwrap(), json);
    assert_eq!(serde_json::from_str::<CausalContext<String>>(json).unwrap(), context);
    assert_eq!(serde_json::to_string(&Context::new()).unwrap(), r#"{"clock":{}}"#);
}

#[test]
fn other_forms_read_as_the_same_set_or_are_refused() {
    let read = serde_json::from_str::<CausalContext<String>>;
    let canonical = read(r#"{"clock":{"us":4}}"#).unwrap();
    assert_eq!(read(r#"{"clock":{"us":1},"cloud":[["us",2,3],["us",4,4]]}"#).unwrap(), canonical);
    for wrong in [
        r#"{"clock":{},"cloud":[["us",0,1]]}"#,
        r#"{"clock":{},"cloud":[["us",3,2]]}"#,
        r#"{"clock":{},"cloud":[["us",5,6],["us",2,3]]}"#,
        r#"{"clock":{},"cloud":[["us",2,3],["us",3,4]]}"#,
        r#"{"clock":{},"cloud":[["us",2,3],["eu",2,3]]}"#,
        r#"{"clock":{},"haze":[]}"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn too_many_runs_are_refused() {
    let encoded = |runs: usize| {
        let context = context((1..=runs as u64).map(|run| (1, 2 * run)));
        rmp_serde::to_vec_named(&context).unwrap()
    };
    assert!(rmp_serde::from_slice::<Context>(&encoded(CLOUD_RUNS_MAX)).is_ok());
    let error = rmp_serde::from_slice::<Context>(&encoded(CLOUD_RUNS_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("65536"), "{error}");
}

fn merged(a: &Context, b: &Context) -> Context {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

proptest! {
    #[test]
    fn is_the_set_of_its_dots(entries in proptest::collection::vec((0u8..4, 1u64..12), 0..24)) {
        let context = context(entries.iter().copied());
        prop_assert_eq!(dots(&context), entries.iter().copied().collect::<BTreeSet<_>>());
        let expected = entries.iter().copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(context.len(), expected.len() as u128);
        for (actor, sequence) in (0u8..5).flat_map(|actor| (0u64..14).map(move |sequence| (actor, sequence))) {
            let contains = context.contains(&Dot::new(actor, sequence));
            // Dot 0 of an actor is below its first; a clock has always seen it.
            prop_assert_eq!(contains, sequence == 0 || expected.contains(&(actor, sequence)));
        }
    }

    #[test]
    fn merge_is_union_and_difference_is_difference(a in contexts(), b in contexts()) {
        let (union, difference) = (merged(&a, &b), a.difference(&b));
        prop_assert_eq!(dots(&union), dots(&a).union(&dots(&b)).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(dots(&difference), dots(&a).difference(&dots(&b)).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(merged(&b, &difference), union);
    }

    #[test]
    fn long_clouds_merge_as_short_ones_do(odd in 9u64..40, even in 0u64..40) {
        let mut a = context((0..even).map(|i| (1, 2 * i + 4)).chain([(0, 1), (2, 7)]));
        let b = context((0..odd).map(|i| (1, 2 * i + 3)));
        let expected = dots(&a).union(&dots(&b)).copied().collect::<BTreeSet<_>>();
        a.merge(&b);
        prop_assert_eq!(dots(&a), expected.clone());
        prop_assert_eq!(a, context(expected));
    }

    #[test]
    fn merge_is_commutative_associative_and_idempotent(a in contexts(), b in contexts(), c in contexts()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn compare_is_inclusion(a in contexts(), b in contexts()) {
        let (left, right) = (dots(&a), dots(&b));
        prop_assert_eq!(a.dominates(&b), left.is_superset(&right));
        let expected = match (left.is_superset(&right), right.is_superset(&left)) {
            (true, true) => ClockOrdering::Equal,
            (true, false) => ClockOrdering::After,
            (false, true) => ClockOrdering::Before,
            (false, false) => ClockOrdering::Concurrent,
        };
        prop_assert_eq!(a.compare(&b), expected);
    }

    #[test]
    fn serde_round_trips_and_is_canonical(a in contexts(), b in contexts()) {
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Context>(&json).unwrap(), &a);
        for bytes in [rmp_serde::to_vec(&a).unwrap(), rmp_serde::to_vec_named(&a).unwrap()] {
            prop_assert_eq!(&rmp_serde::from_slice::<Context>(&bytes).unwrap(), &a);
        }
        let encoded = |context: &Context| rmp_serde::to_vec_named(context).unwrap();
        prop_assert_eq!(encoded(&merged(&a, &b)), encoded(&merged(&b, &a)));
    }
}
