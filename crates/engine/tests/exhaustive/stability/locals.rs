use std::collections::HashMap;

use archipelago_clock::{Dot, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, EngineConfig, Giver, Received};
use archipelago_proto::{Body, EntityId, Event, Floor, Heartbeat, Limits, LogMessage, Record};
use xxhash_rust::xxh3::xxh3_128;

use super::{Flaw, numbers::Numbers};
use crate::support::{Disk, Replica, config, put};

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
pub(crate) const ENTITY: &str = "x";
/// Time stands still: whatever a replica waits for by its clock, it waits for in vain.
const NOW: u64 = 1_000_000;

/// The state of one replica, by its number.
pub(crate) type LocalId = u32;

/// What a replica is given; what others said by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// A value for the entity, or its removal.
    Write {
        value: Option<u8>,
        author: Author,
    },
    /// What stands in the log at this position.
    Message {
        message: u32,
        position: u64,
    },
    /// It is to say how it stands.
    Speak,
    /// What another one said.
    Hear {
        heartbeat: u32,
    },
    Reclaim,
    /// It is asked for what a holder of this vector lacks.
    Give {
        since: u32,
    },
    /// What it had asked another one for.
    Take {
        given: u32,
    },
    Crash,
}

/// What the author of a write had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Author {
    SawAll,
    SawNothing,
}

/// A message of the log.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Event(Event),
    Floor(Floor),
}

/// What one replica gives to another.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    giver: Giver,
    entities: Vec<(EntityId, Record)>,
}

/// All that replicas ever said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) messages: Numbers<Message>,
    heartbeats: Numbers<Heartbeat>,
    given: Numbers<Given>,
    vectors: Numbers<VersionVector>,
}

/// Real engines, one for each state that a replica was ever in, and what they do next.
///
/// An engine cannot be copied. But it does the same whenever it is given the same: so a state is remembered as what led to
/// it, and the engine is made again from that. What it does with an input is computed once; whatever the others do meanwhile,
/// only the numbers of the states are put together.
///
/// Two engines are in the same state if `Debug` shows the same of them and of their disks. It shows every field but what
/// [`fingerprint`] leaves out, so equal ones do the same from then on; that states which differ in nothing that matters may
/// have different numbers costs time only.
#[derive(Debug)]
pub(crate) struct Locals {
    strategy: Strategy,
    flaw: Flaw,
    locals: Vec<Local>,
    numbers: HashMap<u128, LocalId>,
    pub(crate) said: Said,
    done: HashMap<(LocalId, Input), Output>,
    /// How members are that know one another.
    disks: Vec<Disk>,
}

#[derive(Debug)]
struct Local {
    replica: usize,
    /// The state before, and what led from there to here.
    before: Option<(LocalId, Input)>,
    seen: Observed,
}

/// What can be seen of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) vector: VersionVector,
    /// The live writes if one of them has a value, and whether it has.
    pub(crate) live: Vec<(Dot, bool)>,
    pub(crate) visible: Option<serde_json::Value>,
    pub(crate) digest: u128,
    pub(crate) floor: VersionVector,
    pub(crate) checkpoint: u64,
    pub(crate) is_fenced: bool,
    pub(crate) has_reclaimed: bool,
}

/// What a replica does with an input; what it says by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) local: LocalId,
    /// What it wrote.
    pub(crate) event: Option<u32>,
    pub(crate) heartbeat: Option<u32>,
    /// A floor that it tells.
    pub(crate) floor: Option<u32>,
    pub(crate) given: Option<u32>,
    pub(crate) received: Option<Received>,
    /// A delta was not taken in.
    pub(crate) is_refused: bool,
}

impl Locals {
    pub(crate) fn new(strategy: Strategy, replicas: usize, flaw: Flaw) -> (Locals, Vec<LocalId>) {
        let (disks, said) = acquainted(strategy, replicas);
        let (locals, numbers, done) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut all = Locals { strategy, flaw, locals, numbers, said, done, disks };
        let start = |replica| {
            let opened = all.opened(replica);
            all.number(replica, &opened, None)
        };
        let starts = (0..replicas).map(start).collect();
        (all, starts)
    }

    pub(crate) fn observed(&self, local: LocalId) -> &Observed {
        &self.locals[local as usize].seen
    }

    /// What a replica in the state `local` does with this.
    pub(crate) fn output(&mut self, local: LocalId, input: Input) -> Output {
        if let Some(output) = self.done.get(&(local, input)) {
            return *output;
        }
        let mut replica = self.revived(local);
        let mut output = self.said.give(&mut replica, input, self.flaw);
        output.local = self.number(self.locals[local as usize].replica, &replica, Some((local, input)));
        self.done.insert((local, input), output);
        output
    }

    /// That which a taker in one state asks a giver for.
    pub(crate) fn request(&mut self, taker: LocalId, giver: LocalId) -> Input {
        let (ours, theirs) = (self.observed(taker), self.observed(giver));
        let is_behind = !(ours.vector.dominates(&theirs.floor) && ours.vector.dominates(&ours.floor));
        let since = if is_behind { VersionVector::new() } else { ours.vector.clone() };
        Input::Give { since: self.said.vectors.number(since) }
    }

    fn opened(&self, replica: usize) -> Replica {
        let config = config(NAMES[replica], self.strategy);
        let session = replica as u64 + 1;
        Replica::open(EngineConfig { session, ..config }, self.disks[replica].clone())
    }

    /// An engine in this state.
    fn revived(&mut self, local: LocalId) -> Replica {
        let (mut inputs, mut at) = (Vec::new(), local);
        while let Some((before, input)) = self.locals[at as usize].before {
            inputs.push(input);
            at = before;
        }
        let mut replica = self.opened(self.locals[at as usize].replica);
        for input in inputs.into_iter().rev() {
            self.said.give(&mut replica, input, self.flaw);
        }
        replica
    }

    fn number(&mut self, replica: usize, state: &Replica, before: Option<(LocalId, Input)>) -> LocalId {
        let next = LocalId::try_from(self.locals.len()).expect("few");
        let number = *self.numbers.entry(fingerprint(state)).or_insert(next);
        if number == next {
            self.locals.push(Local { replica, before, seen: observed(state) });
        }
        number
    }
}

/// The disks of members that know one another and have nothing.
fn acquainted(strategy: Strategy, replicas: usize) -> (Vec<Disk>, Said) {
    let names = &NAMES[..replicas];
    let mut said = Said::default();
    let mut all: Vec<Replica> = names.iter().map(|name| Replica::new(config(name, strategy))).collect();
    for _ in 0..4 {
        for from in 0..replicas {
            let spoken = said.give(&mut all[from], Input::Speak, Flaw::Nothing);
            let heartbeat = spoken.heartbeat.expect("it speaks");
            for to in (0..replicas).filter(|to| *to != from) {
                said.give(&mut all[to], Input::Hear { heartbeat }, Flaw::Nothing);
            }
        }
    }
    (all.into_iter().map(|replica| replica.disk).collect(), said)
}

impl Said {
    fn give(&mut self, replica: &mut Replica, input: Input, flaw: Flaw) -> Output {
        let mut output = Output {
            local: 0,
            event: None,
            heartbeat: None,
            floor: None,
            given: None,
            received: None,
            is_refused: false,
        };
        match input {
            Input::Write { value, author } => {
                let change = value.map_or(Change::Delete, put);
                let context = (author == Author::SawNothing).then(VersionVector::new);
                let written = replica.write_after(ENTITY, change, NOW, context).expect("a legal write");
                output.event = Some(self.messages.number(Message::Event(written.1)));
            }
            Input::Message { message, position } => match self.messages.of(message).clone() {
                Message::Event(mut event) => {
                    if flaw == Flaw::NoBarrier {
                        let mut deps = (*event.deps).clone();
                        deps.merge(replica.engine.floor());
                        deps.remove(&event.dot.actor);
                        event.deps = deps.into();
                    }
                    output.received = Some(replica.receive(&event, Some(position), NOW));
                }
                Message::Floor(floor) => replica.engine.handle_floor(floor, position),
            },
            Input::Speak => {
                replica.engine.announce(NOW).expect("a sound clock");
                replica.flush(NOW);
                output.heartbeat = Some(self.heartbeats.number(replica.engine.heartbeat(None, NOW)));
            }
            Input::Hear { heartbeat } => {
                replica.engine.handle_heartbeat(self.heartbeats.of(heartbeat).clone(), NOW);
            }
            Input::Reclaim => {
                replica.engine.reclaim(usize::MAX, NOW, &replica.disk).expect("a sound disk");
            }
            Input::Give { since } => {
                let given = given(replica, self.vectors.of(since));
                output.given = Some(self.given.number(given));
            }
            Input::Take { given } => {
                let Given { giver, entities } = self.given.of(given).clone();
                let taken = replica.engine.handle_delta(giver, entities, NOW, &replica.disk);
                output.is_refused = taken.is_err();
            }
            Input::Crash => {
                let session = replica.engine.config().session + 100;
                let config = EngineConfig { session, ..replica.engine.config().clone() };
                *replica = Replica::open(config, std::mem::take(&mut replica.disk));
            }
        }
        replica.flush(NOW);
        // Nobody listens, and nobody waits for the engine to ask for repair: that may be done at any time.
        replica.notices.clear();
        replica.repair = None;
        assert_eq!(replica.rewind, None, "there is room for all events");
        output.floor =
            replica.floor.take().map(|message| match LogMessage::decode(message, &Limits::default()) {
                Ok(LogMessage::Floor(floor)) => self.messages.number(Message::Floor(floor)),
                other => panic!("not a floor: {other:?}"),
            });
        output
    }
}

/// What the replica gives to a holder of `since`.
fn given(replica: &mut Replica, since: &VersionVector) -> Given {
    let (engine, disk) = (&mut replica.engine, &replica.disk);
    let given = engine.delta_since(since, None, usize::MAX, NOW, disk).expect("a sound disk");
    assert!(given.is_whole());
    let is_complete = since.is_empty();
    let giver = Giver { is_complete, ..crate::support::giver(replica, given.vector) };
    Given { giver, entities: given.entities }
}

/// All of a replica that decides what it does from now on, in 128 bits.
///
/// Left out are counters, which are only told, a buffer that is overwritten before it is read, and the numbers of replicas,
/// which follow from their order, and come in another one each time.
fn fingerprint(replica: &Replica) -> u128 {
    let mut engine = format!("{:?}", replica.engine);
    cut(&mut engine, "counters: Counters {", "}");
    cut(&mut engine, "scratch: [", "]");
    cut(&mut engine, "numbers: {", "}");
    xxh3_128(format!("{engine} {:?}", replica.disk).as_bytes())
}

fn cut(text: &mut String, from: &str, to: &str) {
    let start = text.find(from).unwrap_or_else(|| panic!("{from:?} is shown of an engine"));
    let end = text[start..].find(to).expect("it ends") + start;
    text.replace_range(start..end, "");
}

fn observed(replica: &Replica) -> Observed {
    let record = replica.record(&ENTITY.into()).unwrap_or_default();
    let has_value = |body: &Body| !matches!(body, Body::Tombstone);
    let mut live: Vec<(Dot, bool)> =
        record.versions.iter().map(|version| (version.dot.clone(), has_value(&version.body))).collect();
    live.sort();
    if !live.iter().any(|(_, has_value)| *has_value) {
        live.clear();
    }
    let engine = &replica.engine;
    Observed {
        vector: engine.vector().clone(),
        live,
        visible: replica.read(ENTITY),
        digest: engine.digest().root(),
        floor: engine.floor().clone(),
        checkpoint: engine.checkpoint(),
        is_fenced: engine.is_fenced(),
        has_reclaimed: *engine.reclaimed() != VersionVector::new(),
    }
}
