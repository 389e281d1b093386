//! The load: writers that write, each one after the other, and remember what was acknowledged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    island::{Island, NotAcknowledged},
    ledger::Ledger,
    protocol::{AckWanted, Actor, Amounts, CRDTS, Op, Write},
};

/// Registers that all writers write to, in each epoch.
const SHARED_REGISTERS: u64 = 16;
/// Entities of counters, and of sets, in each epoch.
const SHARED_CRDTS: u64 = 8;
/// How long a writer rests between two writes at most.
const REST_MS_MAX: u64 = 6;

/// What all writers have in common.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) ledger: Mutex<Ledger>,
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
        Load { ledger: Mutex::new(ledger), actor: Mutex::new(Actor::Master), trouble: Mutex::new(None) }
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
            let (id, op) = self.choose();
            let goes_on = self.write(id, op).await;
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
        }
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

    /// False if there is nothing more to write to.
    async fn write(&mut self, id: String, op: Op) -> bool {
        let ack = match self.random.random_range(0..100) {
            0..4 => AckWanted::Pipeline,
            4..6 => AckWanted::OnePeer,
            _ => AckWanted::Local,
        };
        match self.island.write(Write { id: id.clone(), op: op.clone(), ack }).await {
            Ok(written) => {
                self.load.ledger(|ledger| ledger.acknowledge(&id, &op, &written));
                match op {
                    Op::Put(_) if id.starts_with("u/") => self.registers.push(id),
                    Op::Add { element, .. } => self.elements.push((id, element)),
                    _ => {}
                }
                true
            }
            Err(NotAcknowledged::Unknown) => {
                self.load.ledger(|ledger| ledger.doubt(&id, &op));
                true
            }
            Err(NotAcknowledged::Refused(reason)) => {
                tracing::warn!(island = self.island.label, id, reason, "a write was refused");
                self.load.ledger(|ledger| ledger.counts.refused += 1);
                true
            }
            Err(NotAcknowledged::Ended) => self.end(&id, &op, "its process ended by itself".to_owned()),
            Err(NotAcknowledged::StoreFailed(reason)) => self.end(&id, &op, reason),
        }
    }

    fn end(&self, id: &str, op: &Op, reason: String) -> bool {
        self.load.ledger(|ledger| ledger.doubt(id, op));
        let mut trouble = self.load.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(|| format!("{}: {reason}", self.island.label));
        false
    }
}
