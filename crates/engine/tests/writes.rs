//! What a local write becomes, and what is refused without a trace.

mod support;

use archipelago_conflict::Strategy;
use archipelago_engine::{Change, Commit, Effect, EngineConfig, LocalWrite, WriteError};
use archipelago_proto::{DecodeError, EncodeError, EventBatch, Limits, Op, Slot};
use bytes::Bytes;
use serde_json::json;
use support::{Replica, config, patch, put, value};

const NOW: u64 = 1_000_000;

fn replica(strategy: Strategy) -> Replica {
    Replica::new(config("a", strategy))
}

/// Refused, and nothing is different from before.
fn refused(replica: &mut Replica, entity: &str, change: Change) -> WriteError {
    let state = |replica: &Replica| {
        (replica.engine.vector().clone(), replica.engine.digest().clone(), replica.engine.counters())
    };
    let before = state(replica);
    let write = LocalWrite { entity: entity.into(), change, context: None, trace: None };
    let error = replica.engine.handle_write(write, NOW, &replica.disk).expect_err("over a limit");
    assert_eq!(state(replica), before);
    assert!(replica.engine.flush(NOW).is_empty(), "nothing to store, nothing to tell");
    error
}

fn over(error: &WriteError) -> &'static str {
    match error {
        WriteError::Malformed(DecodeError::OverLimit { limit, .. })
        | WriteError::Value(EncodeError::OverLimit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

fn is_malformed(error: &WriteError) -> bool {
    matches!(error, WriteError::Malformed(DecodeError::Malformed { .. }))
}

#[test]
fn an_entity_id_is_neither_empty_nor_too_long() {
    let mut replica = replica(Strategy::Lww);
    let refused_bytes = |error| match error {
        WriteError::EntityId { bytes, bytes_max: 512 } => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused_bytes(refused(&mut replica, "", put(1))), 0);
    assert_eq!(refused_bytes(refused(&mut replica, &"x".repeat(513), Change::Delete)), 513);
    replica.write(&"x".repeat(512), put(1), NOW);
}

#[test]
fn a_value_over_a_limit_is_refused() {
    let deep = |depth: usize| Bytes::from([vec![0x91; depth], vec![0xc0]].concat());
    for strategy in Strategy::ALL {
        let mut replica = replica(strategy);
        replica.write("x", put(json!({ "p": 0 })), NOW);
        let large = Bytes::from([vec![0xc6, 0, 8, 0, 0], vec![0; 512 * 1024]].concat());
        for value in [large, deep(65)] {
            let limit = if value.len() > 100 { "value_bytes_max" } else { "value_depth_max" };
            assert_eq!(over(&refused(&mut replica, "x", Change::Put(value.clone()))), limit);
            let fields = vec![("p".into(), Some(value))];
            assert_eq!(over(&refused(&mut replica, "x", Change::Patch(fields))), limit);
        }
        replica.write("x", Change::Put(deep(64)), NOW);
    }
}

#[test]
fn values_that_are_too_large_together_are_refused() {
    let half = || Some(value("x".repeat(300 * 1024)));
    for strategy in Strategy::ALL {
        let both = Change::Patch(vec![("p".into(), half()), ("q".into(), half())]);
        assert_eq!(over(&refused(&mut replica(strategy), "x", both)), "value_bytes_max");
    }
}

#[test]
fn broken_messagepack_is_refused() {
    for strategy in Strategy::ALL {
        let mut replica = replica(strategy);
        for broken in [&[][..], &[0xc1], &[0x92, 1], &[1, 2], &[0xa5, b'x'], &[0xdf, 0xff, 0xff, 0xff, 0xff]]
        {
            let broken = Bytes::copy_from_slice(broken);
            assert!(is_malformed(&refused(&mut replica, "x", Change::Put(broken.clone()))), "{broken:?}");
            let fields = vec![("p".into(), Some(broken))];
            assert!(is_malformed(&refused(&mut replica, "x", Change::Patch(fields))));
        }
    }
}

#[test]
fn a_field_is_named_once() {
    for strategy in Strategy::ALL {
        let twice = patch(&[("p", Some(1)), ("p", None)]);
        assert!(is_malformed(&refused(&mut replica(strategy), "x", twice)));
    }
    let twice = Bytes::from_static(&[0x82, 0xa1, b'p', 1, 0xa1, b'p', 2]);
    assert!(is_malformed(&refused(&mut replica(Strategy::FieldMerge), "x", Change::Put(twice))));
}

#[test]
fn fields_and_their_names_have_limits() {
    let many = |prefix: &str| (0..4_097).map(|n| (format!("{prefix}{n}").into(), Some(value(0)))).collect();
    for strategy in Strategy::ALL {
        let mut replica = replica(strategy);
        assert_eq!(over(&refused(&mut replica, "x", Change::Patch(many("f")))), "fields_max");
        let long = Change::Patch(vec![("f".repeat(513).into(), None)]);
        assert_eq!(over(&refused(&mut replica, "x", long)), "field_name_bytes_max");
    }
}

#[test]
fn a_put_that_would_change_more_fields_than_others_read_is_refused() {
    let mut replica = replica(Strategy::FieldMerge);
    let full = |prefix: &str| -> Vec<_> {
        (0..4_096).map(|n| (format!("{prefix}{n}").into(), Some(value(0)))).collect()
    };
    replica.write("x", Change::Patch(full("old")), NOW);
    let new: std::collections::BTreeMap<String, u8> = (0..4_096).map(|n| (format!("new{n}"), 0)).collect();
    assert_eq!(over(&refused(&mut replica, "x", put(&new))), "fields_max");
    replica.write("x", Change::Delete, NOW);
    replica.write("x", put(&new), NOW);
}

#[test]
fn an_event_that_no_message_could_carry_is_refused() {
    let mut replica = replica(Strategy::FieldMerge);
    let names = |prefix: char| (0..2_500).map(move |n| format!("{prefix}{n:0>511}"));
    let removals = Change::Patch(names('f').map(|name| (name.into(), None)).collect());
    assert_eq!(over(&refused(&mut replica, "x", removals)), "batch_bytes_max");

    let mut limits = Limits::default();
    limits.batch_bytes_max = 1_000;
    let mut small = Replica::new(EngineConfig { limits, ..config("a", Strategy::Lww) });
    assert_eq!(over(&refused(&mut small, "x", put("v".repeat(1_000)))), "batch_bytes_max");
    small.write("x", put("v".repeat(900)), NOW);
}

#[test]
fn a_write_whose_author_is_ahead_is_refused_until_the_replica_has_caught_up() {
    let mut b = Replica::new(config("b", Strategy::Lww));
    let (written, event) = b.write("x", put(1), NOW);
    let mut a = replica(Strategy::Lww);
    let ahead = a.write_after("x", put(2), NOW, Some(written.token()));
    assert!(matches!(ahead, Err(WriteError::ContextAhead)));
    assert!(a.engine.vector().is_empty());
    a.receive(&event, None, NOW);
    a.write_after("x", put(2), NOW, Some(written.token())).unwrap();
}

fn slots(op: &Op) -> Vec<(String, bool)> {
    match op {
        Op::Patch(fields) => fields
            .iter()
            .map(|(slot, value)| match slot {
                Slot::Root => ("<root>".to_owned(), value.is_some()),
                Slot::Field(name) => (name.to_string(), value.is_some()),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_under_field_merge_writes_what_changed_and_removes_what_is_missing() {
    let mut replica = replica(Strategy::FieldMerge);
    let write = |replica: &mut Replica, new: serde_json::Value| {
        let event = replica.write("x", put(&new), NOW).1;
        assert_eq!(replica.read("x"), Some(new));
        slots(&event.op)
    };
    let slot = |name: &str, set: bool| (name.to_owned(), set);
    assert_eq!(write(&mut replica, json!({ "p": 1, "q": 2 })), [slot("p", true), slot("q", true)]);
    assert_eq!(write(&mut replica, json!({ "p": 1, "q": 3 })), [slot("q", true)]);
    assert_eq!(write(&mut replica, json!({ "r": 1, "q": 3 })), [slot("p", false), slot("r", true)]);
    assert_eq!(write(&mut replica, json!({ "r": 1, "q": 3 })), []);
}

#[test]
fn a_put_with_a_token_leaves_fields_that_its_author_had_not_seen() {
    let mut replica = replica(Strategy::FieldMerge);
    replica.write("x", put(json!({ "p": 1, "q": 1 })), NOW);
    let token = replica.engine.vector().clone();
    replica.write("x", patch(&[("unseen", Some(2))]), NOW);
    replica.write_after("x", put(json!({ "p": 3 })), NOW, Some(token)).unwrap();
    assert_eq!(replica.read("x"), Some(json!({ "p": 3, "unseen": 2 })));
}

#[test]
fn a_record_changes_freely_between_scalar_map_and_nothing() {
    for strategy in Strategy::ALL {
        let (mut a, mut b) = (replica(strategy), Replica::new(config("b", strategy)));
        let kinds =
            [json!(7), json!({}), json!({ "p": 1 }), json!([1]), json!(null), json!({ "p": 1, "q": 2 })];
        let pairs =
            kinds.iter().flat_map(|from| kinds.iter().flat_map(move |to| [Some(from), Some(to), None]));
        for kind in pairs {
            let change = kind.map_or(Change::Delete, put);
            let (_, event) = a.write("x", change, NOW);
            b.receive(&event, None, NOW);
            assert_eq!((a.read("x").as_ref(), b.read("x").as_ref()), (kind, kind), "{strategy}");
            assert_eq!(a.engine.digest(), b.engine.digest());
        }
    }
}

#[test]
fn a_patch_under_last_writer_wins_writes_the_whole_record() {
    let mut replica = replica(Strategy::Lww);
    let (_, event) = replica.write("x", patch(&[("p", Some(1)), ("gone", None)]), NOW);
    assert_eq!(event.op, Op::Put(value(json!({ "p": 1 }))), "a record that is not there has no fields");
    replica.write("x", patch(&[("q", Some(2))]), NOW);
    let (_, event) = replica.write("x", patch(&[("p", None), ("r", Some(3))]), NOW);
    assert_eq!(event.op, Op::Put(value(json!({ "q": 2, "r": 3 }))));
    replica.write("x", put(7), NOW);
    assert!(is_malformed(&refused(&mut replica, "x", patch(&[("p", Some(1))]))), "a number has no fields");
    let large = || Some("v".repeat(300 * 1024));
    replica.write("y", patch(&[("p", large())]), NOW);
    assert_eq!(over(&refused(&mut replica, "y", patch(&[("q", large())]))), "value_bytes_max");
}

#[test]
fn stamps_never_go_back_whatever_the_wall_clock_and_crashes_do() {
    let mut replica = replica(Strategy::Lww);
    let mut last = replica.write("x", put(0), NOW).0.hlc;
    let mut remote = Replica::new(config("b", Strategy::Lww));
    let (_, ahead) = remote.write("x", put(1), NOW + 50_000);
    replica.receive(&ahead, None, NOW);
    assert!(last < ahead.hlc);
    last = ahead.hlc;
    for now in [NOW, 5, NOW + 7, 0, NOW] {
        for crashed in [false, true] {
            replica = if crashed { replica.crash() } else { replica };
            let hlc = replica.write("x", put(1), now).0.hlc;
            assert!(hlc > last, "{hlc} after {last}");
            last = hlc;
        }
    }
}

fn flush(replica: &mut Replica) -> Commit {
    let effects = replica.engine.flush(NOW);
    match <[Effect; 1]>::try_from(effects) {
        Ok([Effect::Commit(commit)]) => *commit,
        other => panic!("{other:?}"),
    }
}

fn admit(replica: &mut Replica, entity: &str, change: Change) {
    let write = LocalWrite { entity: entity.into(), change, context: None, trace: None };
    replica.engine.handle_write(write, NOW, &replica.disk).expect("a legal write");
}

/// The number of messages, which together carry these sequences in order, each within the limits.
fn messages(commit: &Commit, limits: &Limits, events: u64) -> usize {
    let mut next = 1;
    for outboxed in &commit.outbox {
        assert!(outboxed.message.len() <= limits.batch_bytes_max);
        assert_eq!(outboxed.first_sequence, next);
        let batch = EventBatch::decode(outboxed.message.clone(), limits).expect("within the limits");
        for event in batch.events {
            assert_eq!(event.dot.sequence, next);
            next += 1;
        }
        assert_eq!(outboxed.last_sequence, next - 1);
    }
    assert_eq!(next, events + 1);
    commit.outbox.len()
}

#[test]
fn many_writes_are_packed_into_few_messages() {
    let mut replica = replica(Strategy::Lww);
    for n in 0..3_000 {
        admit(&mut replica, &format!("e{}", n % 7), put(n));
    }
    let commit = flush(&mut replica);
    assert_eq!(commit.entities.len(), 7, "each entity once, as it is after the last write");
    assert_eq!(messages(&commit, &Limits::default(), 3_000), 3);
}

#[test]
fn large_writes_are_packed_within_the_limits() {
    let mut replica = replica(Strategy::FieldMerge);
    for n in 0..6 {
        admit(&mut replica, "x", put(format!("{n}").repeat(500 * 1024)));
        // Not a full batch by itself, but no room for what comes next.
        admit(&mut replica, "z", put(format!("{n}").repeat(100 * 1024)));
        let names = (0..1_900).map(|n| (format!("f{n:0>511}").into(), None));
        admit(&mut replica, "y", Change::Patch(names.collect()));
    }
    messages(&flush(&mut replica), &Limits::default(), 18);
}

#[test]
fn the_receipt_s_token_covers_the_write_and_all_before_it() {
    let mut a = replica(Strategy::Lww);
    let (first, _) = a.write("x", put(1), NOW);
    let (second, _) = a.write("y", put(2), NOW);
    assert!(second.token().contains(&first.dot) && second.token().contains(&second.dot));
    assert!(!first.token().contains(&second.dot));
    assert_eq!(second.token(), *a.engine.vector());
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let mut origins: Vec<_> = (0..8).map(|n| Replica::new(config(&format!("o{n}"), Strategy::Lww))).collect();
    let events: Vec<_> = origins.iter_mut().map(|origin| origin.write("x", put(1), NOW).1).collect();
    let run = || {
        let mut replica = replica(Strategy::Lww);
        for n in 0..20 {
            admit(&mut replica, &format!("e{n}"), put(n));
        }
        replica.engine.handle_events(events.clone(), None, NOW, &replica.disk).expect("a sound disk");
        replica.engine.flush(NOW).swap_remove(0)
    };
    let (Effect::Commit(left), Effect::Commit(right)) = (run(), run()) else {
        panic!("a commit comes first")
    };
    assert_eq!(left, right);
}
