use std::collections::HashSet;

use archipelago_engine::Received;
use archipelago_proto::Event;

use super::{
    Bounds, Coverage, Flaw,
    locals::{Author, Input, LocalId, Locals, Message, Output},
    rules,
};
use crate::search::Model;

/// Everything at one moment, by numbers.
#[derive(Clone, Debug, Hash)]
pub(crate) struct World {
    islands: Vec<Island>,
    log: Vec<u32>,
    left: Left,
}

#[derive(Clone, Debug, Hash)]
struct Island {
    local: LocalId,
    /// How many messages of the log it has read.
    read: usize,
    /// Written and not yet in the log, in order.
    outbox: Vec<u32>,
    /// A floor that it is about to put into the log.
    told: Option<u32>,
    /// What each other one said last, unless it was heard.
    said: Vec<Option<u32>>,
    /// What it asked another one for, on its way.
    given: Option<u32>,
}

/// How much of everything is left to happen.
#[derive(Clone, Copy, Debug, Hash)]
struct Left {
    writes: u8,
    beats: u8,
    asks: u8,
    crashes: u8,
}

/// What may happen, at an island by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Write(usize, Written, Author),
    /// The oldest event of its outbox reaches the log.
    Send(usize),
    /// The floor that it tells reaches the log.
    SendFloor(usize),
    /// It reads the next message of the log.
    Read(usize),
    Speak(usize),
    Hear {
        from: usize,
        to: usize,
    },
    Reclaim(usize),
    Ask {
        giver: usize,
        taker: usize,
    },
    Take(usize),
    Crash(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Written {
    Value,
    Removal,
}

/// Islands, and the rules by which they move.
#[derive(Debug)]
pub(crate) struct Stability {
    bounds: Bounds,
    locals: Locals,
    starts: Vec<LocalId>,
    /// States of replicas that are what the rules say of these events.
    checked: HashSet<(LocalId, Vec<u32>)>,
    pub(crate) coverage: Coverage,
}

impl Stability {
    pub(crate) fn new(bounds: Bounds, flaw: Flaw) -> Stability {
        let (locals, starts) = Locals::new(bounds.strategy, bounds.replicas, flaw);
        let (checked, coverage) = (HashSet::new(), Coverage::default());
        Stability { bounds, locals, starts, checked, coverage }
    }

    fn step(&mut self, world: &mut World, at: usize, input: Input) -> Output {
        let output = self.locals.output(world.islands[at].local, input);
        world.islands[at].local = output.local;
        output
    }

    fn read(&mut self, world: &mut World, at: usize) -> Result<(), String> {
        let message = world.log[world.islands[at].read];
        world.islands[at].read += 1;
        let position = world.islands[at].read as u64;
        let output = self.step(world, at, Input::Message { message, position });
        match output.received {
            None | Some(Received::Applied | Received::Duplicate | Received::Waits) => Ok(()),
            Some(Received::BelowFloor) => {
                self.coverage.below_floor += 1;
                Ok(())
            }
            Some(other) => Err(format!("{other:?} is what became of an event")),
        }
    }

    fn write(&mut self, world: &mut World, at: usize, written: Written, author: Author) {
        world.left.writes -= 1;
        let value = match written {
            Written::Value => Some(world.left.writes),
            Written::Removal => None,
        };
        let output = self.step(world, at, Input::Write { value, author });
        world.islands[at].outbox.extend(output.event);
    }

    fn speak(&mut self, world: &mut World, at: usize) {
        world.left.beats -= 1;
        let output = self.step(world, at, Input::Speak);
        for to in (0..world.islands.len()).filter(|to| *to != at) {
            world.islands[to].said[at] = output.heartbeat;
        }
        world.islands[at].told = output.floor.or(world.islands[at].told);
    }

    /// That the replica is in the state that the rules say.
    fn check_island(&mut self, local: LocalId, events: &[u32]) -> Result<(), String> {
        let place = (local, events.to_owned());
        if self.checked.contains(&place) {
            return Ok(());
        }
        let events: Vec<&Event> = events
            .iter()
            .filter_map(|number| match self.locals.said.messages.of(*number) {
                Message::Event(event) => Some(event),
                Message::Floor(_) => None,
            })
            .collect();
        let seen = self.locals.observed(local);
        if seen.is_fenced {
            return Err("a replica is fenced".to_owned());
        }
        let expected = rules::live(&events, &seen.vector, self.bounds.strategy);
        if seen.live != expected {
            let (vector, live) = (&seen.vector, &seen.live);
            return Err(format!("of {vector} a replica holds {live:?}, and not {expected:?}"));
        }
        self.checked.insert(place);
        Ok(())
    }
}

impl Model for Stability {
    type State = World;
    type Action = Action;

    fn initial(&mut self) -> World {
        let said = vec![None; self.bounds.replicas];
        let island = |local: &LocalId| Island {
            local: *local,
            read: 0,
            outbox: Vec::new(),
            told: None,
            said: said.clone(),
            given: None,
        };
        let Bounds { writes, beats, asks, crashes, .. } = self.bounds;
        let islands = self.starts.iter().map(island).collect();
        World { islands, log: Vec::new(), left: Left { writes, beats, asks, crashes } }
    }

    fn actions(&mut self, world: &World) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, island) in world.islands.iter().enumerate() {
            if world.left.writes > 0 {
                // Of nothing all was seen.
                let has_any = !self.locals.observed(island.local).vector.is_empty();
                let authors = [Author::SawAll, Author::SawNothing];
                for author in &authors[..1 + usize::from(has_any)] {
                    let written = [Written::Value, Written::Removal];
                    actions.extend(written.map(|written| Action::Write(at, written, *author)));
                }
            }
            actions.extend((!island.outbox.is_empty()).then_some(Action::Send(at)));
            actions.extend(island.told.map(|_| Action::SendFloor(at)));
            actions.extend((island.read < world.log.len()).then_some(Action::Read(at)));
            actions.extend((world.left.beats > 0).then_some(Action::Speak(at)));
            let said = island.said.iter().enumerate().filter(|(_, said)| said.is_some());
            actions.extend(said.map(|(from, _)| Action::Hear { from, to: at }));
            actions.push(Action::Reclaim(at));
            if world.left.asks > 0 {
                let givers = (0..world.islands.len()).filter(|giver| *giver != at);
                actions.extend(givers.map(|giver| Action::Ask { giver, taker: at }));
            }
            actions.extend(island.given.map(|_| Action::Take(at)));
            actions.extend((world.left.crashes > 0).then_some(Action::Crash(at)));
        }
        actions
    }

    fn next(&mut self, world: &World, action: &Action) -> Result<World, String> {
        let mut world = world.clone();
        match *action {
            Action::Write(at, written, author) => self.write(&mut world, at, written, author),
            Action::Send(at) => {
                let event = world.islands[at].outbox.remove(0);
                world.log.push(event);
            }
            Action::SendFloor(at) => world.log.extend(world.islands[at].told.take()),
            Action::Read(at) => self.read(&mut world, at)?,
            Action::Speak(at) => self.speak(&mut world, at),
            Action::Hear { from, to } => {
                let heartbeat = world.islands[to].said[from].take().expect("it said something");
                self.step(&mut world, to, Input::Hear { heartbeat });
            }
            Action::Reclaim(at) => {
                self.step(&mut world, at, Input::Reclaim);
            }
            Action::Ask { giver, taker } => {
                world.left.asks -= 1;
                let request = self.locals.request(world.islands[taker].local, world.islands[giver].local);
                world.islands[taker].given = self.step(&mut world, giver, request).given;
            }
            Action::Take(at) => {
                let given = world.islands[at].given.take().expect("it is on its way");
                let output = self.step(&mut world, at, Input::Take { given });
                self.coverage.taken += usize::from(!output.is_refused);
            }
            Action::Crash(at) => {
                world.left.crashes -= 1;
                self.step(&mut world, at, Input::Crash);
                let island = &mut world.islands[at];
                (island.told, island.given) = (None, None);
                let checkpoint = self.locals.observed(island.local).checkpoint;
                island.read = usize::try_from(checkpoint).expect("small");
            }
        }
        Ok(world)
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        let outboxes = world.islands.iter().flat_map(|island| &island.outbox);
        let mut events: Vec<u32> = world.log.iter().chain(outboxes).copied().collect();
        events.sort_unstable();
        for island in &world.islands {
            self.check_island(island.local, &events)?;
        }
        let all: Vec<_> = world.islands.iter().map(|island| self.locals.observed(island.local)).collect();
        for (at, one) in all.iter().enumerate() {
            self.coverage.reclaimed += usize::from(one.has_reclaimed);
            for other in &all[..at] {
                if one.vector != other.vector {
                    continue;
                }
                if one.visible != other.visible || one.digest != other.digest {
                    let (ours, theirs) = (&one.visible, &other.visible);
                    return Err(format!("of the same writes two replicas show {ours:?} and {theirs:?}"));
                }
                // One that has forgotten a removal, and one that has not.
                self.coverage.compared += usize::from(one.has_reclaimed != other.has_reclaimed);
            }
        }
        Ok(())
    }
}
