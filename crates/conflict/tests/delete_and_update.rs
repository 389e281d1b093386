//! One candidate removes what the other updates, standalone: no replica says what it had applied, so stamps decide about
//! CRDTs as they do about other fields. The outcomes are those of the table in `docs/CONFLICTS.md`.

use archipelago_clock::ReplicaId;
use archipelago_conflict::{
    Candidate, CandidateStamp, ConflictResolver, ConflictStrategy, Custom, StampedRecord, Strategy,
};
use archipelago_crdt::{PnCounter, Value, dynamic::DynamicCrdt, value};
use proptest::{prelude::*, strategy::Strategy as Generator};

type Record = StampedRecord<CandidateStamp>;

fn stamp(timestamp: u64, node_id: &str) -> CandidateStamp {
    CandidateStamp { timestamp, node_id: node_id.to_owned() }
}

fn candidate(record: Record) -> Candidate {
    let CandidateStamp { timestamp, node_id } = record.stamp().expect("it was written").clone();
    Candidate::new(Value::Null, timestamp, node_id).with_record(record)
}

/// What becomes of a removal and an update of one record, the removal by `eu` and at 3000, the update by `us` at 2000 or
/// 4000, from both sides.
fn play(
    strategy: Strategy,
    base: Value,
    remove: impl Fn(&mut Record, CandidateStamp),
    update: impl Fn(&mut Record, CandidateStamp),
) -> [Value; 2] {
    let resolver = ConflictResolver::new(strategy);
    let base = Record::from_value(base, stamp(1_000, "us"));
    [2_000, 4_000].map(|updated_at| {
        let (mut removed, mut updated) = (base.clone(), base.clone());
        remove(&mut removed, stamp(3_000, "eu"));
        update(&mut updated, stamp(updated_at, "us"));
        let (removed, updated) = (candidate(removed), candidate(updated));
        let (here, there) = (resolver.resolve(&removed, &updated), resolver.resolve(&updated, &removed));
        assert_eq!(here.value, there.value);
        here.value.readable()
    })
}

fn delete(record: &mut Record, at: CandidateStamp) {
    record.delete(at).expect("later than the base");
}

fn counter(actor: &str, by: u64) -> PnCounter {
    let mut counter = PnCounter::new();
    let actor: ReplicaId = actor.parse().expect("a replica id");
    counter.increment(actor, by).expect("a small count");
    counter
}

fn as_value(counter: &PnCounter) -> Value {
    Value::from(DynamicCrdt::from_typed(counter).expect("a known kind"))
}

#[test]
fn delete_and_update_go_by_stamp_field_by_field() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let update =
            |record: &mut Record, at| drop(record.set("p", 1.into(), at).expect("later than the base"));
        let outcomes = play(strategy, value!({ "p": 0, "q": 0 }), delete, update);
        assert_eq!(outcomes, [Value::Null, value!({ "p": 1 })], "{strategy}");
    }
}

#[test]
fn removal_and_update_of_a_field_go_by_stamp() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let remove = |record: &mut Record, at| drop(record.remove("p", at).expect("later than the base"));
        let update =
            |record: &mut Record, at| drop(record.set("p", 1.into(), at).expect("later than the base"));
        let outcomes = play(strategy, value!({ "p": 0, "q": 0 }), remove, update);
        assert_eq!(outcomes, [value!({ "q": 0 }), value!({ "p": 1, "q": 0 })], "{strategy}");
    }
}

#[test]
fn delete_and_update_of_a_crdt_go_by_stamp_where_nothing_says_what_the_update_had_seen() {
    let mut base = counter("us@0000000000000001", 5);
    let before = views(as_value(&base));
    base.increment("us@0000000000000001".parse().unwrap(), 1).unwrap();
    let update = |record: &mut Record, at| {
        drop(record.set("views", as_value(&base), at).expect("later than the base"))
    };
    let outcomes = play(Strategy::CrdtMerge, before.clone(), delete, update);
    assert_eq!(outcomes, [Value::Null, value!({ "views": 6 })]);
    let remove = |record: &mut Record, at| drop(record.remove("views", at).expect("later than the base"));
    assert_eq!(play(Strategy::CrdtMerge, before, remove, update), [value!({}), value!({ "views": 6 })]);
}

#[test]
fn whole_versions_that_say_removed_by_a_null_go_by_stamp_or_by_the_function() {
    let outcomes = |strategy: &dyn Fn() -> ConflictResolver| {
        [2_000, 4_000].map(|updated_at| {
            let removed = Candidate::new(Value::Null, 3_000, "eu");
            let updated = Candidate::new(value!({ "p": 1 }), updated_at, "us");
            let (here, there) =
                (strategy().resolve(&removed, &updated), strategy().resolve(&updated, &removed));
            assert_eq!(here.value, there.value);
            assert_eq!(here.conflicting, [removed, updated]);
            here.value
        })
    };
    for strategy in [Strategy::Lww, Strategy::VersionVector, Strategy::Manual, Strategy::Detect] {
        let by_stamp = outcomes(&|| ConflictResolver::new(strategy));
        assert_eq!(by_stamp, [Value::Null, value!({ "p": 1 })], "{}", ConflictStrategy::name(&strategy));
    }
    let keep = || {
        Custom::new("keep", 1, |siblings| {
            siblings.iter().filter_map(|sibling| sibling.value.clone()).find(|value| *value != Value::Null)
        })
    };
    assert_eq!(outcomes(&|| ConflictResolver::new(keep())), [value!({ "p": 1 }), value!({ "p": 1 })]);
    let remove = || Custom::new("remove", 1, |_| None);
    assert_eq!(outcomes(&|| ConflictResolver::new(remove())), [Value::Null, Value::Null]);
}

fn views(value: Value) -> Value {
    Value::Map([("views".to_owned(), value)].into())
}

#[test]
fn standalone_the_order_shows_where_a_field_is_a_crdt_in_some_versions_and_plain_in_others() {
    // The limit that `ConflictResolver` states: of a join of counters nobody knows which part a number would replace.
    let resolver = ConflictResolver::new(Strategy::CrdtMerge);
    let resolved = |a: &Candidate, b: &Candidate| resolver.resolve(a, b).into_candidate();
    let a = Candidate::new(views(as_value(&counter("a@0000000000000001", 5))), 1, "a");
    let b = Candidate::new(views(Value::Int(7)), 2, "b");
    let c = Candidate::new(views(as_value(&counter("c@0000000000000001", 1))), 3, "c");
    let number_in_between = resolved(&resolved(&a, &b), &c).value;
    assert_eq!(number_in_between.readable(), value!({ "views": 1 }));
    let number_last = resolved(&resolved(&a, &c), &b).value;
    assert_eq!(number_last.readable(), value!({ "views": 6 }));
}

/// Candidates whose `views` is a counter, if they have one, of few stamps so that they collide.
fn posts() -> impl Generator<Value = Candidate> {
    let counter =
        (0..3u8, 0..4u64).prop_map(|(actor, by)| counter(&format!("r{actor}@0000000000000001"), by));
    let title = proptest::option::of((0..3i64).prop_map(Value::Int));
    (proptest::option::of(counter), title, 0..4u64, "[a-b]").prop_map(
        |(counter, title, timestamp, node_id)| {
            let views = counter.map(|counter| ("views".to_owned(), as_value(&counter)));
            let title = title.map(|title| ("title".to_owned(), title));
            Candidate::new(Value::Map(views.into_iter().chain(title).collect()), timestamp, node_id)
        },
    )
}

proptest! {
    #[test]
    fn crdt_merge_of_versions_whose_fields_are_of_one_kind_has_no_order(a in posts(), b in posts(), c in posts()) {
        let resolver = ConflictResolver::new(Strategy::CrdtMerge);
        let resolved = |a: &Candidate, b: &Candidate| resolver.resolve(a, b).into_candidate();
        prop_assert_eq!(resolved(&a, &b), resolved(&b, &a));
        prop_assert_eq!(resolved(&resolved(&a, &b), &c), resolved(&a, &resolved(&b, &c)));
        let once = resolved(&a, &b);
        prop_assert_eq!(resolved(&once, &a).value, once.value);
    }
}
