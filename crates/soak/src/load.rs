//! The load: writers that write, each one after the other, and remember what was acknowledged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use archipelago::SessionToken;
use archipelago_testkit::history::{Consistency, KvOp, KvResult, Recorder};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    island::{Island, NotAcknowledged},
    ledger::Ledger,
    protocol::{AckWanted, Actor, Amounts, CRDTS, Op, Read, Write},
};

/// Registers that all writers write to, in each epoch.
const SHARED_REGISTERS: u64 = 16;
/// Entities of counters, and of sets, in each epoch.
const SHARED_CRDTS: u64 = 8;
/// How long a writer rests between two writes at most.
const REST_MS_MAX: u64 = 6;

/// How long a session waits for a master that stands still.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// There is nothing more to write to.
#[derive(Debug)]
struct Over;

/// What all writers have in common.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) ledger: Mutex<Ledger>,
    /// What sessions wrote and read.
    pub(crate) sessions: Recorder,
    /// Who can be read from.
    islands: Mutex<Vec<Arc<Island>>>,
    /// Under whose name CRDTs are changed.
    actor: Mutex<Actor>,
    /// The first thing that no fault explains.
    trouble: Mutex<Option<String>>,
}

/// One writer of one master.
#[derive(Debug)]
struct Writer {
    load: Arc<Load>,
    island: Arc<Island>,
    /// While it is set, registers of others are left alone.
    keeps_to_itself: Arc<AtomicBool>,
    random: StdRng,
    /// Tells its ids from those of others.
    name: String,
    /// Its own among all writers of the run.
    number: u64,
    /// What its session has seen.
    seen: SessionToken,
    /// Its numbers begin here: no other writer has them.
    first_number: u64,
    made: u64,
    epoch: u64,
    /// Own registers with a value.
    registers: Vec<String>,
    /// Own elements of sets.
    elements: Vec<(String, u64)>,
}

impl Load {
    pub(crate) fn new() -> Load {
        let mut ledger = Ledger::default();
        ledger.begin_epoch();
        Load {
            ledger: Mutex::new(ledger),
            sessions: Recorder::new(),
            islands: Mutex::default(),
            actor: Mutex::new(Actor::Master),
            trouble: Mutex::new(None),
        }
    }

    pub(crate) fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins an epoch; call it while no writer writes.
    pub(crate) fn begin_epoch(&self, actor: Actor) {
        *self.actor.lock().unwrap_or_else(PoisonError::into_inner) = actor;
        self.ledger(Ledger::begin_epoch);
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says who can be read from.
    pub(crate) fn reads_from(&self, islands: Vec<Arc<Island>>) {
        *self.islands.lock().unwrap_or_else(PoisonError::into_inner) = islands;
    }

    fn islands(&self) -> Vec<Arc<Island>> {
        self.islands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn actor(&self) -> Actor {
        *self.actor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a writer. `number` is its own among all writers of the run.
pub(crate) fn spawn(
    load: Arc<Load>,
    island: Arc<Island>,
    keeps_to_itself: Arc<AtomicBool>,
    seed: u64,
    number: u64,
) -> tokio::task::AbortHandle {
    let writer = Writer {
        name: format!("{}-{number}", island.label),
        load,
        island,
        keeps_to_itself,
        random: StdRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        number,
        seen: SessionToken::default(),
        first_number: number << 40,
        made: 0,
        epoch: u64::MAX,
        registers: Vec::new(),
        elements: Vec::new(),
    };
    tokio::spawn(writer.run()).abort_handle()
}

impl Writer {
    async fn run(mut self) {
        loop {
            let gate = self.island.gate.clone();
            let open = gate.read().await;
            self.enter(self.load.ledger(|ledger| ledger.current().number));
            let goes_on = if self.has_session() && self.random.random_ratio(1, 10) {
                self.take_part().await
            } else {
                let (id, op) = self.choose();
                self.write(id, op, None).await.is_ok()
            };
            drop(open);
            if !goes_on {
                return;
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..=REST_MS_MAX))).await;
        }
    }

    /// Forgets what it wrote in earlier epochs.
    fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.registers.clear();
            self.elements.clear();
            self.seen = SessionToken::default();
        }
    }

    /// A session can be followed as long as what it saw keeps its names.
    fn has_session(&self) -> bool {
        self.load.actor() == Actor::Master && !self.keeps_to_itself.load(Ordering::Relaxed)
    }

    /// Writes to the register of its session, at its own master, or reads it, at any. False if there is nothing more to
    /// write to.
    async fn take_part(&mut self) -> bool {
        let id = format!("v/{}/{}", self.epoch, self.name);
        let is_write = self.random.random_bool(0.5);
        let after = self.seen.clone();
        if is_write {
            let number = self.number();
            let pending = self.load.sessions.begin(self.number, KvOp::upsert(&id, number.to_string()));
            return match self.write(id, Op::Put(number), Some(after)).await {
                Ok(Some(seen)) => {
                    pending.ok(KvResult::Written(number));
                    self.seen = seen;
                    true
                }
                // Dropped, it is unknown.
                Ok(None) => true,
                Err(Over) => false,
            };
        }
        let islands = self.load.islands();
        let Some(island) = islands.get(self.random.random_range(0..islands.len().max(1))) else {
            return true;
        };
        let read = KvOp::Read { key: id.clone(), consistency: Consistency::Session };
        let pending = self.load.sessions.begin(self.number, read);
        match tokio::time::timeout(READ_PATIENCE, island.read(Read { id, after })).await {
            Ok(Some((number, seen))) => {
                pending.ok(KvResult::Value(number.map(|number| (number.to_string(), number))));
                self.seen = seen;
            }
            // Nothing was read.
            Ok(None) | Err(_) => pending.failed(),
        }
        true
    }

    fn choose(&mut self) -> (String, Op) {
        let (epoch, actor) = (self.epoch, self.load.actor());
        let alone = self.keeps_to_itself.load(Ordering::Relaxed);
        let dice = self.random.random_range(0..100);
        let shared = format!("s/{epoch}/{}", self.random.random_range(0..SHARED_REGISTERS));
        let crdt = format!("{CRDTS}{epoch}/{}", self.random.random_range(0..SHARED_CRDTS));
        match dice {
            45..55 if !alone => (shared, Op::Put(self.number())),
            55..60 if !alone => (shared, Op::Delete),
            60..70 if !self.registers.is_empty() => {
                let at = self.random.random_range(0..self.registers.len());
                (self.registers.swap_remove(at), Op::Delete)
            }
            70..90 => {
                let hits = self.random.random_range(1..1_000);
                let balance = self.random.random_range(-1_000..1_000);
                (crdt, Op::Count { by: Amounts { hits, balance }, actor })
            }
            90..97 => (crdt, Op::Add { element: self.number(), actor }),
            97..100 if !self.elements.is_empty() => {
                let at = self.random.random_range(0..self.elements.len());
                let (id, element) = self.elements.swap_remove(at);
                (id, Op::Take { element })
            }
            _ => {
                let number = self.number();
                (format!("u/{epoch}/{}/{number}", self.name), Op::Put(number))
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.first_number + self.made
    }

    /// What was seen with it, if it was acknowledged.
    async fn write(
        &mut self,
        id: String,
        op: Op,
        after: Option<SessionToken>,
    ) -> Result<Option<SessionToken>, Over> {
        let ack = match self.random.random_range(0..100) {
            0..4 => AckWanted::Pipeline,
            4..6 => AckWanted::OnePeer,
            _ => AckWanted::Local,
        };
        match self.island.write(Write { id: id.clone(), op: op.clone(), ack, after }).await {
            Ok(written) => {
                self.load.ledger(|ledger| ledger.acknowledge(&id, &op, &written));
                match op {
                    Op::Put(_) if id.starts_with("u/") => self.registers.push(id),
                    Op::Add { element, .. } => self.elements.push((id, element)),
                    _ => {}
                }
                Ok(Some(written.seen))
            }
            Err(NotAcknowledged::Unknown) => {
                self.load.ledger(|ledger| ledger.doubt(&id, &op));
                Ok(None)
            }
            Err(NotAcknowledged::Refused(reason)) => {
                tracing::warn!(island = self.island.label, id, reason, "a write was refused");
                self.load.ledger(|ledger| ledger.counts.refused += 1);
                Ok(None)
            }
            Err(NotAcknowledged::Ended) => Err(self.end(&id, &op, "its process ended by itself".to_owned())),
            Err(NotAcknowledged::StoreFailed(reason)) => Err(self.end(&id, &op, reason)),
        }
    }

    fn end(&self, id: &str, op: &Op, reason: String) -> Over {
        self.load.ledger(|ledger| ledger.doubt(id, op));
        let mut trouble = self.load.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(|| format!("{}: {reason}", self.island.label));
        Over
    }
}
