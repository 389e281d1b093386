//! Laws and worked examples of `VectorClock`.

use archipelago_clock::{ClockError, ClockOrdering, Dot, VECTOR_ENTRIES_MAX, VectorClock};
use proptest::prelude::*;

type Clock = VectorClock<String>;

fn clock(json: &str) -> Clock {
    serde_json::from_str(json).expect("a clock in JSON")
}

#[test]
fn zero_entries_equal_absent_ones() {
    assert_eq!(clock(r#"{"usa":1,"eu":0}"#), clock(r#"{"usa":1}"#));
    assert_eq!(clock(r#"{"eu":0}"#), Clock::new());
    assert_eq!(serde_json::to_string(&clock(r#"{"usa":1,"eu":0}"#)).unwrap(), r#"{"usa":1}"#);
}

#[test]
fn an_exhausted_sequence_is_an_error_and_changes_nothing() {
    let mut full: VectorClock<u8> = [(1, u64::MAX)].into_iter().collect();
    assert_eq!(full.increment(1), Err(ClockError::SequenceExhausted));
    assert_eq!(full.get(&1), u64::MAX);
    assert_eq!(full.increment(2), Ok(Dot::new(2, 1)));
}

#[test]
fn a_repeated_actor_or_too_many_entries_are_refused() {
    assert!(serde_json::from_str::<Clock>(r#"{"usa":1,"usa":2}"#).is_err());
    let entries = |n: usize| (0..n).map(|i| (format!("{i:05}"), 1)).collect::<Clock>();
    let at_limit = serde_json::to_string(&entries(VECTOR_ENTRIES_MAX)).unwrap();
    assert_eq!(serde_json::from_str::<Clock>(&at_limit).unwrap().len(), VECTOR_ENTRIES_MAX);
    let above = serde_json::to_string(&entries(VECTOR_ENTRIES_MAX + 1)).unwrap();
    assert!(serde_json::from_str::<Clock>(&above).unwrap_err().to_string().contains("4096"));
}

#[test]
fn actors_may_be_texts_numbers_or_uuids() {
    fn round_trips<A>(actors: [A; 2], json: &str)
    where
        A: Ord + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut clock = VectorClock::new();
        for actor in actors {
            clock.increment(actor).expect("a small sequence");
        }
        assert_eq!(serde_json::to_string(&clock).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<VectorClock<A>>(json).expect("JSON"), clock);
        let bytes = rmp_serde::to_vec(&clock).expect("MessagePack");
        assert_eq!(rmp_serde::from_slice::<VectorClock<A>>(&bytes).expect("MessagePack"), clock);
    }
    round_trips(["eu".to_owned(), "usa".to_owned()], r#"{"eu":1,"usa":1}"#);
    round_trips([7u64, 70], r#"{"7":1,"70":1}"#);
    let json = r#"{"00000000-0000-0000-0000-000000000001":1,"00000000-0000-0000-0000-000000000002":1}"#;
    round_trips([1, 2].map(uuid::Uuid::from_u128), json);
}

fn clocks() -> impl Strategy<Value = VectorClock<u8>> {
    proptest::collection::vec((0u8..8, 0u64..4), 0..8).prop_map(|entries| entries.into_iter().collect())
}

fn merged(a: &VectorClock<u8>, b: &VectorClock<u8>) -> VectorClock<u8> {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

proptest! {
    #[test]
    fn to_see_a_dot_is_to_raise_its_actor(clock in clocks(), actor in 0u8..8, sequence in 0u64..5) {
        let (mut seen, mut raised) = (clock.clone(), clock);
        seen.see(&Dot::new(actor, sequence));
        raised.raise(actor, sequence);
        prop_assert_eq!(&seen, &raised);
        prop_assert!(seen.contains(&Dot::new(actor, sequence)));
    }

    #[test]
    fn merge_is_commutative_associative_and_idempotent(a in clocks(), b in clocks(), c in clocks()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn merge_is_the_least_upper_bound(a in clocks(), b in clocks(), c in clocks()) {
        let bound = merged(&a, &b);
        prop_assert!(bound.dominates(&a) && bound.dominates(&b));
        if c.dominates(&a) && c.dominates(&b) {
            prop_assert!(c.dominates(&bound));
        }
    }

    #[test]
    fn compare_agrees_with_dominates_and_with_entries(a in clocks(), b in clocks()) {
        let (over, under) = (a.dominates(&b), b.dominates(&a));
        let expected = match (over, under) {
            (true, true) => ClockOrdering::Equal,
            (true, false) => ClockOrdering::After,
            (false, true) => ClockOrdering::Before,
            (false, false) => ClockOrdering::Concurrent,
        };
        prop_assert_eq!(a.compare(&b), expected);
        prop_assert_eq!(over, (0..8).all(|actor| a.get(&actor) >= b.get(&actor)));
        prop_assert_eq!(expected == ClockOrdering::Equal, a == b);
    }

    #[test]
    fn meet_is_what_both_have_seen_and_nothing_more(a in clocks(), b in clocks()) {
        let mut met = a.clone();
        met.meet(&b);
        prop_assert!(a.dominates(&met) && b.dominates(&met));
        prop_assert!((0..8).all(|actor| met.get(&actor) == a.get(&actor).min(b.get(&actor))));
        prop_assert!(met.iter().all(|(_, sequence)| sequence > 0), "zero entries equal absent ones");
        let mut other = b.clone();
        other.meet(&a);
        prop_assert_eq!(&other, &met);
        prop_assert_eq!(merged(&a, &met), a);
    }

    #[test]
    fn increment_happens_after(a in clocks(), actor in 0u8..8) {
        let mut later = a.clone();
        let dot = later.increment(actor).unwrap();
        prop_assert_eq!(later.compare(&a), ClockOrdering::After);
        prop_assert!(later.contains(&dot) && !a.contains(&dot));
    }

    #[test]
    fn serde_round_trips(a in clocks()) {
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&serde_json::from_str::<VectorClock<u8>>(&json).unwrap(), &a);
        let bytes = rmp_serde::to_vec(&a).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<VectorClock<u8>>(&bytes).unwrap(), a);
    }
}
