//! Clients: each does one thing after the other, and records what it asked for and what came of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_testkit::history::{Append, KvOp, KvResult, Recorder, Version};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{RwLock, watch},
    task::AbortHandle,
};

use super::{
    member::{Leading, Member},
    node::DEADLINE,
    protocol::{Answer, Request},
};
use crate::now::now_ns;

/// How many keys all clients write to, in each epoch.
const SHARED_KEYS: u64 = 5;
/// How long a client rests between two operations at most.
const REST_MS_MAX: u64 = 6;
/// How long it rests after a node could not do anything for it, at most.
const REFUSED_REST_MS_MAX: u64 = 20;
/// A client waits longer for an answer than the node tries.
const PATIENCE: Duration = Duration::from_millis(500);

/// What all clients have in common.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) leading: watch::Sender<Leading>,
    pub(crate) recorder: Recorder,
    /// Each operation holds it for reading: whoever holds it for writing holds the load off.
    pub(crate) gate: Arc<RwLock<()>>,
    /// The keys of each epoch are its own.
    pub(crate) epoch: AtomicU64,
    /// The acknowledged write of which was heard last.
    pub(crate) acknowledged: watch::Sender<Acknowledged>,
    pub(crate) appends: Mutex<Vec<Append>>,
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledged {
    /// How many there are with it.
    pub(crate) number: u64,
    pub(crate) term: u64,
    pub(crate) invoked_ns: u64,
    pub(crate) completed_ns: u64,
}

impl Clients {
    pub(crate) fn new(members: Vec<Arc<Member>>, leading: watch::Sender<Leading>) -> Clients {
        Clients {
            members,
            leading,
            recorder: Recorder::new(),
            gate: Arc::default(),
            epoch: AtomicU64::new(1),
            acknowledged: watch::Sender::default(),
            appends: Mutex::default(),
        }
    }

    /// Asks a member, and records it.
    ///
    /// Without an answer what comes of it is unknown; also if the member leads no more as soon as another one does, so that
    /// nobody waits for one that stands still.
    pub(crate) async fn ask(&self, process: u64, at: usize, op: KvOp) -> Option<KvResult> {
        let (member, mut leading) = (&self.members[at], self.leading.subscribe());
        let invoked_ns = now_ns();
        let pending = self.recorder.begin(process, op.clone());
        let leads = leading.borrow_and_update().at == at;
        let answer = tokio::select! {
            answer = member.call(Request::Do(op)) => answer,
            () = tokio::time::sleep(DEADLINE + PATIENCE) => Ok(None),
            () = leads_no_more(&mut leading, at), if leads => Ok(None),
        };
        match answer {
            Ok(Some(Answer::Did { result, term })) => {
                if let (KvResult::Written(index), Some(term)) = (&result, term) {
                    let completed_ns = now_ns();
                    let append = Append { term, node: member.name().to_owned(), index: *index, invoked_ns };
                    self.appends.lock().unwrap_or_else(PoisonError::into_inner).push(append);
                    self.acknowledged.send_modify(|last| {
                        *last = Acknowledged { number: last.number + 1, term, invoked_ns, completed_ns };
                    });
                }
                pending.ok(result.clone());
                Some(result)
            }
            Ok(Some(Answer::NotDone { reason, .. })) => {
                tracing::debug!(member = member.name(), reason, "not done");
                pending.failed();
                None
            }
            // It was not asked.
            Err(_) => {
                pending.failed();
                None
            }
            Ok(Some(Answer::Unknown)) => {
                // One whose store failed answers nothing else: whoever leads next is waited for.
                let _ = tokio::time::timeout(PATIENCE, leads_no_more(&mut leading, at)).await;
                None
            }
            // Dropped, it is unknown.
            Ok(_) => None,
        }
    }
}

async fn leads_no_more(leading: &mut watch::Receiver<Leading>, at: usize) {
    let _ = leading.wait_for(|leading| leading.at != at).await;
}

/// Starts a client. `number` is its own among all of the run.
pub(crate) fn spawn(scene: Arc<Clients>, seed: u64, number: u64) -> AbortHandle {
    let random = StdRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let client = Client { scene, random, number, made: 0, epoch: 0, known: HashMap::new(), own: Vec::new() };
    tokio::spawn(client.run()).abort_handle()
}

#[derive(Debug)]
struct Client {
    scene: Arc<Clients>,
    random: StdRng,
    number: u64,
    made: u64,
    epoch: u64,
    /// The version of each shared key that it saw last.
    known: HashMap<String, Version>,
    /// Keys that nobody else writes to.
    own: Vec<String>,
}

impl Client {
    async fn run(mut self) {
        loop {
            let gate = self.scene.gate.clone();
            let open = gate.read().await;
            let epoch = self.scene.epoch.load(Ordering::Relaxed);
            if self.epoch != epoch {
                (self.epoch, self.known, self.own) = (epoch, HashMap::new(), Vec::new());
            }
            let op = self.choose();
            let at = match op.consistency() {
                Some(_) => self.random.random_range(0..self.scene.members.len()),
                None => self.scene.leading.borrow().at,
            };
            let result = self.scene.ask(self.number, at, op.clone()).await;
            drop(open);
            let rest_ms = match &result {
                Some(result) => {
                    self.learn(&op, result);
                    REST_MS_MAX
                }
                None => REFUSED_REST_MS_MAX,
            };
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..=rest_ms))).await;
        }
    }

    fn choose(&mut self) -> KvOp {
        self.made += 1;
        let value = format!("{}-{}", self.number, self.made);
        let key = format!("{}/{}", self.epoch, self.random.random_range(0..SHARED_KEYS));
        let known = self.known.get(&key).copied();
        match self.random.random_range(0..100) {
            0..30 => KvOp::read(key),
            30..36 if !self.own.is_empty() => {
                KvOp::read(self.own[self.random.random_range(0..self.own.len())].clone())
            }
            30..62 => {
                let key = format!("{}/own/{value}", self.epoch);
                self.own.push(key.clone());
                KvOp::create(key, value)
            }
            62..72 => KvOp::upsert(key, value),
            72..80 => KvOp::create(key, value),
            80..84 => KvOp::update(key, value),
            84..91 => KvOp::update(key, value).expecting(known.unwrap_or(0)),
            91..94 => KvOp::upsert(key, value).expecting(known.unwrap_or(0)),
            94..97 => KvOp::delete(key),
            _ => KvOp::delete(key).expecting(known.unwrap_or(0)),
        }
    }

    fn learn(&mut self, op: &KvOp, result: &KvResult) {
        let version = match (op, result) {
            (KvOp::Delete { .. }, KvResult::Written(_)) | (_, KvResult::Value(None)) => 0,
            (_, KvResult::Written(version) | KvResult::Value(Some((_, version)))) => *version,
            _ => return,
        };
        self.known.insert(op.key().to_owned(), version);
    }
}
