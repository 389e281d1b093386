//! Two replicas and a reader under any schedule end in the same state.

#[path = "../../crates/engine/tests/support/mod.rs"]
mod support;

use archipelago_clock::VersionVector;
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, EngineConfig, WriteError};
use archipelago_proto::{Event, FieldName};
use support::{Replica, config, value};

/// A schedule beyond this length says nothing new.
const STEPS_MAX: usize = 200;

/// The first byte chooses strategy and buffer; then four bytes are one step.
pub(crate) fn two_replicas(data: &[u8]) {
    let Some((head, steps)) = data.split_first() else { return };
    let mut world = World::new(*head);
    for step in steps.chunks_exact(4).take(STEPS_MAX) {
        world.step([step[0], step[1], step[2], step[3]]);
    }
    world.converge();
}

struct World {
    replicas: Vec<Replica>,
    events: Vec<Event>,
    token: VersionVector,
    now: u64,
}

impl World {
    fn new(head: u8) -> Self {
        let strategy = Strategy::ALL[usize::from(head) % Strategy::ALL.len()];
        let event_buffer_events_max = usize::from(head >> 1 & 7) + 1;
        let open = |name| Replica::new(EngineConfig { event_buffer_events_max, ..config(name, strategy) });
        World {
            replicas: ["a", "b", "c"].map(open).into(),
            events: Vec::new(),
            token: VersionVector::new(),
            now: 1_000_000,
        }
    }

    fn step(&mut self, [what, who, first, second]: [u8; 4]) {
        let who = usize::from(who) % self.replicas.len();
        match what % 8 {
            0..4 if who < 2 => self.write(what, who, first, second),
            0..6 if !self.events.is_empty() => {
                let event = &self.events[usize::from(first) % self.events.len()];
                self.replicas[who].receive(event, None, self.now);
            }
            6 => self.token = self.replicas[who].engine.vector().clone(),
            7 if first % 2 == 0 => {
                let crashed = self.replicas.remove(who);
                let before = (crashed.view(), crashed.engine.digest().clone());
                let back = crashed.crash();
                assert_eq!((back.view(), back.engine.digest().clone()), before);
                self.replicas.insert(who, back);
            }
            _ => self.now += u64::from(second),
        }
    }

    fn write(&mut self, what: u8, who: usize, first: u8, second: u8) {
        let entity = ["x", "y"][usize::from(first & 1)];
        let field = |bits: u8| ["p", "q", "r"][usize::from(bits) % 3];
        let (one, other) = (field(first >> 2), field(first >> 4));
        let change = match what % 4 {
            0 => Change::Put(value(second)),
            1 => Change::Put(value(std::collections::BTreeMap::from([(one, second), (other, second / 2)]))),
            2 if second == 0 => Change::Patch(vec![(FieldName::from(one), None)]),
            2 => Change::Patch(vec![(FieldName::from(one), Some(value(second)))]),
            _ => Change::Delete,
        };
        let stale = (first & 2 != 0).then(|| self.token.clone());
        match self.replicas[who].write_after(entity, change, self.now, stale) {
            Ok((_, event)) => self.events.push(event),
            // The token is of the other replica; or a number has no fields to patch.
            Err(WriteError::ContextAhead | WriteError::Malformed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn converge(mut self) {
        for replica in &mut self.replicas {
            for event in &self.events {
                replica.receive(event, None, self.now);
            }
            assert_eq!(replica.engine.buffered(), 0);
        }
        let first = &self.replicas[0];
        for replica in &self.replicas {
            assert_eq!(replica.engine.vector(), first.engine.vector());
            assert_eq!(replica.view(), first.view());
            assert_eq!(replica.engine.digest(), first.engine.digest());
        }
    }
}
