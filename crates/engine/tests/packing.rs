//! Messages that share one are as if their events had been packed together.

use std::sync::Arc;

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_engine::{pack, pack_messages};
use archipelago_proto::{Event, Limits, Op};
use bytes::Bytes;

const NAMESPACE: &str = "packing";

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name")
}

/// Commits of one master, each of so many events, which has applied `known(commit)` of another one meanwhile.
fn commits(lens: &[u64], known: impl Fn(u64) -> u64) -> Vec<Vec<Event>> {
    let mut sequence = 0;
    let commit = |(at, len): (usize, &u64)| {
        let mut deps = VersionVector::new();
        deps.raise(replica("other"), known(at as u64));
        let deps = Arc::new(deps);
        let event = |_| {
            sequence += 1;
            Event {
                dot: Dot::new(replica("here"), sequence),
                hlc: Hlc::new(1_800_000_000_000 + sequence, 0),
                deps: deps.clone(),
                context: None,
                entity: format!("entity/{sequence}").into(),
                op: Op::Put(Bytes::from_static(b"\xa5value")),
                trace: None,
            }
        };
        (0..*len).map(event).collect()
    };
    lens.iter().enumerate().map(commit).collect()
}

fn message(events: &[Event], limits: &Limits) -> Bytes {
    let packed = pack(NAMESPACE, events, limits).expect("within the limits");
    let [packed] = &packed[..] else { panic!("{} messages", packed.len()) };
    packed.message.clone()
}

fn packed(commits: &[Vec<Event>], limits: &Limits) -> Option<(usize, Bytes)> {
    let messages: Vec<Bytes> = commits.iter().map(|events| message(events, &Limits::default())).collect();
    pack_messages(NAMESPACE, messages.into_iter(), limits)
}

#[test]
fn messages_share_one_as_if_their_events_had_been_packed_together() {
    let limits = Limits::default();
    for known in [|_| 7, |commit| 7 + commit] {
        let commits = commits(&[3, 1, 64], known);
        assert_eq!(packed(&commits, &limits), Some((3, message(&commits.concat(), &limits))));
    }
}

#[test]
fn a_replica_that_is_new_ends_what_is_appended() {
    let limits = Limits::default();
    // An entry of nothing is none.
    let commits = commits(&[1, 2, 3, 4], |commit| commit.saturating_sub(1));
    assert_eq!(packed(&commits, &limits), Some((2, message(&commits[..2].concat(), &limits))));
    // Where it is new in the second, all have to be unpacked.
    assert_eq!(packed(&commits[1..], &limits), Some((3, message(&commits[1..].concat(), &limits))));
}

#[test]
fn only_whole_messages_share_one_and_one_alone_is_as_it_is() {
    let mut limits = Limits::default();
    limits.batch_events_max = 10;
    let commits = commits(&[4, 4, 4], |_| 7);
    assert_eq!(packed(&commits, &limits), Some((2, message(&commits[..2].concat(), &limits))));
    limits.batch_events_max = 7;
    assert_eq!(packed(&commits, &limits), None);
    assert_eq!(packed(&commits[..1], &limits), None);
    assert_eq!(packed(&[], &limits), None);
}

#[test]
fn what_cannot_be_read_is_left_as_it_is() {
    let limits = Limits::default();
    let whole = message(&commits(&[2], |_| 7)[0], &limits);
    let messages = [Bytes::from_static(b"no message"), whole.clone()];
    assert_eq!(pack_messages(NAMESPACE, messages.into_iter(), &limits), None);
    let messages = [whole, Bytes::from_static(b"no message")];
    assert_eq!(pack_messages(NAMESPACE, messages.into_iter(), &limits), None);
}
