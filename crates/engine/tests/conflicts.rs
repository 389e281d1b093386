//! A conflict is reported exactly when two writes did not know of each other, with who won and who lost.

mod support;

use archipelago_clock::Dot;
use archipelago_conflict::{ConflictStrategy, Family, Strategy};
use archipelago_engine::{Change, Clash};
use archipelago_proto::Slot;
use bytes::Bytes;
use serde_json::json;
use support::{Replica, config, id, patch, put, value};

const NOW: u64 = 1_000_000;

fn pair(strategy: Strategy) -> (Replica, Replica) {
    (Replica::new(config("a", strategy)), Replica::new(config("b", strategy)))
}

/// Who wrote, and what.
type Side<'a> = (&'a str, Option<Bytes>);

/// The winner and the loser.
fn sides(clash: &Clash) -> (Side<'_>, Side<'_>) {
    let side = |at: &archipelago_engine::Contender| at.value.clone();
    ((clash.winner.dot.actor.name(), side(&clash.winner)), (clash.loser.dot.actor.name(), side(&clash.loser)))
}

/// Lets both write without knowing of each other, `left` at 1 ms before `right`, and gives what each reports of it.
fn concurrent(strategy: Strategy, left: Change, right: Change) -> (Replica, Replica, Vec<Clash>) {
    let (mut a, mut b) = pair(strategy);
    let (_, seed) = a.write("x", put(json!({ "p": 0, "q": 0 })), NOW - 10);
    b.receive(&seed, None, NOW);
    let (_, by_a) = a.write("x", left, NOW);
    let (_, by_b) = b.write("x", right, NOW + 1);
    assert!(a.take_conflicts().is_empty() && b.take_conflicts().is_empty());
    a.receive(&by_b, None, NOW);
    b.receive(&by_a, None, NOW);
    let (mut at_a, mut at_b) = (a.take_conflicts(), b.take_conflicts());
    assert_eq!(a.engine.counters().conflicts_detected, at_a.len() as u64);
    assert_eq!(at_a.len(), at_b.len());
    assert_eq!(a.view(), b.view());
    let Some((at_a, at_b)) = at_a.pop().zip(at_b.pop()) else { return (a, b, Vec::new()) };
    assert_eq!((&at_a.dot, &at_b.dot), (&by_b.dot, &by_a.dot), "each names the write that it saw second");
    assert_eq!((&*at_a.strategy, &*at_a.entity), (strategy.name(), "x"));
    assert_eq!(at_a.clashes, at_b.clashes, "both sides tell the same story");
    (a, b, at_a.clashes.clone())
}

#[test]
fn writes_in_sequence_do_not_conflict() {
    for strategy in Strategy::ALL {
        let (mut a, mut b) = pair(strategy);
        for (n, change) in [put(1), put(json!({})), Change::Delete, Change::Delete, put(json!({ "p": 1 }))]
            .into_iter()
            .enumerate()
        {
            let (writer, reader) = if n % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let (_, event) = writer.write("x", change, NOW);
            reader.receive(&event, None, NOW);
        }
        assert!(a.take_conflicts().is_empty() && b.take_conflicts().is_empty(), "{strategy}");
        assert_eq!(a.engine.counters().conflicts_detected + b.engine.counters().conflicts_detected, 0);
    }
}

#[test]
fn writes_of_different_entities_do_not_conflict() {
    let (mut a, mut b) = pair(Strategy::Lww);
    let (_, by_a) = a.write("x", put(1), NOW);
    b.write("y", put(2), NOW);
    b.receive(&by_a, None, NOW);
    assert!(b.take_conflicts().is_empty());
}

#[test]
fn concurrent_writes_conflict_on_each_side_and_the_later_wins() {
    let (a, _, clashes) = concurrent(Strategy::Lww, put("left"), put("right"));
    assert_eq!(clashes.len(), 1);
    assert_eq!(clashes[0].field, None);
    assert_eq!(sides(&clashes[0]), (("b", Some(value("right"))), ("a", Some(value("left")))));
    assert_eq!(a.read("x"), Some(json!("right")));
}

#[test]
fn a_write_with_a_stale_token_conflicts_where_it_is_made() {
    for strategy in Strategy::ALL {
        let (mut a, mut b) = pair(strategy);
        a.write("x", put(1), NOW);
        let token = a.engine.vector().clone();
        let (_, unseen) = a.write("x", put(2), NOW);
        let (written, stale) = a.write_after("x", put(3), NOW, Some(token)).unwrap();
        let conflicts = a.take_conflicts();
        assert_eq!(conflicts.len(), 1, "{strategy}");
        let clash = &conflicts[0].clashes[0];
        assert_eq!((&clash.winner.dot, &clash.loser.dot), (&written.dot, &unseen.dot));
        assert_eq!(a.read("x"), Some(json!(3)));
        // A token of all that is there is not stale.
        a.write_after("x", put(4), NOW, Some(a.engine.vector().clone())).unwrap();
        assert!(a.take_conflicts().is_empty(), "{strategy}");
        // What the author had seen travels with the event.
        let seed = Dot::new(id("a"), 1);
        assert!(stale.context_contains(&seed) && !stale.context_contains(&unseen.dot));
        b.receive(&stale, None, NOW);
        assert_eq!(b.engine.buffered(), 1, "what its replica had applied comes first all the same");
    }
}

#[test]
fn a_delete_that_the_author_had_not_seen_is_overwritten_without_a_conflict() {
    // It may be reclaimed anywhere, and must leave no trace of having been there.
    for strategy in Strategy::ALL {
        let mut a = Replica::new(config("a", strategy));
        a.write("x", put(json!({ "p": 1, "q": 1 })), NOW);
        let token = a.engine.vector().clone();
        a.write("x", Change::Delete, NOW);
        a.write_after("x", put(json!({ "p": 2 })), NOW, Some(token)).unwrap();
        assert!(a.take_conflicts().is_empty(), "{strategy}");
        assert_eq!(a.read("x"), Some(json!({ "p": 2 })));
    }
    let mut a = Replica::new(config("a", Strategy::FieldMerge));
    a.write("x", put(json!({ "p": 1, "q": 1 })), NOW);
    let token = a.engine.vector().clone();
    a.write("x", patch::<u8>(&[("p", None)]), NOW);
    a.write_after("x", patch(&[("p", Some(2))]), NOW, Some(token)).unwrap();
    assert!(a.take_conflicts().is_empty());
}

#[test]
fn different_fields_do_not_conflict_under_field_merge() {
    let (a, _, clashes) =
        concurrent(Strategy::FieldMerge, patch(&[("p", Some(1))]), patch(&[("q", Some(2))]));
    assert_eq!(clashes, []);
    assert_eq!(a.read("x"), Some(json!({ "p": 1, "q": 2 })));
    // The same by whole records, as an application without patches writes them.
    let left = put(json!({ "p": 1, "q": 0 }));
    let right = put(json!({ "p": 0, "q": 2 }));
    let (a, _, clashes) = concurrent(Strategy::FieldMerge, left, right);
    assert_eq!(clashes, []);
    assert_eq!(a.read("x"), Some(json!({ "p": 1, "q": 2 })));
}

#[test]
fn the_same_field_conflicts_once_and_names_both_values_under_field_merge() {
    let left = patch(&[("p", Some("left")), ("r", Some("r"))]);
    let right = patch(&[("p", Some("right")), ("q", None)]);
    let (a, _, clashes) = concurrent(Strategy::FieldMerge, left, right);
    assert_eq!(clashes.len(), 1);
    assert_eq!(clashes[0].field, Some(Slot::Field("p".into())));
    assert_eq!(sides(&clashes[0]), (("b", Some(value("right"))), ("a", Some(value("left")))));
    assert_eq!(a.read("x"), Some(json!({ "p": "right", "r": "r" })));
}

#[test]
fn each_field_in_conflict_has_a_clash_of_its_own() {
    let (.., clashes) = concurrent(
        Strategy::FieldMerge,
        put(json!({ "p": 1, "q": 1 })),
        patch(&[("p", Some(2)), ("q", None)]),
    );
    let fields: Vec<_> = clashes.iter().map(|clash| clash.field.clone()).collect();
    assert_eq!(fields, ["p", "q"].map(|name| Some(Slot::Field(name.into()))));
    assert_eq!(sides(&clashes[1]), (("b", None), ("a", Some(value(1)))));
}

#[test]
fn a_later_delete_wins_over_a_concurrent_update() {
    for strategy in Strategy::ALL {
        let (a, b, clashes) = concurrent(strategy, patch(&[("p", Some(1))]), Change::Delete);
        assert_eq!(clashes.len(), 1, "{strategy}");
        assert_eq!((clashes[0].winner.dot.actor.name(), &clashes[0].winner.value), ("b", &None));
        assert_eq!((a.read("x"), b.read("x")), (None, None));
    }
}

#[test]
fn a_later_update_wins_over_a_concurrent_delete() {
    for strategy in Strategy::ALL {
        let (a, b, clashes) = concurrent(strategy, Change::Delete, patch(&[("p", Some(1))]));
        assert_eq!(clashes.len(), 1, "{strategy}");
        assert_eq!((clashes[0].loser.dot.actor.name(), &clashes[0].loser.value), ("a", &None));
        assert_eq!(clashes[0].winner.dot.actor.name(), "b");
        // Under field merge only what was written anew; what the delete had seen stays removed.
        let by_field = matches!(strategy, Strategy::FieldMerge | Strategy::CrdtMerge);
        let kept = if by_field { json!({ "p": 1 }) } else { json!({ "p": 1, "q": 0 }) };
        assert_eq!((a.read("x"), b.read("x")), (Some(kept.clone()), Some(kept)));
    }
}

#[test]
fn two_deletes_leave_nothing_whoever_wins() {
    for strategy in Strategy::ALL {
        let (a, b, clashes) = concurrent(strategy, Change::Delete, Change::Delete);
        for side in [&a, &b] {
            let kept = if strategy.family() == Family::Siblings { 2 } else { 1 };
            assert_eq!(
                side.record(&"x".into()).unwrap().versions.len(),
                kept,
                "one tombstone is enough, unless siblings are kept"
            );
        }
        assert_eq!(clashes.len(), 1, "{strategy}");
        assert_eq!(sides(&clashes[0]), (("b", None), ("a", None)));
        assert_eq!(a.view().len(), 0);
        assert_eq!(a.engine.digest().root(), archipelago_engine::StateDigest::new().root());
    }
}

#[test]
fn a_write_that_changes_nothing_conflicts_with_nothing_where_fields_merge() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let same = put(json!({ "p": 0, "q": 0 }));
        let (a, _, clashes) = concurrent(strategy, Change::Delete, same);
        assert_eq!((clashes, a.read("x")), (vec![], None), "{strategy}");
    }
}

#[test]
fn what_was_superseded_is_not_stored() {
    for strategy in Strategy::ALL {
        let (mut a, mut b) = pair(strategy);
        let mut events = Vec::new();
        for change in [put(json!({ "p": 1 })), put(json!({ "p": 2 })), Change::Delete, Change::Delete] {
            events.push(a.write("x", change, NOW).1);
            b.receive(&events[events.len() - 1], None, NOW);
            for replica in [&a, &b] {
                let versions = replica.record(&"x".into()).unwrap().versions;
                assert_eq!(versions.len(), 1, "{strategy}: {versions:?}");
            }
        }
    }
}

#[test]
fn of_equal_stamps_the_greater_replica_id_wins() {
    for strategy in Strategy::ALL {
        let (mut a, mut b) = pair(strategy);
        let (by_a, of_a) = a.write("x", put("of a"), NOW);
        let (by_b, of_b) = b.write("x", put("of b"), NOW);
        assert_eq!(by_a.hlc, by_b.hlc);
        a.receive(&of_b, None, NOW);
        b.receive(&of_a, None, NOW);
        assert_eq!((a.read("x"), b.read("x")), (Some(json!("of b")), Some(json!("of b"))), "{strategy}");
        assert_eq!(a.take_conflicts()[0].clashes[0].winner.dot.actor, id("b"));
        assert_eq!(b.take_conflicts()[0].clashes[0].winner.dot.actor, id("b"));
    }
}

#[test]
fn a_write_after_a_conflict_settles_it() {
    for strategy in Strategy::ALL {
        let (mut a, mut b, _) = concurrent(strategy, put("left"), put("right"));
        let (_, settled) = a.write("x", put("settled"), NOW);
        b.receive(&settled, None, NOW);
        assert!(a.take_conflicts().is_empty() && b.take_conflicts().is_empty());
        assert_eq!(b.read("x"), Some(json!("settled")), "{strategy}");
    }
}
