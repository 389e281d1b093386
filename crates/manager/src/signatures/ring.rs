use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use archipelago_clock::{Incarnation, ReplicaId};
use archipelago_pipeline::PipelineError;
use archipelago_proto::{LISTED_KEYS_MAX, Said, Signature, decode_keys, encode_keys, speaker};
use archipelago_store::{Batch, Durability, Store, StoreError, Table};
use bytes::Bytes;

use super::{
    MemberKey, PublicKey, Signatures, SigningKey,
    list::KeyList,
    refusal::{Refusal, Refusals},
};
use crate::{StartError, WallClock, recording::Recording, turns::Tasks};

/// Where the list is stored.
const KEYS_ROW: &str = "keys";

/// How far the clock of whoever speaks may be from that of this node, with all that a message takes on its way. What is said
/// beside the log is of no use later, unless to deceive.
const FRESH_MS: u64 = 60_000;
/// How many questions are remembered at most, so that none is answered twice.
const QUESTIONS_MAX: usize = 1_000_000;
/// With every so many announcements the list goes along, and whenever it changed.
const LIST_EVERY: u64 = 10;

/// Why a key was not put on the list, or not withdrawn. Nothing changed, but for [`Store`](Self::Store).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nobody can have that name.
    #[error("the name {name:?} cannot be used: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is the key with which this node signs.
    #[error("this node signs with that key: withdraw it at another node")]
    Own,
    /// The list has no room.
    #[error("the list has listed_keys_max, {LISTED_KEYS_MAX}, keys")]
    Full,
    /// The store failed. The list is as was asked until this node ends; whether it is after its next start is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

/// The list of keys of one node, in its store, and what it makes of signatures.
#[derive(Debug)]
pub(crate) struct KeyRing {
    name: Arc<str>,
    key: SigningKey,
    is_required: bool,
    list: RwLock<KeyList>,
    /// Grows whenever the list changes.
    version: AtomicU64,
    announced: Mutex<Announced>,
    questions: Mutex<Questions>,
    store: Arc<dyn Store>,
    storing: Mutex<()>,
    tasks: Tasks,
    clock: Arc<dyn WallClock>,
    refusals: Refusals,
}

#[derive(Debug, Default)]
struct Announced {
    count: u64,
    version: u64,
}

/// The questions of the last while. In two parts, of which the older is forgotten as a whole.
#[derive(Debug, Default)]
struct Questions {
    recent: HashSet<[u8; 16]>,
    older: HashSet<[u8; 16]>,
    since_unix_ms: u64,
}

impl KeyRing {
    /// The ring of the node `name`, with what its store remembers. Reads the store.
    pub(crate) fn open(
        signatures: Signatures,
        name: &str,
        namespace: &str,
        store: Arc<dyn Store>,
        tasks: Tasks,
        clock: Arc<dyn WallClock>,
        recording: &Recording,
    ) -> Result<KeyRing, StartError> {
        let Signatures { key, trusted, is_required } = signatures;
        for (name, _) in &trusted {
            check_name(name).map_err(|reason| StartError::Option { option: "signatures", reason })?;
        }
        if trusted.len() >= LISTED_KEYS_MAX {
            let reason = format!("{} keys are more than listed_keys_max, {LISTED_KEYS_MAX}", trusted.len());
            return Err(StartError::Option { option: "signatures", reason });
        }
        let stored = match store.get(Table::Meta, KEYS_ROW.as_bytes())? {
            None => Vec::new(),
            Some(row) => decode_keys(row)
                .map_err(|error| StartError::Row { row: KEYS_ROW.into(), reason: error.to_string() })?,
        };
        let own = (name.to_owned(), key.public());
        Ok(KeyRing {
            name: name.into(),
            list: RwLock::new(KeyList::new(trusted.into_iter().chain([own]), stored)),
            key,
            is_required,
            version: AtomicU64::new(1),
            announced: Mutex::default(),
            questions: Mutex::default(),
            store,
            storing: Mutex::default(),
            tasks,
            clock,
            refusals: Refusals::new(namespace, recording),
        })
    }

    /// The keys that are known, those that were withdrawn included, in order of name.
    pub(crate) fn keys(&self) -> Vec<MemberKey> {
        let all = self.list.read().unwrap_or_else(PoisonError::into_inner).all();
        let mut keys: Vec<MemberKey> = all.into_iter().map(MemberKey::from).collect();
        keys.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
        keys
    }

    pub(crate) fn own(&self) -> (&str, PublicKey) {
        (&self.name, self.key.public())
    }

    /// How many messages were not believed.
    pub(crate) fn refused(&self) -> u64 {
        self.refusals.total()
    }

    /// Puts a key on the list, or withdraws it. Others learn of it by what this node announces.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        name: &str,
        key: PublicKey,
        is_trusted: bool,
    ) -> Result<(), KeyError> {
        check_name(name).map_err(|reason| KeyError::InvalidName { name: name.to_owned(), reason })?;
        if !is_trusted && key == self.key.public() {
            return Err(KeyError::Own);
        }
        let now = self.clock.now_unix_ms();
        let is_done = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            list.says(name, key) == Some(is_trusted) || list.decide(name, key, is_trusted, now)
        };
        if !is_done {
            return Err(KeyError::Full);
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        let ring = self.clone();
        Ok(self.tasks.blocking(move || ring.persist()).await.map_err(|_| KeyError::Closed)??)
    }

    /// Stores the list as it is by now.
    fn persist(&self) -> Result<(), StoreError> {
        // One after the other, so that an older list never takes the place of a newer one.
        let _one = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = self.list.read().unwrap_or_else(PoisonError::into_inner).learned();
        let mut batch = Batch::new();
        batch.put(Table::Meta, KEYS_ROW, encode_keys(&learned));
        self.store.commit(batch, Durability::Fsync)
    }

    /// The message, signed by this node.
    pub(super) fn sign(&self, said: Said<'_>, message: &Bytes) -> Result<Bytes, PipelineError> {
        self.sign_with(said, message, Vec::new())
    }

    /// The same of what is said to all, with which the list goes along now and then, unless that is too large.
    pub(super) fn sign_announcement(
        &self,
        message: &Bytes,
        bytes_max: Option<usize>,
    ) -> Result<Bytes, PipelineError> {
        let is_due = {
            let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
            let version = self.version.load(Ordering::Acquire);
            let is_due = announced.version != version || announced.count.is_multiple_of(LIST_EVERY);
            announced.count = if announced.version == version { announced.count + 1 } else { 1 };
            announced.version = version;
            is_due
        };
        if is_due {
            let keys = self.list.read().unwrap_or_else(PoisonError::into_inner).all();
            let signed = self.sign_with(Said::Aloud, message, keys)?;
            if bytes_max.is_none_or(|max| signed.len() <= max) {
                return Ok(signed);
            }
            tracing::warn!(bytes = signed.len(), "the list of keys is too large to go with a heartbeat");
        }
        self.sign(Said::Aloud, message)
    }

    fn sign_with(
        &self,
        said: Said<'_>,
        message: &Bytes,
        keys: Vec<archipelago_proto::ListedKey>,
    ) -> Result<Bytes, PipelineError> {
        let mut signature = Signature {
            by: (&*self.name).into(),
            key: self.key.public().to_bytes(),
            at_unix_ms: self.clock.now_unix_ms(),
            keys,
            proof: [0; 64],
        };
        let signed = signature.statement(said, message).and_then(|statement| {
            signature.proof = self.key.sign(&statement);
            signature.attach(message)
        });
        signed.map_err(|error| PipelineError::Refused { reason: format!("it cannot be signed: {error}") })
    }

    /// Whether a message of the log is from whom its subject says.
    pub(super) fn believes_log(&self, origin: &str, message: &Bytes) -> bool {
        self.believes("a message of the log", origin, || {
            let Some(signature) = self.signature(message)? else { return Ok(()) };
            self.check(&signature, origin, Said::InLog, message)
        })
    }

    /// Whether an announcement is from whom its subject says. Takes in the list that comes with it.
    pub(super) fn believes_announcement(self: &Arc<Self>, from: &str, message: &Bytes) -> bool {
        self.believes("an announcement", from, || {
            let Some(signature) = self.signature(message)? else { return Ok(()) };
            self.check(&signature, from, Said::Aloud, message)?;
            self.check_time(&signature)?;
            self.join(&signature);
            Ok(())
        })
    }

    /// Whether a question to `whom` is from somebody who may ask, and was not answered before.
    pub(super) fn believes_question(&self, whom: &str, message: &Bytes) -> bool {
        self.believes("a question", "somebody", || {
            let Some(signature) = self.signature(message)? else { return Ok(()) };
            self.check(&signature, &signature.by, Said::Asked { whom }, message)?;
            self.check_time(&signature)?;
            let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            match questions.is_new(&signature.proof, self.clock.now_unix_ms()) {
                true => Ok(()),
                false => Err(Refusal::Repeated),
            }
        })
    }

    /// Whether an answer is from whom was asked, or from whose state it says that it is, and to this question.
    pub(super) fn believes_answer(&self, whom: &str, question: &[u8], message: &Bytes) -> bool {
        self.believes("an answer", whom, || {
            let Some(signature) = self.signature(message)? else { return Ok(()) };
            let expected = speaker(message).unwrap_or_else(|| whom.into());
            self.check(&signature, &expected, Said::Answered { whom, question }, message)
        })
    }

    /// Whether a part of a snapshot was made by somebody who is believed.
    pub(super) fn believes_snapshot(&self, said: Said<'_>, message: &Bytes) -> bool {
        self.believes("a part of a snapshot", "somebody", || {
            let Some(signature) = self.signature(message)? else { return Ok(()) };
            self.check(&signature, &signature.by, said, message)
        })
    }

    fn believes(&self, what: &str, from: &str, check: impl FnOnce() -> Result<(), Refusal>) -> bool {
        let checked = check();
        if let Err(refusal) = checked {
            self.refusals.count(refusal, what, from);
        }
        checked.is_ok()
    }

    /// The signature of a message; `None` if it needs none.
    fn signature(&self, message: &Bytes) -> Result<Option<Signature>, Refusal> {
        match Signature::of(message) {
            Ok(None) if self.is_required => Err(Refusal::Unsigned),
            Ok(signature) => Ok(signature),
            Err(_) => Err(Refusal::Unreadable),
        }
    }

    fn check(
        &self,
        signature: &Signature,
        name: &str,
        said: Said<'_>,
        message: &Bytes,
    ) -> Result<(), Refusal> {
        if &*signature.by != name {
            return Err(Refusal::Misnamed);
        }
        let key = PublicKey::from_bytes(signature.key);
        if !self.list.read().unwrap_or_else(PoisonError::into_inner).trusts(name, key) {
            return Err(Refusal::Untrusted);
        }
        let statement = signature.statement(said, message).map_err(|_| Refusal::Unreadable)?;
        if key.signed(&statement, &signature.proof) { Ok(()) } else { Err(Refusal::Forged) }
    }

    fn check_time(&self, signature: &Signature) -> Result<(), Refusal> {
        let age = self.clock.now_unix_ms().abs_diff(signature.at_unix_ms);
        if age <= FRESH_MS { Ok(()) } else { Err(Refusal::Stale) }
    }

    fn join(self: &Arc<Self>, signature: &Signature) {
        let is_changed = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            list.listens_to(&signature.by, PublicKey::from_bytes(signature.key)) && list.join(&signature.keys)
        };
        if !is_changed {
            return;
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        tracing::info!(by = %signature.by, "the list of trusted keys changed");
        let ring = self.clone();
        self.tasks.spawn(async move {
            let tasks = ring.tasks.clone();
            if let Ok(Err(error)) = tasks.blocking(move || ring.persist()).await {
                tracing::warn!(%error, "the list of trusted keys was not stored; it comes again");
            }
        });
    }
}

impl Questions {
    /// Whether a question was not asked before; remembers it.
    fn is_new(&mut self, proof: &[u8; 64], now_unix_ms: u64) -> bool {
        // What is within the bounds of time now can be so for twice as long.
        if now_unix_ms.abs_diff(self.since_unix_ms) > 2 * FRESH_MS {
            self.older = std::mem::take(&mut self.recent);
            self.since_unix_ms = now_unix_ms;
        }
        let mark: [u8; 16] = std::array::from_fn(|at| proof[at]);
        !self.older.contains(&mark) && self.recent.len() < QUESTIONS_MAX && self.recent.insert(mark)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    ReplicaId::new(name, Incarnation::from_bits(0)).map(drop).map_err(|error| error.to_string())
}
