//! One replica removes what another updates at the same time: under every strategy, with either write the later, and in
//! both orders of arrival. The outcomes are those of the table in `docs/CONFLICTS.md`.

mod support;

use archipelago_clock::ReplicaId;
use archipelago_conflict::{ConflictStrategy, Custom, Family, Strategy, StrategyTable};
use archipelago_crdt::{
    BoundedCounter, DwFlag, EwFlag, GCounter, GSet, List, LwwMap, LwwRegister, MaxRegister, MinRegister,
    MvRegister, OrMap, OrSet, PnCounter, RwSet, TwoPhaseSet, Value,
};
use archipelago_engine::{Change, EngineConfig, is_contested};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value as Json, json};
use support::{Replica, config, id, patch, put, value};

const ENTITY: &str = "x";

/// What became of it on all three replicas.
#[derive(Debug, PartialEq)]
struct Outcome {
    visible: Option<Json>,
    /// Whether both writes are still there for readers to see or for people to choose from.
    both_kept: bool,
    /// Who is reported to have won, of those who saw a conflict; `None` if nobody did.
    winner: Option<String>,
}

/// What follows from `removal` by the replica `remover` and `update` by `updater`, with the removal the later write and
/// with the update the later write.
#[derive(Debug, PartialEq)]
struct Outcomes {
    removal_later: Outcome,
    update_later: Outcome,
}

fn play(strategies: &StrategyTable, seed: &Change, removal: &Change, update: &Change) -> Outcomes {
    let run = |removed_at, updated_at| {
        let [removal_first, update_first] = [true, false].map(|removal_first| {
            let mut replicas = ["observer", "remover", "updater"].map(|name| {
                Replica::new(EngineConfig { strategies: strategies.clone(), ..config(name, Strategy::Lww) })
            });
            let seed = replicas[0].write(ENTITY, seed.clone(), 1_000).1;
            replicas[1].receive(&seed, None, 1_000);
            replicas[2].receive(&seed, None, 1_000);
            let removed = replicas[1].write(ENTITY, removal.clone(), removed_at).1;
            let updated = replicas[2].write(ENTITY, update.clone(), updated_at).1;
            let order = if removal_first { [&removed, &updated] } else { [&updated, &removed] };
            for replica in &mut replicas {
                for event in order {
                    replica.receive(event, None, 9_000);
                }
            }
            agreed(&mut replicas)
        });
        assert_eq!(removal_first, update_first, "the order of arrival does not show");
        removal_first
    };
    Outcomes { removal_later: run(3_000, 2_000), update_later: run(2_000, 3_000) }
}

fn agreed(replicas: &mut [Replica; 3]) -> Outcome {
    let outcomes = replicas.each_mut().map(|replica| {
        let clashes: Vec<_> = replica.take_conflicts().iter().flat_map(|it| it.clashes.clone()).collect();
        let record = replica.record(&ENTITY.into()).expect("it was written");
        let winner = clashes.first().map(|clash| clash.winner.dot.actor.name().to_owned());
        let strategy = replica.engine.config().strategies.strategy(ENTITY);
        let both_kept = strategy.family() == Family::Siblings && is_contested(&record);
        Outcome { visible: replica.read_as_text(), both_kept, winner }
    });
    for (outcome, replica) in outcomes.iter().zip(&*replicas) {
        assert_eq!(*outcome, outcomes[0]);
        assert_eq!(replica.engine.digest(), replicas[0].engine.digest());
        assert_eq!(replica.engine.vector(), replicas[0].engine.vector());
        let reopened = Replica::open(replica.engine.config().clone(), replica.disk.clone());
        assert_eq!(reopened.engine.digest(), replica.engine.digest());
    }
    let [outcome, ..] = outcomes;
    outcome
}

impl Replica {
    /// The visible value with CRDTs as people read them.
    fn read_as_text(&self) -> Option<Json> {
        let strategy = self.engine.config().strategies.strategy(ENTITY).clone();
        let record = self.record(&ENTITY.into())?;
        let limits = archipelago_proto::Limits::default();
        let visible = archipelago_engine::visible(&record, &*strategy, &limits)?;
        let value: Value = archipelago_proto::decode_value(&visible.value, &limits).expect("a value");
        Some(serde_json::to_value(value.readable()).expect("JSON"))
    }
}

/// One write is left, and is reported to have won.
fn joined(visible: Option<Json>, winner: &str) -> Outcome {
    Outcome { visible, both_kept: false, winner: Some(winner.into()) }
}

/// Both writes are left, the later of them is visible.
fn siblings(visible: Option<Json>, winner: &str) -> Outcome {
    Outcome { visible, both_kept: true, winner: Some(winner.into()) }
}

/// Both took effect, and nobody saw a conflict.
fn no_conflict(visible: Json) -> Outcome {
    Outcome { visible: Some(visible), both_kept: false, winner: None }
}

fn fields(fields: Json) -> Change {
    put(fields)
}

fn remove_field(name: &str) -> Change {
    patch::<u8>(&[(name, None)])
}

fn set_field(name: &str, to: i64) -> Change {
    patch(&[(name, Some(to))])
}

fn table(strategy: impl ConflictStrategy) -> StrategyTable {
    StrategyTable::new(strategy)
}

/// Any value is worth more than a removal; of several values all are shown in a list.
fn keep_all() -> Custom {
    Custom::new("keep-all", 1, |siblings| {
        let mut values: Vec<Value> = siblings.iter().filter_map(|sibling| sibling.value.clone()).collect();
        if values.len() < 2 { values.pop() } else { Some(Value::List(values)) }
    })
}

const SIBLINGS: [Strategy; 3] = [Strategy::VersionVector, Strategy::Manual, Strategy::Detect];
const BY_FIELD: [Strategy; 2] = [Strategy::FieldMerge, Strategy::CrdtMerge];

fn seed() -> Change {
    fields(json!({ "p": 0, "q": 0 }))
}

#[test]
fn delete_and_update_under_lww() {
    let outcomes = play(&table(Strategy::Lww), &seed(), &Change::Delete, &set_field("p", 1));
    assert_eq!(outcomes.removal_later, joined(None, "remover"));
    assert_eq!(outcomes.update_later, joined(Some(json!({ "p": 1, "q": 0 })), "updater"));
}

#[test]
fn delete_and_update_under_field_merge_and_of_plain_fields_under_crdt_merge() {
    for strategy in BY_FIELD {
        for update in [set_field("p", 1), fields(json!({ "p": 1, "q": 0 }))] {
            let outcomes = play(&table(strategy), &seed(), &Change::Delete, &update);
            assert_eq!(outcomes.removal_later, joined(None, "remover"), "{strategy}");
            // The field that was written comes back, the one that was not stays removed.
            assert_eq!(outcomes.update_later, joined(Some(json!({ "p": 1 })), "updater"), "{strategy}");
        }
    }
}

#[test]
fn delete_and_update_under_version_vector_manual_and_detect() {
    for strategy in SIBLINGS {
        let outcomes = play(&table(strategy), &seed(), &Change::Delete, &set_field("p", 1));
        assert_eq!(outcomes.removal_later, siblings(None, "remover"), "{strategy}");
        let updated = Some(json!({ "p": 1, "q": 0 }));
        assert_eq!(outcomes.update_later, siblings(updated, "updater"), "{strategy}");
    }
}

#[test]
fn delete_and_update_under_a_custom_function_are_its_own_affair() {
    let outcomes = play(&table(keep_all()), &seed(), &Change::Delete, &set_field("p", 1));
    let updated = Some(json!({ "p": 1, "q": 0 }));
    assert_eq!(
        outcomes.removal_later,
        siblings(updated.clone(), "remover"),
        "reported by stamp all the same"
    );
    assert_eq!(outcomes.update_later, siblings(updated, "updater"));
}

#[test]
fn delete_and_update_of_what_is_no_map_go_by_stamp() {
    for strategy in Strategy::ALL {
        let outcomes = play(&table(strategy), &put("old"), &Change::Delete, &put("new"));
        let kept = SIBLINGS.contains(&strategy);
        let outcome =
            |visible, winner| if kept { siblings(visible, winner) } else { joined(visible, winner) };
        assert_eq!(outcomes.removal_later, outcome(None, "remover"), "{strategy}");
        assert_eq!(outcomes.update_later, outcome(Some(json!("new")), "updater"), "{strategy}");
    }
}

#[test]
fn delete_and_a_new_field_go_by_stamp_under_field_merge_and_crdt_merge() {
    for strategy in BY_FIELD {
        let outcomes = play(&table(strategy), &seed(), &Change::Delete, &set_field("r", 1));
        assert_eq!(outcomes.removal_later, joined(None, "remover"), "{strategy}");
        assert_eq!(outcomes.update_later, joined(Some(json!({ "r": 1 })), "updater"), "{strategy}");
    }
}

#[test]
fn delete_and_removal_of_a_field_leave_nothing_under_field_merge_and_crdt_merge() {
    for strategy in BY_FIELD {
        let outcomes = play(&table(strategy), &seed(), &Change::Delete, &remove_field("p"));
        assert_eq!(outcomes.removal_later, joined(None, "remover"), "{strategy}");
        assert_eq!(outcomes.update_later, joined(None, "updater"), "{strategy}");
    }
}

#[test]
fn removal_and_update_of_a_field_under_lww() {
    let outcomes = play(&table(Strategy::Lww), &seed(), &remove_field("p"), &set_field("p", 1));
    assert_eq!(outcomes.removal_later, joined(Some(json!({ "q": 0 })), "remover"));
    assert_eq!(outcomes.update_later, joined(Some(json!({ "p": 1, "q": 0 })), "updater"));
}

#[test]
fn removal_and_update_of_a_field_under_field_merge_and_of_a_plain_one_under_crdt_merge() {
    for strategy in BY_FIELD {
        let outcomes = play(&table(strategy), &seed(), &remove_field("p"), &set_field("p", 1));
        assert_eq!(outcomes.removal_later, joined(Some(json!({ "q": 0 })), "remover"), "{strategy}");
        assert_eq!(outcomes.update_later, joined(Some(json!({ "p": 1, "q": 0 })), "updater"), "{strategy}");
    }
}

#[test]
fn removal_and_update_of_a_field_under_version_vector_manual_and_detect() {
    for strategy in SIBLINGS {
        let outcomes = play(&table(strategy), &seed(), &remove_field("p"), &set_field("p", 1));
        assert_eq!(outcomes.removal_later, siblings(Some(json!({ "q": 0 })), "remover"), "{strategy}");
        let updated = Some(json!({ "p": 1, "q": 0 }));
        assert_eq!(outcomes.update_later, siblings(updated, "updater"), "{strategy}");
    }
}

#[test]
fn removal_and_update_of_a_field_under_a_custom_function_are_its_own_affair() {
    let outcomes = play(&table(keep_all()), &seed(), &remove_field("p"), &set_field("p", 1));
    let both = Some(json!([{ "q": 0 }, { "p": 1, "q": 0 }]));
    assert_eq!(outcomes.removal_later, siblings(both.clone(), "remover"));
    assert_eq!(outcomes.update_later, siblings(both, "updater"));
}

#[test]
fn removal_of_a_field_and_update_of_another_both_stay_only_where_fields_merge() {
    for strategy in BY_FIELD {
        let outcomes = play(&table(strategy), &seed(), &remove_field("p"), &set_field("q", 1));
        assert_eq!(outcomes.removal_later, no_conflict(json!({ "q": 1 })), "{strategy}");
        assert_eq!(outcomes.update_later, no_conflict(json!({ "q": 1 })), "{strategy}");
    }
    let outcomes = play(&table(Strategy::Lww), &seed(), &remove_field("p"), &set_field("q", 1));
    assert_eq!(outcomes.removal_later, joined(Some(json!({ "q": 0 })), "remover"));
    assert_eq!(outcomes.update_later, joined(Some(json!({ "p": 0, "q": 1 })), "updater"));
    for strategy in SIBLINGS {
        let outcomes = play(&table(strategy), &seed(), &remove_field("p"), &set_field("q", 1));
        assert_eq!(outcomes.removal_later, siblings(Some(json!({ "q": 0 })), "remover"), "{strategy}");
        assert_eq!(outcomes.update_later, siblings(Some(json!({ "p": 0, "q": 1 })), "updater"), "{strategy}");
    }
}

/// A CRDT of one kind before and after an update by the replica `updater`.
struct Updated {
    kind: &'static str,
    before: Bytes,
    after: Bytes,
}

fn updated<C: Serialize>(kind: &'static str, before: C, update: impl FnOnce(&mut C, ReplicaId)) -> Updated {
    let first = value(&before);
    let mut after = before;
    update(&mut after, id("updater"));
    Updated { kind, before: first, after: value(&after) }
}

/// Every kind of CRDT, with something in it that the replica `observer` wrote, and an update.
fn every_kind() -> Vec<Updated> {
    let us = || id("observer");
    let mut g_counter = GCounter::new();
    g_counter.increment(us(), 5).expect("small");
    let mut pn_counter = PnCounter::new();
    pn_counter.increment(us(), 5).expect("small");
    let mut bounded = BoundedCounter::new();
    bounded.increment(us(), 5).expect("small");
    let mut two_phase: TwoPhaseSet<String> = TwoPhaseSet::new();
    two_phase.insert("tea".into()).expect("new");
    let mut or_set: OrSet<String> = OrSet::new();
    or_set.insert(us(), "tea".into()).expect("own state");
    let mut rw_set: RwSet<String> = RwSet::new();
    rw_set.insert(us(), "tea".into()).expect("own state");
    let mut mv_register: MvRegister<String> = MvRegister::new();
    mv_register.write(us(), "tea".into()).expect("own state");
    let mut list: List<String> = List::new();
    list.push(us(), "tea".into()).expect("own state");
    let mut lww_map: LwwMap<String, u8, (u64, ReplicaId)> = LwwMap::new();
    lww_map.insert("tea".into(), 1, (1, us())).expect("new");
    let mut counters: OrMap<String, PnCounter> = OrMap::new();
    counters.update(us(), "tea".into(), |count, actor| count.increment(actor, 5)).expect("small");
    let mut sets: OrMap<String, OrSet<String>> = OrMap::new();
    sets.update(us(), "tea".into(), |set, actor| set.insert(actor, "green".into())).expect("own state");
    let (mut max_register, mut min_register) = (MaxRegister::new(), MinRegister::new());
    max_register.raise(1);
    min_register.lower(2);
    let mut ew_flag = EwFlag::new();
    ew_flag.enable(us()).expect("own state");
    let mut dw_flag = DwFlag::new();
    dw_flag.disable(us()).expect("own state");
    vec![
        updated("g-counter", g_counter, |it, me| drop(it.increment(me, 1))),
        updated("pn-counter", pn_counter, |it, me| drop(it.increment(me, 1))),
        updated("bounded-counter", bounded, |it, me| drop(it.increment(me, 1))),
        updated("g-set", GSet::from_iter(["tea".to_owned()]), |it, _| drop(it.insert("milk".into()))),
        updated("two-phase-set", two_phase, |it, _| drop(it.insert("milk".into()))),
        updated("or-set", or_set, |it, me| drop(it.insert(me, "milk".into()))),
        updated("rw-set", rw_set, |it, me| drop(it.insert(me, "milk".into()))),
        updated("lww-register", LwwRegister::new(1, (1, us())), |it, me| drop(it.set(2, (2, me)))),
        updated("mv-register", mv_register, |it, me| drop(it.write(me, "milk".into()))),
        updated("max-register", max_register, |it, _| {
            it.raise(2);
        }),
        updated("min-register", min_register, |it, _| {
            it.lower(1);
        }),
        updated("ew-flag", ew_flag, |it, me| drop(it.enable(me))),
        updated("dw-flag", dw_flag, |it, me| drop(it.disable(me))),
        updated("lww-map", lww_map, |it, me| drop(it.insert("milk".into(), 2, (2, me)))),
        updated("or-map of pn-counter", counters, |it, me| {
            drop(it.update(me, "tea".into(), |count, actor| count.increment(actor, 1)));
        }),
        updated("or-map of or-set", sets, |it, me| {
            drop(it.update(me, "tea".into(), |set, actor| set.insert(actor, "black".into())));
        }),
        updated("list", list, |it, me| drop(it.push(me, "milk".into()))),
    ]
}

fn write_field(name: &str, content: &Bytes) -> Change {
    Change::Patch(vec![(name.into(), Some(content.clone()))])
}

fn seed_with(crdt: &Bytes) -> Change {
    Change::Patch(vec![("crdt".into(), Some(crdt.clone())), ("q".into(), Some(value(0)))])
}

#[test]
fn delete_wins_over_updates_of_crdts_of_every_kind_whatever_the_stamps() {
    for Updated { kind, before, after } in every_kind() {
        let update = write_field("crdt", &after);
        let outcomes = play(&table(Strategy::CrdtMerge), &seed_with(&before), &Change::Delete, &update);
        assert_eq!(outcomes.removal_later, joined(None, "remover"), "{kind}");
        assert_eq!(outcomes.update_later, joined(None, "remover"), "{kind}");
    }
}

#[test]
fn removal_of_a_field_wins_over_updates_of_crdts_of_every_kind_whatever_the_stamps() {
    for Updated { kind, before, after } in every_kind() {
        let (removal, update) = (remove_field("crdt"), write_field("crdt", &after));
        let outcomes = play(&table(Strategy::CrdtMerge), &seed_with(&before), &removal, &update);
        assert_eq!(outcomes.removal_later, joined(Some(json!({ "q": 0 })), "remover"), "{kind}");
        assert_eq!(outcomes.update_later, joined(Some(json!({ "q": 0 })), "remover"), "{kind}");
    }
}

#[test]
fn delete_wins_over_updates_of_an_entity_that_is_a_crdt_whatever_the_stamps() {
    for Updated { kind, before, after } in every_kind() {
        let [before, after] = [before, after].map(Change::Put);
        let outcomes = play(&table(Strategy::CrdtMerge), &before, &Change::Delete, &after);
        assert_eq!(outcomes.removal_later, joined(None, "remover"), "{kind}");
        assert_eq!(outcomes.update_later, joined(None, "remover"), "{kind}");
    }
}

#[test]
fn a_number_in_place_of_a_crdt_wins_over_updates_as_a_removal_does() {
    for Updated { kind, before, after } in every_kind() {
        let (plain, update) = (set_field("crdt", 7), write_field("crdt", &after));
        let outcomes = play(&table(Strategy::CrdtMerge), &seed_with(&before), &plain, &update);
        assert_eq!(outcomes.removal_later, joined(Some(json!({ "crdt": 7, "q": 0 })), "remover"), "{kind}");
        assert_eq!(outcomes.update_later, joined(Some(json!({ "crdt": 7, "q": 0 })), "remover"), "{kind}");
    }
}

#[test]
fn where_crdts_are_values_like_any_other_stamps_decide_about_them() {
    for Updated { kind, before, after } in every_kind() {
        let (removal, update) = (remove_field("crdt"), write_field("crdt", &after));
        for strategy in [Strategy::Lww, Strategy::FieldMerge] {
            let outcomes = play(&table(strategy), &seed_with(&before), &removal, &update);
            assert_eq!(
                outcomes.removal_later,
                joined(Some(json!({ "q": 0 })), "remover"),
                "{strategy}: {kind}"
            );
            assert_eq!(outcomes.update_later.winner.as_deref(), Some("updater"), "{strategy}: {kind}");
            let visible = outcomes.update_later.visible.expect("the update");
            assert_eq!(visible.as_object().map(|fields| fields.len()), Some(2), "{strategy}: {kind}");
        }
    }
}

#[test]
fn delete_takes_the_crdts_and_stamps_decide_about_the_plain_fields_of_one_update() {
    let Updated { before, after, .. } = every_kind().swap_remove(1);
    let update = Change::Patch(vec![("crdt".into(), Some(after)), ("q".into(), Some(value(1)))]);
    let outcomes = play(&table(Strategy::CrdtMerge), &seed_with(&before), &Change::Delete, &update);
    assert_eq!(outcomes.removal_later, joined(None, "remover"));
    assert_eq!(outcomes.update_later, joined(Some(json!({ "q": 1 })), "updater"));
}

#[test]
fn delete_of_a_record_with_a_custom_function_that_shows_nothing_hides_the_update() {
    let removal_wins = Custom::new("removal-wins", 1, |siblings| {
        let removed = siblings.iter().any(|sibling| sibling.value.is_none());
        if removed { None } else { siblings.last()?.value.clone() }
    });
    let outcomes = play(&table(removal_wins), &seed(), &Change::Delete, &set_field("p", 1));
    assert_eq!(outcomes.removal_later, siblings(None, "remover"));
    assert_eq!(outcomes.update_later, siblings(None, "updater"));
}
