//! The replicas, the broker between them, and everything that happens to them, in order of time.
//!
//! | file | noun |
//! |---|---|
//! | `process` | a process that starts, dies, and carries out what its engine wants done |
//! | `log` | the way of a write into the log, and from there to the others |
//! | `hearsay` | what replicas say to each other: heartbeats, and what repair brings |
//! | `clients` | who writes and reads |
//! | `breakage` | what breaks |

mod breakage;
mod clients;
mod hearsay;
mod log;
mod process;

pub(super) use clients::{COUNTER, SET};
pub(super) use process::Input;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use archipelago_clock::{Incarnation, ReplicaId, VersionVector};
use archipelago_crdt::Value;
use archipelago_engine::EngineConfig;
use archipelago_proto::{DeltaPiece, DeltaRequest, EntityId, Event, Floor, Heartbeat, Limits};

use super::{
    Act, Case, Dice, Ledger, Outcome, Scenario, Tally, Violation,
    agenda::Agenda,
    broker::Broker,
    checkers::Checks,
    disk::{Disk, OutboxKey},
    island::{Island, Standing},
    network::Network,
    trace::{self, Trace},
    view::{IslandView, Source, Verdict},
    wall_clock::WallClock,
};

/// How often time alone is looked at.
const TICK_MS: u64 = 100;
/// How long the replicas have, once nothing breaks any more, to become equal.
const CALM_MS_MAX: u64 = 180_000;
/// How much may happen in a run. A run of average length has a hundredth of it.
const HAPPENINGS_MAX: u64 = 2_000_000;
/// How often it is looked whether they are.
const LOOK_MS: u64 = 250;

/// What is to happen. Whatever is of a process names its life, and is nothing once that is over.
#[derive(Debug)]
enum Happening {
    Step(usize),
    Tick { island: usize, life: u64 },
    Beat { island: usize, life: u64 },
    Arrives { island: usize, life: u64, key: OutboxKey, events: Rc<Vec<Event>>, is_newer: bool },
    FloorArrives { floor: Rc<Floor>, id: u64 },
    Acknowledged { island: usize, life: u64, key: OutboxKey },
    Retry { island: usize, life: u64, key: OutboxKey },
    Emits { island: usize, life: u64 },
    Deliver { island: usize, life: u64 },
    Hear { island: usize, heartbeat: Rc<Heartbeat> },
    Gossip { island: usize, events: Rc<Vec<Event>>, is_newer: bool },
    Asked { island: usize, by: usize, fetch: (u64, u64), request: Box<DeltaRequest> },
    Piece { island: usize, fetch: (u64, u64), piece: Box<DeltaPiece>, is_newer: bool },
    NoPiece { island: usize, life: u64, fetch: u64, pieces: u64 },
    Up { island: usize, life: u64 },
    BrokerUp,
    ClockIsRight { island: usize },
    TwinEnds { island: usize },
    Look,
}

/// Everything.
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    case: &'a Case,
    limits: Rc<Limits>,
    now_ms: u64,
    agenda: Agenda<Happening>,
    broker: Broker,
    network: Network,
    islands: Vec<Island>,
    clients: BTreeMap<usize, clients::Client>,
    ledger: Ledger,
    checks: Checks,
    tally: Tally,
    trace: Trace,
    steps: u64,
    dice: Dice,
    acks_lost_until_ms: u64,
    is_calm: bool,
    violation: Option<Violation>,
    fetches: u64,
    floors: u64,
    /// Floors that were told by someone who did not know of all replicas.
    hasty_floors: BTreeSet<u64>,
    /// What these say of those that are in the log, and what the others do.
    hasty_floor: VersionVector,
    expected_floor: VersionVector,
    lineages: u64,
    sessions: u64,
    /// What turns of a workload noted of their writes.
    notes: Vec<(u64, Value)>,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, case: &'a Case, trace: bool) -> Self {
        World {
            scenario,
            case,
            limits: Rc::new(Limits::default()),
            now_ms: 0,
            agenda: Agenda::new(),
            broker: Broker::new(case.settings.deduplication_ms),
            network: Network::new(case.seed, &case.settings),
            islands: Vec::new(),
            clients: BTreeMap::new(),
            ledger: Ledger::default(),
            checks: Checks::new(case.seed),
            tally: Tally::default(),
            trace: Trace::new(trace),
            steps: 0,
            dice: Dice::keyed(case.seed, [INSIDE, 0, 0]),
            acks_lost_until_ms: 0,
            is_calm: false,
            violation: None,
            fetches: 0,
            floors: 0,
            hasty_floors: BTreeSet::new(),
            hasty_floor: VersionVector::new(),
            expected_floor: VersionVector::new(),
            lineages: 0,
            sessions: 0,
            notes: Vec::new(),
        }
    }

    /// Everything from the first step to the calm after the last one.
    pub(super) fn run(mut self) -> Outcome {
        for at in 0..self.case.settings.replicas {
            let is_newer = at + self.case.settings.old_builds < self.case.settings.replicas;
            self.settle_island(is_newer);
        }
        if self.case.settings.old_builds > 0 {
            self.tally.injected("old_build");
        }
        for (at, step) in self.case.steps.iter().enumerate() {
            self.agenda.put(step.at_ms, Happening::Step(at));
        }
        let calm_from_ms = self.case.steps.last().map_or(0, |step| step.at_ms) + 1_000;
        self.agenda.put(calm_from_ms, Happening::Look);
        let mut happened = 0;
        while self.violation.is_none() {
            let Some((at_ms, what)) = self.agenda.next() else { break };
            happened += 1;
            if happened > HAPPENINGS_MAX {
                self.violates("progress", format!("{HAPPENINGS_MAX} things happened, and there is no end"));
            }
            self.now_ms = at_ms;
            let is_look = matches!(what, Happening::Look);
            self.happens(what);
            if is_look && self.look(calm_from_ms) {
                break;
            }
        }
        if self.violation.is_none() {
            self.check_end();
        }
        Outcome {
            seed: self.case.seed,
            steps: self.steps,
            virtual_ms: self.now_ms,
            writes: self.ledger.writes().len() as u64,
            tally: self.tally,
            violation: self.violation,
            trace: self.trace.into_lines(),
        }
    }

    /// True once all are equal, or should have been long ago.
    fn look(&mut self, calm_from_ms: u64) -> bool {
        if !self.is_calm {
            self.calm_down();
        } else if let Err(why) = self.is_settled() {
            if self.now_ms > calm_from_ms + CALM_MS_MAX {
                self.violates("progress", format!("{CALM_MS_MAX} ms after the last fault: {why}"));
            }
        } else {
            return true;
        }
        self.network.tidy(self.now_ms);
        self.agenda.put(self.now_ms + LOOK_MS, Happening::Look);
        false
    }

    /// Why it is not over yet.
    fn is_settled(&self) -> Result<(), String> {
        let members: Vec<&Island> =
            self.islands.iter().filter(|island| island.standing == Standing::Member).collect();
        let mut first: Option<(&ReplicaId, &VersionVector)> = None;
        for island in members {
            let replica = island.replica();
            let Some(running) = &island.running else { return Err(format!("{replica} is down")) };
            if !island.disk.rows.outbox.is_empty() {
                return Err(format!(
                    "{replica} still has {} messages to send",
                    island.disk.rows.outbox.len()
                ));
            }
            if running.engine.is_fenced() {
                return Err(format!("{replica} is fenced"));
            }
            let vector = running.engine.vector();
            match first {
                None => first = Some((replica, vector)),
                Some((other, theirs)) if theirs != vector => {
                    return Err(format!("{other} has applied {theirs:?} and {replica} {vector:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Step(at) => self.perform(&self.case.steps[at].act),
            Happening::Tick { island, life } if self.lives(island, life) => self.tick(island),
            Happening::Beat { island, life } if self.lives(island, life) => self.beat(island),
            Happening::Arrives { island, life, key, events, is_newer } => {
                self.arrives(island, life, key, &events, is_newer);
            }
            Happening::FloorArrives { floor, id } => self.floor_arrives(floor, id),
            Happening::Acknowledged { island, life, key } if self.lives(island, life) => {
                self.emitted(island, key);
            }
            Happening::Retry { island, life, key } if self.lives(island, life) => self.retry(island, key),
            Happening::Emits { island, life } if self.lives(island, life) => self.emit(island),
            Happening::Deliver { island, life } if self.lives(island, life) => self.deliver(island),
            Happening::Hear { island, heartbeat } => self.hear(island, &heartbeat),
            Happening::Gossip { island, events, is_newer } => self.gossip(island, &events, is_newer),
            Happening::Asked { island, by, fetch, request } => self.asked(island, by, fetch, &request),
            Happening::Piece { island, fetch, piece, is_newer } => {
                self.piece(island, fetch, *piece, is_newer);
            }
            Happening::NoPiece { island, life, fetch, pieces } if self.lives(island, life) => {
                self.no_piece(island, fetch, pieces);
            }
            Happening::Up { island, life } => {
                let up = &self.islands[island];
                if up.life == life && !up.is_up() && up.standing != Standing::Gone {
                    self.start(island);
                }
            }
            Happening::BrokerUp => {
                self.broker.comes_up();
                self.trace.note(self.now_ms, || "the broker is up".to_owned());
            }
            Happening::ClockIsRight { island } => {
                self.islands[island].clock = WallClock::default();
                self.trace.note(self.now_ms, || format!("the clock of {island} is right again"));
            }
            Happening::TwinEnds { island } => self.twin_ends(island),
            // Of a life that is over.
            _ => {}
        }
    }

    fn perform(&mut self, act: &Act) {
        match act {
            Act::Write { island, client, entity, edit, author } => {
                self.client_writes(*island, *client, *entity, *edit, *author);
            }
            Act::Turn { island, client, dice } => self.client_turns(*island, *client, *dice),
            Act::Read { island, client, entity } => self.client_reads(*island, *client, *entity),
            Act::Fault(fault) => self.breaks(fault),
        }
    }

    fn lives(&self, island: usize, life: u64) -> bool {
        self.islands[island].life == life && self.islands[island].is_up()
    }

    /// A machine with an empty disk, and a process on it.
    fn settle_island(&mut self, is_newer_build: bool) -> usize {
        let at = self.islands.len();
        let name: Rc<str> = format!("r{at}").into();
        let clock = WallClock::default();
        let replica = self.new_replica(&name, clock);
        self.lineages += 1;
        self.islands.push(Island {
            name,
            disk: Disk::new(replica, true),
            clock,
            running: None,
            life: 0,
            lineage: self.lineages,
            backup: None,
            slow_until_ms: 0,
            disk_full_until_ms: 0,
            is_newer_build,
            standing: Standing::Member,
            dies_in_commit: None,
            away_ms: 0,
            is_twin: false,
            settled_ms: self.now_ms,
            has_receded: false,
            shares_identity: false,
        });
        self.start(at);
        at
    }

    fn new_replica(&mut self, name: &str, clock: WallClock) -> ReplicaId {
        let random = u16::try_from(self.dice.below(1 << 16)).expect("16 bits");
        let incarnation = Incarnation::mint(clock.unix_ms(self.now_ms), random);
        ReplicaId::new(name, incarnation).expect("a legal name")
    }

    fn config(&mut self, island: usize) -> EngineConfig {
        self.sessions += 1;
        let settings = &self.case.settings;
        let replica = self.islands[island].replica().clone();
        EngineConfig {
            session: self.sessions,
            strategies: self.scenario.strategies().clone(),
            max_drift: std::time::Duration::from_millis(settings.max_drift_ms),
            repair_after: std::time::Duration::from_millis(settings.repair_after_ms),
            event_buffer_events_max: settings.event_buffer_events_max,
            ..EngineConfig::new("simulated", replica)
        }
    }

    fn violates(&mut self, checker: &'static str, detail: String) {
        let now_ms = self.now_ms;
        self.trace.note(now_ms, || format!("VIOLATION of {checker}: {detail}"));
        self.note_states();
        self.violation.get_or_insert(Violation { checker, at_ms: now_ms, detail });
    }

    /// Notes what is live in each entity at each replica.
    fn note_states(&mut self) {
        for entity in self.scenario.entities() {
            for island in &self.islands {
                let Some(running) = &island.running else { continue };
                let source = Source::Running { engine: &running.engine, rows: &island.disk.rows };
                let record = IslandView { source, limits: &self.limits }.record(entity);
                let name = &island.name;
                self.trace.note(self.now_ms, || format!("of {entity} {name} holds {}", trace::live(&record)));
            }
        }
        for island in &self.islands {
            let Some(running) = &island.running else { continue };
            let (vector, floor, reclaimed) =
                (running.engine.vector(), running.engine.floor(), running.engine.reclaimed());
            let name = &island.name;
            self.trace.note(self.now_ms, || {
                format!("{name} has applied {vector:?}, floor {floor:?}, reclaimed {reclaimed:?}")
            });
        }
    }

    fn entity(&self, entity: usize) -> EntityId {
        let entities = self.scenario.entities();
        entities[entity % entities.len()].clone()
    }
}

/// Sets these dice apart from others of the same seed.
const INSIDE: u64 = 2;

impl World<'_> {
    fn check_end(&mut self) {
        let limits = self.limits.clone();
        let members = self.islands.iter().filter(|island| island.standing == Standing::Member);
        let islands = members.filter_map(|island| {
            let engine = &island.running.as_ref()?.engine;
            let source = Source::Running { engine, rows: &island.disk.rows };
            Some(IslandView { source, limits: &limits })
        });
        let verdict = Verdict { islands: islands.collect(), ledger: &self.ledger, notes: &self.notes };
        if let Err((checker, detail)) = Checks::end(&verdict, self.scenario) {
            self.violates(checker, detail);
        }
    }
}
