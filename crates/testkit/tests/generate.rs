//! The types of the toolkit obey their laws on the states that the generators make, and these are not all alike.

use std::{collections::BTreeMap, fmt::Debug};

use archipelago_clock::{ClockOrdering, Dot, Hlc};
use archipelago_conflict::{Candidate, ConflictResolver, Sibling, StampedRecord};
use archipelago_crdt::*;
use archipelago_testkit::{
    crdt_laws, generate,
    proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner},
};

macro_rules! lawful {
    ($($module:ident: $type:ty;)+) => {
        $(mod $module {
            use super::*;

            crdt_laws!($type, together: generate::$module());
        })+
    };
}

lawful! {
    gcounters: GCounter<u8>;
    pn_counters: PnCounter<u8>;
    bounded_counters: BoundedCounter<u8>;
    max_registers: MaxRegister<u8>;
    min_registers: MinRegister<u8>;
    mv_registers: MvRegister<char, u8>;
    ew_flags: EwFlag<u8>;
    dw_flags: DwFlag<u8>;
    gsets: GSet<char>;
    two_phase_sets: TwoPhaseSet<char>;
    or_sets: OrSet<char, u8>;
    rw_sets: RwSet<char, u8>;
    lists: List<char, u8>;
    lww_registers: LwwRegister<char, (Hlc, u8)>;
    lww_maps: LwwMap<char, u8, (Hlc, u8)>;
    or_maps_of_counters: OrMap<char, PnCounter<u8>, u8>;
    or_maps_of_sets: OrMap<char, OrSet<char, u8>, u8>;
    or_maps_of_maps: OrMap<char, OrMap<char, MvRegister<char, u8>, u8>, u8>;
    records: StampedRecord<(Hlc, u8)>;
}

/// Some hundred inputs, the same in each run.
fn samples<S: Strategy>(strategy: S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    let sample = |_| strategy.new_tree(&mut runner).expect("nothing is rejected").current();
    (0..400).map(sample).collect()
}

/// How many of the samples fulfil it, in percent.
fn percent<T>(samples: &[T], fulfils: impl Fn(&T) -> bool) -> usize {
    100 * samples.iter().filter(|sample| fulfils(sample)).count() / samples.len()
}

fn concurrent<C: Crdt + Clone + PartialEq>(states: &[C; 3]) -> bool {
    let [a, b, c] = states;
    [(a, b), (a, c), (b, c)].into_iter().any(|(one, other)| !one.covers(other) && !other.covers(one))
}

fn joined<C: Crdt + Clone>(one: &C, other: &C) -> C {
    let mut joined = one.clone();
    joined.merge(other);
    joined
}

#[test]
fn states_of_one_history_are_often_concurrent() {
    fn often<C: Crdt + Clone + PartialEq + Debug>(name: &str, states: impl Strategy<Value = [C; 3]>) {
        let share = percent(&samples(states), concurrent);
        assert!(share >= 20, "{name}: concurrent in {share} of 100");
    }
    often("gcounters", generate::gcounters());
    often("pn_counters", generate::pn_counters());
    often("mv_registers", generate::mv_registers());
    often("ew_flags", generate::ew_flags());
    often("dw_flags", generate::dw_flags());
    often("gsets", generate::gsets());
    often("or_sets", generate::or_sets());
    often("rw_sets", generate::rw_sets());
    often("lists", generate::lists());
    often("lww_maps", generate::lww_maps());
    often("or_maps_of_counters", generate::or_maps_of_counters());
    often("or_maps_of_sets", generate::or_maps_of_sets());
    often("or_maps_of_maps", generate::or_maps_of_maps());
    often("records", generate::records());
    often("bounded_counters", generate::bounded_counters());
    often("two_phase_sets", generate::two_phase_sets());
}

#[test]
fn states_that_are_never_concurrent_differ_often() {
    fn often<C: PartialEq + Debug>(name: &str, states: impl Strategy<Value = [C; 3]>) {
        let share = percent(&samples(states), |[a, b, c]| a != b && b != c && a != c);
        assert!(share >= 30, "{name}: three different in {share} of 100");
    }
    often("lww_registers", generate::lww_registers());
    often("max_registers", generate::max_registers());
    often("min_registers", generate::min_registers());
}

#[test]
fn no_two_writes_of_a_history_share_a_stamp() {
    for states in samples(generate::lww_registers()) {
        let mut written = BTreeMap::new();
        for register in &states {
            let Some(stamp) = register.stamp() else { continue };
            assert_eq!(written.entry(*stamp).or_insert(register.value()), &register.value());
        }
    }
    for states in samples(generate::lww_maps()) {
        let mut written = BTreeMap::new();
        for (map, key) in states.iter().flat_map(|map| ('a'..='c').map(move |key| (map, key))) {
            let Some(stamp) = map.stamp(&key) else { continue };
            let write = (key, map.get(&key));
            assert_eq!(written.entry(*stamp).or_insert(write), &write);
        }
    }
    for states in samples(generate::records()) {
        let mut written = BTreeMap::new();
        for (name, content, stamp) in states.iter().flat_map(|record| record.fields()) {
            // A replacement writes a field and hides the others with one stamp.
            assert_eq!(written.entry((*stamp, name)).or_insert(content), &content);
        }
    }
}

#[test]
fn maps_meet_removals_of_what_was_seen_and_of_what_was_updated_meanwhile() {
    /// Whether one has a key that another has removed, and the join lacks it; or has less of it, since it was updated
    /// meanwhile.
    fn removed<V: Nested<u8>>(states: &[OrMap<char, V, u8>; 3], updated: bool) -> bool {
        let pairs = states.iter().flat_map(|one| states.iter().map(move |other| (one, other)));
        pairs.filter(|(one, other)| one != other).any(|(one, other)| {
            let join = joined(one, other);
            ('a'..='c').any(|key| match (one.get(&key), other.get(&key), join.get(&key)) {
                (Some(_), None, None) => !updated,
                (Some(had), None, Some(has)) => updated && had != has,
                _ => false,
            })
        })
    }
    let counters = samples(generate::or_maps_of_counters());
    let shares = [false, true].map(|updated| percent(&counters, |states| removed(states, updated)));
    assert!(shares[0] >= 4 && shares[1] >= 1, "{shares:?}");
    let maps = samples(generate::or_maps_of_maps());
    let shares = [false, true].map(|updated| percent(&maps, |states| removed(states, updated)));
    assert!(shares[0] >= 4 && shares[1] >= 1, "{shares:?}");
}

#[test]
fn values_with_crdts_are_often_concurrent_in_both_fields() {
    let values = samples(generate::values_with_crdts());
    for field in ["views", "tags"] {
        let share = percent(&values, |[one, other, _]| {
            let [one, other] =
                [one, other].map(|value| value.get(field).and_then(Value::as_crdt).expect("a CRDT"));
            !one.covers(other).expect("of one kind") && !other.covers(one).expect("of one kind")
        });
        assert!(share >= 5, "{field}: concurrent in {share} of 100");
    }
}

#[test]
fn contexts_have_gaps_and_are_concurrent() {
    let contexts = samples((generate::causal_contexts(), generate::causal_contexts()));
    assert!(percent(&contexts, |(context, _)| context.cloud().len() > 0) >= 50);
    assert!(percent(&contexts, |(one, other)| one.compare(other) == ClockOrdering::Concurrent) >= 50);
}

#[test]
fn siblings_are_in_canonical_order_and_some_are_removals_some_share_a_time() {
    let lists = samples(generate::siblings(generate::values()));
    for siblings in &lists {
        assert!((2..=4).contains(&siblings.len()));
        assert!(siblings.is_sorted_by(|one, other| one.stamp.dot < other.stamp.dot));
    }
    assert!(percent(&lists, |siblings| siblings.iter().any(|sibling| sibling.value.is_none())) >= 25);
    let by_dot_is_not_by_time =
        |siblings: &Vec<Sibling>| !siblings.is_sorted_by(|one, other| one.stamp <= other.stamp);
    assert!(percent(&lists, by_dot_is_not_by_time) >= 25);
    let stamps = samples((generate::stamps(), generate::stamps()));
    assert!(percent(&stamps, |(one, other)| one.hlc == other.hlc && one.dot != other.dot) >= 2);
    for (one, other) in &stamps {
        assert!(one.dot != other.dot || one == other, "a dot has one stamp");
        let in_sequence = one.dot.actor == other.dot.actor && one.dot.sequence < other.dot.sequence;
        assert!(!in_sequence || one < other, "a later write has a greater stamp");
    }
}

proptest! {
    #[test]
    fn values_survive_json(value in generate::values()) {
        archipelago_testkit::laws::encoding(&value)?;
    }

    #[test]
    fn a_merged_context_holds_exactly_what_either_holds(
        one in generate::causal_contexts(),
        other in generate::causal_contexts(),
        dot in generate::dots(),
    ) {
        let mut merged = one.clone();
        merged.merge(&other);
        prop_assert_eq!(merged.contains(&dot), one.contains(&dot) || other.contains(&dot));
        archipelago_testkit::laws::encoding(&merged)?;
    }

    #[test]
    fn values_with_crdts_merge_without_order([one, other, third] in generate::values_with_crdts()) {
        let resolver = ConflictResolver::new(archipelago_conflict::Strategy::CrdtMerge);
        let candidate = |value: Value, at| Candidate::new(value, at, "a");
        let [one, other, third] = [candidate(one, 1), candidate(other, 2), candidate(third, 3)];
        let merged = |one: &Candidate, other: &Candidate| resolver.resolve(one, other).into_candidate();
        let left = merged(&merged(&one, &other), &third);
        prop_assert_eq!(&left, &merged(&one, &merged(&other, &third)));
        prop_assert_eq!(&left, &merged(&merged(&third, &one), &other));
    }

    #[test]
    fn stamps_order_by_time_before_replica(one in generate::stamps(), other in generate::stamps()) {
        prop_assert_eq!(one.cmp(&other), (one.hlc, &one.dot).cmp(&(other.hlc, &other.dot)));
        archipelago_testkit::laws::encoding(&one)?;
    }

    #[test]
    fn timestamps_are_close_enough_to_meet(hlc in generate::hlcs(), id in generate::replica_ids()) {
        prop_assert!(hlc < Hlc::new(1_003, 0) && hlc >= Hlc::new(1_000, 0));
        prop_assert!(Dot::new(id, 1).to_string().contains('@'));
    }

    #[test]
    fn dots_lie_in_clocks_that_were_raised_to_them(dot in generate::dots(), clock in generate::vector_clocks()) {
        let mut clock = clock;
        clock.raise(dot.actor, dot.sequence);
        prop_assert!(clock.contains(&dot));
    }
}
