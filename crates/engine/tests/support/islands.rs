//! Replicas that share a log, hear one another's heartbeats, and repair.

use archipelago_clock::{Incarnation, ReplicaId};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, DeltaError, EngineConfig};
use archipelago_proto::{Event, Limits, LogMessage};
use bytes::Bytes;

use super::{Replica, config};

const START: u64 = 1_000_000;

/// What stands in the shared log.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Event(Event),
    Floor(Bytes),
}

/// A replica with its place in the log.
pub(crate) struct Island {
    pub(crate) replica: Replica,
    pub(crate) read: usize,
    /// Written and not yet in the log, in order.
    pub(crate) outbox: Vec<Event>,
}

/// Islands that share a log, hear one another's heartbeats, and repair.
pub(crate) struct World {
    pub(crate) islands: Vec<Island>,
    pub(crate) log: Vec<Entry>,
    pub(crate) now: u64,
    pub(crate) strategy: Strategy,
}

impl World {
    pub(crate) fn new(names: &[&str], strategy: Strategy) -> Self {
        let mut world = World { islands: Vec::new(), log: Vec::new(), now: START, strategy };
        names.iter().for_each(|name| world.join(name, 1));
        world
    }

    pub(crate) fn join(&mut self, name: &str, incarnation: u64) {
        let replica = ReplicaId::new(name, Incarnation::from_bits(incarnation)).expect("a legal name");
        let session = self.islands.len() as u64 + 100 * incarnation;
        let config = EngineConfig { replica, session, ..config(name, self.strategy) };
        self.islands.push(Island { replica: Replica::new(config), read: 0, outbox: Vec::new() });
    }

    pub(crate) fn write(&mut self, island: usize, entity: &str, change: Change) {
        let now = self.now;
        let island = &mut self.islands[island];
        let (_, event) = island.replica.write(entity, change, now);
        island.outbox.push(event);
    }

    pub(crate) fn send(&mut self, island: usize) {
        let events = std::mem::take(&mut self.islands[island].outbox);
        self.log.extend(events.into_iter().map(Entry::Event));
    }

    /// Reads up to `count` messages of the log.
    pub(crate) fn read(&mut self, island: usize, count: usize) {
        let now = self.now;
        let island = &mut self.islands[island];
        if let Some(after) = island.replica.rewind.take() {
            island.read = usize::try_from(after).expect("small");
        }
        for entry in self.log.iter().skip(island.read).take(count) {
            island.read += 1;
            let position = island.read as u64;
            match entry {
                Entry::Event(event) => drop(island.replica.receive(event, Some(position), now)),
                Entry::Floor(message) => {
                    let LogMessage::Floor(floor) =
                        LogMessage::decode(message.clone(), &Limits::default()).expect("sound")
                    else {
                        panic!("not a floor")
                    };
                    island.replica.engine.handle_floor(floor, position);
                    island.replica.flush(now);
                }
            }
        }
    }

    /// One heartbeat of an island, which those in `to` hear; a floor that is to be told goes into the log.
    pub(crate) fn beat(&mut self, island: usize, to: &[usize]) {
        let now = self.now;
        let one = &mut self.islands[island].replica;
        one.engine.announce(now).expect("a sound clock");
        one.flush(now);
        let heartbeat = one.engine.heartbeat(None, now);
        one.flush(now);
        self.log.extend(one.floor.take().map(Entry::Floor));
        for other in to.iter().filter(|other| **other != island) {
            let other = &mut self.islands[*other].replica;
            other.engine.handle_heartbeat(heartbeat.clone(), now);
            other.flush(now);
        }
    }

    pub(crate) fn reclaim(&mut self, island: usize, limit: usize) -> usize {
        let now = self.now;
        let replica = &mut self.islands[island].replica;
        let reclaimed = replica.engine.reclaim(limit, now, &replica.disk).expect("a sound disk");
        replica.flush(now);
        reclaimed
    }

    pub(crate) fn repair(&mut self, taker: usize, giver: usize, bytes_max: usize) -> Result<(), DeltaError> {
        let now = self.now;
        let (taker, giver) = two(&mut self.islands, taker, giver);
        let repaired = taker.replica.repair_from(&mut giver.replica, bytes_max, now, |_, _| {});
        taker.replica.flush(now);
        repaired
    }

    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.islands.len()).collect()
    }

    /// Everyone speaks, reads and reclaims until nothing more happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..12 {
            // Long enough for every giver to be done with giving, and for whoever lacks something to ask for it.
            self.now += 40_000;
            let all = self.all();
            for island in all.clone() {
                self.send(island);
            }
            for island in all.clone() {
                self.read(island, usize::MAX);
                self.beat(island, &all);
            }
            for island in all.clone() {
                if let Some(from) = self.islands[island].replica.repair.take() {
                    let giver = all.iter().find(|at| {
                        *self.islands[**at].replica.engine.config().replica.name() == *from.name()
                    });
                    if let Some(giver) = giver.filter(|giver| **giver != island) {
                        // Whoever is behind catches up first, and is asked again.
                        let _ = self.repair(island, *giver, 200);
                    }
                }
            }
            for island in all {
                self.reclaim(island, usize::MAX);
            }
        }
    }

    pub(crate) fn assert_settled(&mut self) {
        let first = &self.islands[0].replica;
        for other in &self.islands[1..] {
            let other = &other.replica;
            assert_eq!(first.engine.vector(), other.engine.vector());
            assert_eq!(first.view(), other.view());
            assert_eq!(first.engine.digest(), other.engine.digest());
        }
    }

    pub(crate) fn tombstones(&self) -> Vec<u64> {
        self.islands.iter().map(|island| island.replica.engine.tombstones()).collect()
    }
}

pub(crate) fn two(islands: &mut [Island], one: usize, other: usize) -> (&mut Island, &mut Island) {
    assert_ne!(one, other);
    let (left, right) = islands.split_at_mut(one.max(other));
    if one < other { (&mut left[one], &mut right[0]) } else { (&mut right[0], &mut left[other]) }
}
