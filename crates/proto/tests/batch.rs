//! Batches round-trip, stay small, and hostile ones are refused without harm.

use std::sync::Arc;

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_proto::{BatchEncoder, DecodeError, Event, EventBatch, Limits, Op, Slot, TraceId};
use bytes::Bytes;
use proptest::prelude::*;

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name, Incarnation::from_bits(7)).expect("a legal name")
}

fn pack(events: &[Event], limits: &Limits) -> Bytes {
    let mut encoder = BatchEncoder::new("ns", limits);
    assert!(events.iter().all(|event| encoder.push(event)));
    encoder.finish().expect("within the limits").expect("events")
}

fn put(sequence: u64, value_bytes: usize) -> Event {
    Event {
        dot: Dot::new(replica("us-east"), sequence),
        hlc: Hlc::new(1_795_220_962_000 + sequence, 0),
        deps: Arc::default(),
        context: None,
        entity: "user/12345".into(),
        op: Op::Put(Bytes::from(vec![7; value_bytes])),
        trace: None,
    }
}

#[test]
fn steady_state_overhead_per_event_is_at_most_16_bytes() {
    let events: Vec<Event> = (1..=64).map(|sequence| put(sequence, 200)).collect();
    let message = pack(&events, &Limits::default());
    let payload = events.len() * (200 + "user/12345".len());
    let overhead = (message.len() - payload) as f64 / events.len() as f64;
    assert!(overhead <= 16.0, "{overhead} bytes");
}

#[test]
fn an_event_that_does_not_follow_goes_into_another_batch() {
    let limits = Limits::default();
    let mut encoder = BatchEncoder::new("ns", &limits);
    assert!(encoder.push(&put(1, 1)));
    assert!(!encoder.push(&put(3, 1)), "a sequence is missing");
    let mut other = put(2, 1);
    other.dot.actor = replica("eu-west");
    assert!(!encoder.push(&other), "another origin");
    assert!(encoder.push(&put(2, 1)));
    assert_eq!(encoder.len(), 2);
}

#[test]
fn a_full_batch_takes_no_more() {
    let limits = Limits::default();
    let mut encoder = BatchEncoder::new("ns", &limits);
    let taken = (1..).take_while(|sequence| encoder.push(&put(*sequence, 10_000))).count();
    assert_eq!(taken, limits.batch_bytes_target.div_ceil(10_020));
    let mut encoder = BatchEncoder::new("ns", &limits);
    let taken = (1..).take_while(|sequence| encoder.push(&put(*sequence, 1))).count();
    assert_eq!(taken, limits.batch_events_max);
}

#[test]
fn a_damaged_byte_is_noticed() {
    let message = pack(&[put(1, 20), put(2, 20)], &Limits::default());
    for at in 0..message.len() {
        let mut damaged = message.to_vec();
        damaged[at] ^= 0x10;
        assert!(EventBatch::decode(damaged.into(), &Limits::default()).is_err(), "byte {at}");
    }
}

#[test]
fn a_cut_or_lengthened_message_is_refused() {
    let message = pack(&[put(1, 20)], &Limits::default());
    for len in 0..message.len() {
        assert!(EventBatch::decode(message.slice(..len), &Limits::default()).is_err(), "{len} bytes");
    }
    let longer = [&message[..], &[0]].concat();
    assert!(EventBatch::decode(longer.into(), &Limits::default()).is_err());
}

#[test]
fn a_newer_envelope_version_is_told_apart_from_garbage() {
    let mut newer = pack(&[put(1, 1)], &Limits::default()).to_vec();
    let version_at = 1 + 1 + "archipelago".len();
    assert_eq!(newer[version_at], 1);
    newer[version_at] = 9;
    let error = EventBatch::decode(newer.into(), &Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError::UnsupportedVersion { found: 9, supported: 1 });
    assert!(error.is_from_the_future());
    let garbage = EventBatch::decode(Bytes::from_static(b"hello"), &Limits::default()).unwrap_err();
    assert_eq!(garbage, DecodeError::NotAnEnvelope);
}

#[test]
fn a_message_over_the_limit_names_it() {
    let message = pack(&[put(1, 5_000)], &Limits::default());
    let mut limits = Limits::default();
    limits.value_bytes_max = 4_999;
    let error = EventBatch::decode(message.clone(), &limits).unwrap_err();
    assert_eq!(error, DecodeError::OverLimit { limit: "value_bytes_max", found: 5_000, max: 4_999 });
    limits.batch_bytes_max = 100;
    assert!(matches!(
        EventBatch::decode(message, &limits),
        Err(DecodeError::OverLimit { limit: "batch_bytes_max", .. })
    ));
}

/// The body of an envelope, by the layout in `docs/FORMAT.md`.
fn body_of(message: &[u8]) -> Vec<u8> {
    let mut rest = message;
    assert_eq!(rmp::decode::read_array_len(&mut rest).expect("an array"), 5);
    rest = &rest[1 + "archipelago".len()..];
    for what in ["version", "kind", "checksum"] {
        rmp::decode::read_int::<u64, _>(&mut rest).expect(what);
    }
    let len = rmp::decode::read_bin_len(&mut rest).expect("a body") as usize;
    assert_eq!(rest.len(), len);
    rest.to_vec()
}

/// An envelope around any body, as a sender without this library would write it.
fn seal(body: &[u8]) -> Bytes {
    let mut message = Vec::new();
    rmp::encode::write_array_len(&mut message, 5).expect("memory");
    rmp::encode::write_str(&mut message, "archipelago").expect("memory");
    for number in [1, 1, xxhash_rust::xxh3::xxh3_64(body)] {
        rmp::encode::write_uint(&mut message, number).expect("memory");
    }
    rmp::encode::write_bin(&mut message, body).expect("memory");
    message.into()
}

#[test]
fn elements_that_a_later_build_appends_are_skipped() {
    let mut body = body_of(&pack(&[put(1, 3)], &Limits::default()));
    assert_eq!(body[0], 0x96, "a batch has six elements");
    body[0] = 0x97;
    body.extend([0x81, 0xa1, b'x', 0x93, 1, 2, 3]);
    assert_eq!(EventBatch::decode(seal(&body), &Limits::default()).unwrap().events, [put(1, 3)]);
}

#[test]
fn elements_behind_an_event_are_skipped_and_a_trace_of_nothing_is_refused() {
    let limits = Limits::default();
    let mut traced = put(1, 3);
    traced.trace = TraceId::from_bits(7);
    let body = body_of(&pack(&[traced.clone()], &limits));
    let at =
        body.windows(17).position(|bytes| bytes[..2] == [0xc4, 16] && bytes[2..].iter().all(|b| *b == 0));
    let at = at.expect("16 bytes, of which the last is 7");
    assert_eq!(at + 18, body.len(), "the trace ends the message");

    // As a later build may write it: something behind the trace, or behind none.
    let event = body.iter().rposition(|byte| *byte == 0x97).expect("an array of seven");
    let mut more = body.clone();
    more[event] = 0x98;
    more.extend([0x81, 0xa1, b'x', 1]);
    assert_eq!(EventBatch::decode(seal(&more), &limits).unwrap().events, [traced]);
    let mut none = body[..at].to_vec();
    none[event] = 0x98;
    none.extend([0xc0, 0x81, 0xa1, b'x', 1]);
    assert_eq!(EventBatch::decode(seal(&none), &limits).unwrap().events, [put(1, 3)]);

    for wrong in [&[0u8; 16][..], &[7; 15]] {
        let mut body = body[..at].to_vec();
        body.extend([0xc4, u8::try_from(wrong.len()).unwrap()]);
        body.extend(wrong);
        let error = EventBatch::decode(seal(&body), &limits).unwrap_err();
        assert!(error.to_string().contains("trace id"), "{error}");
    }
}

/// What 4,000 replicas that each write between two events of one origin make of a batch.
fn crowded(events: u64) -> Vec<Event> {
    let mut deps = VersionVector::new();
    for other in 0..4_000 {
        deps.raise(replica(&format!("o{other}")), 1);
    }
    let mut crowded = Vec::new();
    for sequence in 1..=events {
        deps.raise(replica("o7"), sequence);
        crowded.push(Event { deps: Arc::new(deps.clone()), ..put(sequence, 1) });
    }
    crowded
}

#[test]
fn a_small_message_cannot_unpack_to_much_memory() {
    let (events, limits) = (crowded(100), Limits::default());
    let mut encoder = BatchEncoder::new("ns", &limits);
    let packed = events.iter().take_while(|event| encoder.push(event)).count();
    assert_eq!(packed, limits.batch_vector_entries_max / 4_000, "the encoder stays within the limit");
    let message = encoder.finish().unwrap().unwrap();
    assert_eq!(EventBatch::decode(message.clone(), &limits).unwrap().events.len(), packed);
    let mut narrow = Limits::default();
    narrow.batch_vector_entries_max = 100_000;
    let error = EventBatch::decode(message, &narrow).unwrap_err();
    assert!(matches!(error, DecodeError::OverLimit { limit: "batch_vector_entries_max", .. }), "{error}");
}

#[test]
fn many_replicas_do_not_keep_events_from_sharing_a_batch() {
    let mut limits = Limits::default();
    limits.replicas_max = 4_100;
    let mut encoder = BatchEncoder::new("ns", &limits);
    assert!(crowded(3).iter().all(|event| encoder.push(event)));
}

#[test]
fn what_does_not_follow_is_not_appended_and_leaves_all_as_it_was() {
    let limits = Limits::default();
    let mut few = Limits::default();
    (few.batch_events_max, few.batch_bytes_target) = (3, 2_000);
    let deps = |sequence| Arc::new(VersionVector::from_iter([(replica("eu-west"), sequence)]));
    let of = |sequences: std::ops::RangeInclusive<u64>, known| {
        let events = sequences.map(|sequence| Event { deps: deps(known), ..put(sequence, 10) });
        events.collect::<Vec<_>>()
    };
    let mut elsewhere = BatchEncoder::new("elsewhere", &limits);
    assert!(elsewhere.push(&of(3..=3, 5)[0]));
    let mut foreign = of(3..=3, 5);
    foreign[0].dot.actor = replica("ap-south");
    let unknown = vec![Event { deps: Arc::default(), ..put(3, 10) }];
    let large = vec![Event { deps: deps(5), ..put(3, 2_000) }];
    let refused = [
        ("another namespace", elsewhere.finish().unwrap().unwrap()),
        ("another origin", pack(&foreign, &limits)),
        ("one is missing", pack(&of(4..=4, 5), &limits)),
        ("one comes twice", pack(&of(2..=2, 5), &limits)),
        ("it knows less", pack(&of(3..=3, 4), &limits)),
        ("it names other replicas", pack(&unknown, &limits)),
        ("what it knows grows", pack(&[of(3..=3, 5), of(4..=4, 6)].concat(), &limits)),
        ("too many events", pack(&of(3..=4, 5), &limits)),
        ("too many bytes", pack(&large, &limits)),
    ];
    let mut encoder = BatchEncoder::new("ns", &few);
    assert!(encoder.append(pack(&of(1..=1, 5), &limits)).unwrap());
    assert!(encoder.push(&of(2..=2, 5)[0]));
    let bytes = encoder.bytes();
    for (why, message) in refused {
        assert!(!encoder.append(message).unwrap(), "{why}");
        assert_eq!((encoder.len(), encoder.bytes()), (2, bytes), "{why}");
    }
    assert!(encoder.append(Bytes::from_static(b"hello")).is_err());
    assert!(encoder.append(pack(&of(3..=3, 6), &limits)).unwrap());
    let all = [of(1..=2, 5), of(3..=3, 6)].concat();
    assert_eq!(encoder.finish().unwrap().unwrap(), pack(&all, &limits));
}

#[test]
fn a_message_whose_replicas_stand_in_another_order_is_not_appended() {
    let limits = Limits::default();
    let deps = [("aa", 3), ("bb", 5)].map(|(name, sequence)| (replica(name), sequence));
    let event = Event { deps: Arc::new(deps.into_iter().collect()), ..put(1, 10) };
    let body = body_of(&pack(&[event], &limits));
    let of = |name: &str| {
        body.windows(3).position(|bytes| bytes[1..] == *name.as_bytes()).expect("it is named") + 1
    };
    let mut swapped = body.clone();
    swapped[of("aa")..][..2].copy_from_slice(b"bb");
    swapped[of("bb")..][..2].copy_from_slice(b"aa");
    let read = EventBatch::decode(seal(&swapped), &limits).unwrap();
    assert_eq!(read.events[0].deps.get(&replica("bb")), 3, "it is a message like any other");
    let mut encoder = BatchEncoder::new("ns", &limits);
    assert!(!encoder.append(seal(&swapped)).unwrap() && encoder.is_empty());
    assert!(encoder.append(seal(&body)).unwrap());
}

fn ops() -> impl Strategy<Value = Op> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let slot = prop_oneof![Just(Slot::Root), "[a-z]{0,3}".prop_map(|name| Slot::Field(name.into()))];
    prop_oneof![
        bytes().prop_map(Op::Put),
        Just(Op::Delete),
        proptest::collection::btree_map(slot, proptest::option::of(bytes()), 0..5)
            .prop_map(|fields| Op::Patch(fields.into_iter().collect())),
    ]
}

prop_compose! {
    /// Events of one origin whose deps only grow, some with a context behind them.
    fn histories()(
        first in 1u64..1_000_000,
        steps in proptest::collection::vec(
            (any::<u64>(), proptest::collection::vec((0u8..5, 0u64..1_000), 0..3), any::<bool>(), 0u64..9, "\\PC{1,8}", (ops(), any::<Option<u128>>())),
            1..20,
        ),
    ) -> Vec<Event> {
        let origin = replica("m");
        let mut deps = VersionVector::new();
        let mut events = Vec::new();
        for (at, (hlc, grown, stale, behind, entity, (op, trace))) in steps.into_iter().enumerate() {
            for (other, by) in grown {
                let other = replica(&format!("o{other}"));
                let sequence = deps.get(&other) + by;
                deps.raise(other, sequence);
            }
            let sequence = first + at as u64;
            let context = stale.then(|| {
                let full = deps.iter().map(|(actor, seen)| (actor.clone(), seen)).chain([(origin.clone(), sequence - 1)]);
                Arc::new(full.map(|(actor, seen)| (actor, seen.saturating_sub(behind))).collect())
            });
            events.push(Event {
                dot: Dot::new(origin.clone(), sequence),
                hlc: Hlc::from_bits(hlc),
                deps: Arc::new(deps.clone()),
                context,
                entity: entity.into(),
                op,
                trace: trace.and_then(TraceId::from_bits),
            });
        }
        events
    }
}

prop_compose! {
    /// Commits of one origin that knows all others: what the events of each came after is the same.
    fn commits()(
        steps in proptest::collection::vec(
            (
                proptest::collection::vec((0u8..5, 0u64..1_000), 0..3),
                proptest::collection::vec((any::<u64>(), proptest::option::of(0u64..9), "\\PC{1,8}", ops(), any::<Option<u128>>()), 1..5),
            ),
            1..8,
        ),
    ) -> Vec<Vec<Event>> {
        let origin = replica("m");
        let mut admitted: VersionVector = (0..5).map(|other| (replica(&format!("o{other}")), 1)).collect();
        let mut commits = Vec::new();
        for (grown, events) in steps {
            for (other, by) in grown {
                let other = replica(&format!("o{other}"));
                let sequence = admitted.get(&other) + by;
                admitted.raise(other, sequence);
            }
            let mut deps = admitted.clone();
            deps.remove(&origin);
            let deps = Arc::new(deps);
            let events = events.into_iter().map(|(hlc, behind, entity, op, trace)| {
                let context = behind.map(|behind| {
                    Arc::new(admitted.iter().map(|(actor, seen)| (actor.clone(), seen.saturating_sub(behind))).collect())
                });
                let dot = Dot::new(origin.clone(), admitted.get(&origin) + 1);
                admitted.raise(origin.clone(), dot.sequence);
                let (hlc, trace) = (Hlc::from_bits(hlc), trace.and_then(TraceId::from_bits));
                Event { dot, hlc, deps: deps.clone(), context, entity: entity.into(), op, trace }
            });
            commits.push(events.collect());
        }
        commits
    }
}

proptest! {
    #[test]
    fn what_is_appended_is_as_if_each_event_had_been_pushed(commits in commits()) {
        let limits = Limits::default();
        let mut encoder = BatchEncoder::new("ns", &limits);
        for commit in &commits {
            prop_assert!(encoder.append(pack(commit, &limits)).unwrap());
        }
        let appended = encoder.finish().unwrap().unwrap();
        prop_assert_eq!(appended, pack(&commits.concat(), &limits));
    }

    /// However what came after what grows, and whoever is new.
    #[test]
    fn what_cannot_be_appended_can_be_pushed(events in histories(), len in 1usize..4) {
        let limits = Limits::default();
        let mut encoder = BatchEncoder::new("ns", &limits);
        for some in events.chunks(len) {
            if !encoder.append(pack(some, &limits)).unwrap() {
                prop_assert!(some.iter().all(|event| encoder.push(event)));
            }
        }
        prop_assert_eq!(encoder.finish().unwrap().unwrap(), pack(&events, &limits));
    }

    #[test]
    fn batches_round_trip(events in histories()) {
        let limits = Limits::default();
        let batch = EventBatch::decode(pack(&events, &limits), &limits).unwrap();
        prop_assert_eq!(batch.events, events);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(EventBatch::decode(bytes.into(), &Limits::default()).is_err());
    }

    /// Damage behind a valid checksum: what a hostile sender can do.
    #[test]
    fn hostile_bodies_never_panic(
        events in histories(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = body_of(&pack(&events, &Limits::default()));
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let limits = Limits::default();
        let mut encoder = BatchEncoder::new("ns", &limits);
        if let Ok(true) = encoder.append(seal(&body)) {
            let appended = encoder.finish().unwrap().unwrap();
            let [appended, alone] = [appended, seal(&body)].map(|message| EventBatch::decode(message, &limits).ok());
            prop_assert_eq!(appended, alone);
        }
        match EventBatch::decode(seal(&body), &Limits::default()) {
            Ok(batch) => prop_assert!(!batch.events.is_empty()),
            Err(error) => prop_assert_ne!(error, DecodeError::Checksum),
        }
    }
}
