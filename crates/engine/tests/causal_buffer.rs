//! Events that come too early wait for what they depend on, within bounds, and none is ever lost.

mod support;

use std::{cell::Cell, error::Error, time::Duration};

use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_engine::{EngineConfig, Received, Records};
use archipelago_proto::{EntityId, Event};
use bytes::Bytes;
use proptest::prelude::{Strategy as _, *};
use support::{Disk, Replica, config, id, put};

const NOW: u64 = 1_000_000;

fn bounded(events_max: usize) -> EngineConfig {
    EngineConfig { event_buffer_events_max: events_max, ..config("reader", Strategy::Lww) }
}

fn written(name: &str, count: u64) -> Vec<Event> {
    let mut origin = Replica::new(config(name, Strategy::Lww));
    (1..=count).map(|n| origin.write("x", put(n), NOW).1).collect()
}

/// A log of messages, each at its place, the first at 1; and a replica that reads it as it is told to.
struct Reader {
    replica: Replica,
    log: Vec<Vec<Event>>,
    position: u64,
    now: u64,
    rewinds: Vec<u64>,
}

impl Reader {
    fn new(replica: Replica, log: Vec<Vec<Event>>) -> Self {
        let position = replica.disk.checkpoint;
        Reader { replica, log, position, now: NOW, rewinds: Vec::new() }
    }

    fn at_end(&self) -> bool {
        self.position == self.log.len() as u64
    }

    fn read(&mut self) -> Vec<Received> {
        let events = self.log[usize::try_from(self.position).expect("small")].clone();
        self.position += 1;
        let engine = &mut self.replica.engine;
        engine.handle_events(events, Some(self.position), self.now, &self.replica.disk).expect("a sound disk")
    }

    fn flush(&mut self) {
        self.replica.flush(self.now);
        if let Some(after) = self.replica.rewind.take() {
            assert_eq!(after, self.replica.disk.checkpoint, "it goes back to what is stored");
            assert!(after <= self.position);
            self.position = after;
            self.rewinds.push(after);
        }
    }

    fn step(&mut self) -> Vec<Received> {
        let received = self.read();
        self.flush();
        received
    }

    fn crash(self) -> Self {
        Reader { now: self.now, rewinds: self.rewinds, ..Reader::new(self.replica.crash(), self.log) }
    }
}

#[test]
fn an_early_event_waits_and_is_applied_with_what_it_depends_on() {
    let mut a = Replica::new(config("a", Strategy::Lww));
    let mut b = Replica::new(config("b", Strategy::Lww));
    let (_, first) = a.write("x", put(1), NOW);
    b.receive(&first, None, NOW);
    let (_, reply) = b.write("x", put(2), NOW);
    let mut reader = Replica::new(config("reader", Strategy::Lww));
    assert_eq!(reader.receive(&reply, None, NOW), Received::Waits);
    assert_eq!((reader.read("x"), reader.engine.buffered()), (None, 1));
    assert_eq!(reader.receive(&first, None, NOW), Received::Applied);
    assert_eq!((reader.read("x"), reader.engine.buffered()), (Some(2.into()), 0));
    assert_eq!(reader.engine.vector(), b.engine.vector());
}

#[test]
fn the_checkpoint_stays_before_an_event_that_waits() {
    let events = written("a", 3);
    let mut reader = Replica::new(bounded(10));
    reader.receive(&events[1], Some(1), NOW);
    reader.receive(&events[2], Some(2), NOW);
    assert_eq!(reader.disk.checkpoint, 0);
    reader.receive(&events[0], Some(3), NOW);
    assert_eq!(reader.disk.checkpoint, 3);
}

#[test]
fn the_checkpoint_stays_before_the_log_s_copy_of_an_event_that_came_early_by_another_road() {
    let events = written("a", 2);
    let mut reader = Replica::new(bounded(10));
    assert_eq!(reader.receive(&events[1], None, NOW), Received::Waits);
    assert_eq!(reader.receive(&events[1], Some(1), NOW), Received::Waits);
    assert_eq!(reader.disk.checkpoint, 0, "after a crash only the log has it");
    reader.receive(&events[0], Some(2), NOW);
    assert_eq!((reader.disk.checkpoint, reader.engine.buffered()), (2, 0));
}

#[test]
fn the_log_is_read_again_exactly_when_the_first_event_turned_away_can_be_applied() {
    let events = written("a", 4);
    let log = [1, 2, 3, 0].map(|at| vec![events[at].clone()]).to_vec();
    let mut reader = Reader::new(Replica::new(bounded(1)), log);
    assert_eq!(reader.step(), [Received::Waits]);
    assert_eq!(reader.step(), [Received::TurnedAway]);
    assert_eq!(reader.step(), [Received::TurnedAway]);
    assert_eq!((reader.rewinds.len(), reader.replica.disk.checkpoint), (0, 0));
    assert_eq!(reader.step(), [Received::Applied]);
    // The second was in the buffer and is done with; the third is the next.
    assert_eq!((&reader.rewinds[..], reader.replica.disk.checkpoint), (&[1][..], 1));
    assert_eq!(reader.step(), [Received::Applied]);
    assert_eq!(reader.step(), [Received::Applied]);
    assert_eq!(reader.step(), [Received::Duplicate]);
    assert_eq!((reader.rewinds.len(), reader.replica.disk.checkpoint), (1, 4));
    assert_eq!(reader.replica.read("x"), Some(4.into()));
}

#[test]
fn the_log_is_not_read_again_for_an_event_whose_dependencies_are_missing() {
    let [a, mut b, mut c] = ["a", "b", "c"].map(|name| Replica::new(config(name, Strategy::Lww)));
    let mut a = a;
    let (_, first) = a.write("x", put(1), NOW);
    b.receive(&first, None, NOW);
    c.receive(&first, None, NOW);
    let (by_b, by_c) = (b.write("b", put(2), NOW).1, c.write("c", put(3), NOW).1);
    let log = vec![vec![by_b], vec![by_c], vec![first]];
    let mut reader = Reader::new(Replica::new(bounded(1)), log);
    assert_eq!(reader.step(), [Received::Waits]);
    assert_eq!(reader.step(), [Received::TurnedAway]);
    assert_eq!(reader.rewinds, [0u64; 0], "reading again would end the same way, for ever");
    assert_eq!(reader.step(), [Received::Applied]);
    assert_eq!(reader.rewinds, [1]);
    while !reader.at_end() {
        reader.step();
    }
    assert_eq!(reader.replica.view().len(), 3);
    assert_eq!(reader.replica.disk.checkpoint, 3);
}

#[test]
fn the_log_is_read_again_for_an_event_turned_away_that_came_by_another_road_meanwhile() {
    let events = written("a", 3);
    let log = [1, 2].map(|at| vec![events[at].clone()]).to_vec();
    let mut reader = Reader::new(Replica::new(bounded(1)), log);
    reader.step();
    reader.step();
    for event in &events {
        reader.replica.engine.handle_events([event.clone()], None, NOW, &reader.replica.disk).unwrap();
    }
    reader.flush();
    assert_eq!(reader.rewinds, [1]);
    assert_eq!(reader.step(), [Received::Duplicate]);
    assert_eq!(reader.replica.disk.checkpoint, 2, "otherwise it would be held for ever");
}

#[test]
fn an_event_of_another_road_that_finds_no_room_is_turned_away_and_forgotten() {
    let events = written("a", 3);
    let mut reader = Replica::new(bounded(1));
    assert_eq!(reader.receive(&events[1], None, NOW), Received::Waits);
    assert_eq!(reader.receive(&events[2], None, NOW), Received::TurnedAway);
    assert_eq!(reader.receive(&events[0], None, NOW), Received::Applied);
    assert_eq!((reader.rewind, reader.engine.buffered()), (None, 0));
    assert_eq!(reader.receive(&events[2], None, NOW), Received::Applied);
}

#[test]
fn an_early_event_that_comes_twice_waits_once() {
    let events = written("a", 2);
    let mut reader = Replica::new(bounded(5));
    for position in [None, Some(1), Some(2), None] {
        assert_eq!(reader.receive(&events[1], position, NOW), Received::Waits);
        assert_eq!(reader.engine.buffered(), 1);
    }
    reader.receive(&events[0], Some(3), NOW);
    assert_eq!((reader.engine.counters().events_applied, reader.disk.checkpoint), (2, 3));
}

#[test]
fn a_reset_of_the_log_forgets_only_what_came_from_it() {
    let events = written("a", 3);
    let mut reader = Replica::new(bounded(5));
    reader.receive(&events[1], None, NOW);
    reader.receive(&events[2], Some(7), NOW);
    reader.engine.reset_log(0);
    assert_eq!(reader.engine.buffered(), 1);
    reader.receive(&events[0], Some(1), NOW);
    assert_eq!((reader.engine.vector().get(&id("a")), reader.disk.checkpoint), (2, 1));
}

#[test]
fn a_message_that_only_a_newer_build_can_read_holds_the_checkpoint_and_others_flow() {
    let events = written("a", 1);
    let mut reader = Replica::new(bounded(5));
    reader.engine.handle_nothing(1);
    reader.engine.handle_unreadable(2);
    reader.receive(&events[0], Some(3), NOW);
    assert_eq!((reader.disk.checkpoint, reader.read("x")), (1, Some(1.into())));
}

/// A disk that cannot be read for a while.
struct Broken<'a> {
    disk: &'a Disk,
    reads_left: Cell<usize>,
}

impl Records for Broken<'_> {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn Error + Send + Sync>> {
        self.reads_left.set(self.reads_left.get().checked_sub(1).ok_or("the disk is on fire")?);
        self.disk.record(entity)
    }

    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        self.disk.live_dots(replica, after, limit)
    }

    fn tombstones(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        self.disk.tombstones(replica, after, limit)
    }

    fn entities(
        &self,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn Error + Send + Sync>> {
        self.disk.entities(after, limit)
    }
}

#[test]
fn an_event_whose_record_cannot_be_read_still_waits() {
    for position in [None, Some(1)] {
        let mut a = Replica::new(config("a", Strategy::Lww));
        let events = ["x", "y"].map(|entity| a.write(entity, put(1), NOW).1);
        let mut reader = Replica::new(bounded(5));
        reader.receive(&events[1], position, NOW);
        let broken = Broken { disk: &reader.disk, reads_left: Cell::new(1) };
        let message = [events[0].clone()];
        reader.engine.handle_events(message.clone(), Some(2), NOW, &broken).unwrap_err();
        assert_eq!(reader.engine.buffered(), 1);
        let checkpoint = reader.disk.checkpoint;
        reader.flush(NOW);
        assert_eq!(reader.disk.checkpoint, checkpoint, "the message was not handled");
        reader.engine.handle_events(message, Some(2), NOW, &reader.disk).unwrap();
        reader.tick(NOW);
        assert_eq!((reader.view().len(), reader.engine.buffered(), reader.disk.checkpoint), (2, 0, 2));
    }
}

/// One write of a history: who, to what, and of whom they had caught up before.
#[derive(Clone, Debug)]
struct Write {
    origin: usize,
    entity: usize,
    caught_up: Vec<bool>,
}

const ORIGINS: [&str; 3] = ["a", "b", "c"];

/// How far ahead a clock may be: due 10 s from `NOW`, which is about 30 messages.
const AHEAD_MS: u64 = 70_000;
const MESSAGE_MS: u64 = 300;

fn histories() -> impl proptest::strategy::Strategy<Value = Vec<Write>> {
    let write = (0..ORIGINS.len(), 0..3usize, proptest::collection::vec(any::<bool>(), ORIGINS.len()))
        .prop_map(|(origin, entity, caught_up)| Write { origin, entity, caught_up });
    proptest::collection::vec(write, 1..30)
}

/// The events of a history, in an order that respects causality.
fn events(history: &[Write], strategy: Strategy, ahead: [bool; 3]) -> Vec<Event> {
    let max_drift = Duration::from_secs(3_600);
    let trusting = |name| EngineConfig { max_drift, ..config(name, strategy) };
    let mut origins = ORIGINS.map(|name| Replica::new(trusting(name)));
    let mut events: Vec<Event> = Vec::new();
    for (at, write) in history.iter().enumerate() {
        let origin = &mut origins[write.origin];
        for event in &events {
            let from = ORIGINS.iter().position(|name| *name == event.dot.actor.name()).expect("an origin");
            if write.caught_up[from] {
                origin.receive(event, None, NOW);
            }
        }
        let fields = [(["p", "q"][at % 2], Some(at))];
        let now = if ahead[write.origin] { NOW + AHEAD_MS } else { NOW };
        events.push(origin.write(["x", "y", "z"][write.entity], support::patch(&fields), now).1);
    }
    events
}

#[derive(Clone, Debug)]
struct Disorder {
    /// How far each copy of an event is from its place.
    jitter: Vec<u32>,
    copies: Vec<(prop::sample::Index, u32)>,
    message_events: Vec<usize>,
    flush_every: usize,
    /// After this many messages: a crash, or an event that comes by another road.
    happenings: Vec<(usize, Option<prop::sample::Index>)>,
    events_max: usize,
    /// Whose clock is ahead.
    ahead: [bool; 3],
}

fn disorders() -> impl proptest::strategy::Strategy<Value = Disorder> {
    let jitter = || prop_oneof![Just(0), 0..6u32, 0..1000u32];
    (
        proptest::collection::vec(jitter(), 30),
        proptest::collection::vec((any::<prop::sample::Index>(), jitter()), 0..10),
        proptest::collection::vec(1..4usize, 1..5),
        1..5usize,
        proptest::collection::vec((0..80usize, proptest::option::of(any::<prop::sample::Index>())), 0..6),
        1..8usize,
        proptest::array::uniform3(proptest::bool::weighted(0.15)),
    )
        .prop_map(|(jitter, copies, message_events, flush_every, happenings, events_max, ahead)| {
            Disorder { jitter, copies, message_events, flush_every, happenings, events_max, ahead }
        })
}

fn disordered(events: &[Event], disorder: &Disorder) -> Vec<Vec<Event>> {
    let originals = events.iter().enumerate().map(|(at, event)| (at, disorder.jitter[at], event));
    let copies = disorder.copies.iter().map(|(which, jitter)| {
        let at = which.index(events.len());
        (at, *jitter, &events[at])
    });
    let mut placed: Vec<(usize, &Event)> =
        originals.chain(copies).map(|(at, jitter, event)| (at + jitter as usize, event)).collect();
    placed.sort_by_key(|(place, _)| *place);
    let mut log = Vec::new();
    let mut rest = &placed[..];
    for len in disorder.message_events.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (message, behind) = rest.split_at((*len).min(rest.len()));
        log.push(message.iter().map(|(_, event)| (*event).clone()).collect());
        rest = behind;
    }
    log
}

fn reads_everything(strategy: Strategy, history: &[Write], disorder: &Disorder) {
    let events = events(history, strategy, disorder.ahead);
    let strategies = StrategyTable::new(strategy);
    let config = EngineConfig { strategies, ..bounded(disorder.events_max) };
    let mut reader = Reader::new(Replica::new(config.clone()), disordered(&events, disorder));
    let mut happenings = disorder.happenings.clone();
    // Every reading is paid for by an event applied since the last one, so this is plenty; a livelock is not.
    let messages_max = (happenings.len() + 1) * (events.len() + 1) * (reader.log.len() + 1) + 100;
    let mut vector_before = reader.replica.engine.vector().clone();
    for message in 0..=messages_max {
        reader.now += MESSAGE_MS;
        let rewinds = reader.rewinds.len();
        if message % disorder.flush_every == 0 || reader.at_end() {
            reader.flush();
        }
        // Time alone can make an event due.
        if reader.rewinds.len() > rewinds && disorder.ahead == [false; 3] {
            assert_ne!(*reader.replica.engine.vector(), vector_before, "something was applied since");
            vector_before = reader.replica.engine.vector().clone();
        }
        while let Some(at) = happenings.iter().position(|(after, _)| *after == message) {
            match happenings.swap_remove(at).1 {
                Some(which) => {
                    let event = which.get(&events).clone();
                    let engine = &mut reader.replica.engine;
                    engine
                        .handle_events([event], None, reader.now, &reader.replica.disk)
                        .expect("a sound disk");
                }
                None => {
                    reader = reader.crash();
                    vector_before = reader.replica.engine.vector().clone();
                }
            }
        }
        assert!(reader.replica.engine.buffered() <= disorder.events_max);
        if !reader.at_end() {
            reader.read();
        } else if reader.replica.disk.checkpoint == reader.position {
            break;
        } else {
            reader.replica.engine.handle_tick(reader.now, &reader.replica.disk).expect("a sound disk");
        }
    }
    assert_eq!(reader.replica.disk.checkpoint, reader.log.len() as u64, "all of the log is done with");
    assert_eq!(reader.replica.engine.buffered(), 0);
    let mut in_order = Replica::new(config);
    for event in &events {
        assert_eq!(in_order.receive(event, None, NOW + AHEAD_MS), Received::Applied);
    }
    assert_eq!(reader.replica.engine.vector(), in_order.engine.vector());
    assert_eq!(reader.replica.view(), in_order.view());
    assert_eq!(reader.replica.engine.digest(), in_order.engine.digest());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_log_is_read_to_its_end_through_any_buffer_and_any_crash(
        by_field in any::<bool>(), history in histories(), disorder in disorders(),
    ) {
        let strategy = if by_field { Strategy::FieldMerge } else { Strategy::Lww };
        reads_everything(strategy, &history, &disorder);
    }
}

/// Its replica is gone with its disk, and so is the write before it: nobody is ever going to have applied it.
#[test]
fn what_waits_for_a_replica_that_is_gone_does_not_hold_the_checkpoint_for_ever() {
    const LONG_MS: u64 = 31_000;
    let mut gone = Replica::new(config("b", Strategy::Lww));
    let first = gone.write("x", put(1), NOW).1;
    gone.write("x", put(2), NOW);
    let orphan = gone.write("x", put(3), NOW).1;
    let mut a = Replica::new(config("a", Strategy::Lww));
    a.engine.announce(NOW).expect("a clock");
    a.flush(NOW);
    assert_eq!(a.receive(&first, Some(1), NOW), Received::Applied);
    assert_eq!(a.receive(&orphan, Some(2), NOW), Received::Waits);
    a.tick(NOW + LONG_MS);
    assert_eq!((a.engine.buffered(), a.disk.checkpoint), (1, 1), "it may come back");
    a.engine.retire("b", NOW + LONG_MS).expect("a writer");
    a.tick(NOW + LONG_MS);
    assert_eq!((a.engine.buffered(), a.disk.checkpoint), (0, 2));
}
