use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use archipelago_store::{Batch, Change, Durability, Row, Store, StoreError, Table};
use bytes::Bytes;

/// All rows, by table.
pub(super) type Image = BTreeMap<Table, BTreeMap<Bytes, Bytes>>;

/// What a disk holds, whoever uses it: what of it would outlive the process, and what a loss of power.
#[derive(Clone)]
pub(super) struct Platter(Arc<Mutex<State>>);

/// A batch that was stored.
pub(super) struct Stored<'a> {
    pub(super) batch: &'a Batch,
    /// The rows that it changed, as they were before.
    pub(super) replaced: Image,
    /// Where it is stored.
    pub(super) platter: &'a Platter,
    /// Of which line of copies that is.
    pub(super) lineage: u64,
}

/// Who notes what is stored.
pub(super) trait Recorder: Send + Sync + 'static {
    /// This was stored on a disk that is its host's, and of this lineage.
    fn stored(&self, host: usize, stored: &Stored<'_>);
}

struct State {
    host: usize,
    /// Tells apart copies of one store, and what is left of one that lost something.
    lineage: u64,
    rows: Image,
    /// What outlives a loss of power.
    synced: Image,
    /// What came since, in order.
    since: VecDeque<(Batch, Durability)>,
    is_full: bool,
    /// An earlier commit of this process failed.
    poison: Option<String>,
    dies_in_commit: Option<DiesInCommit>,
    recorder: Arc<dyn Recorder>,
}

/// What happens to the process that commits next.
struct DiesInCommit {
    is_stored: bool,
    kill: Box<dyn FnOnce() + Send>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was killed: of the last commits that nobody asked to outlive that, as many are left.
    Killed { keep: usize },
    /// The power failed: of the commits since the last sync, as many are left.
    PowerLost { keep: usize },
}

impl Platter {
    pub(super) fn new(host: usize, lineage: u64, image: Image, recorder: Arc<dyn Recorder>) -> Platter {
        Platter(Arc::new(Mutex::new(State {
            host,
            lineage,
            rows: image.clone(),
            synced: image,
            since: VecDeque::new(),
            is_full: false,
            poison: None,
            dies_in_commit: None,
            recorder,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lineage(&self) -> u64 {
        self.lock().lineage
    }

    pub(super) fn has_lineage(&self, lineage: u64) {
        self.lock().lineage = lineage;
    }

    /// A copy of what is on it.
    pub(super) fn image(&self) -> Image {
        self.lock().rows.clone()
    }

    pub(super) fn is_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Nothing that was to go wrong does.
    pub(super) fn is_whole(&self) {
        let mut state = self.lock();
        (state.is_full, state.dies_in_commit) = (false, None);
    }

    /// The next commit is stored or not, and whoever made it is killed with it.
    pub(super) fn dies_in_commit(&self, is_stored: bool, kill: impl FnOnce() + Send + 'static) {
        self.lock().dies_in_commit = Some(DiesInCommit { is_stored, kill: Box::new(kill) });
    }

    /// The process that used it is no more. Gives how many commits are lost.
    pub(super) fn ends(&self, end: End) -> usize {
        let mut state = self.lock();
        (state.poison, state.dies_in_commit) = (None, None);
        let (least, keep) = match end {
            End::Killed { keep } => {
                let last = state.since.iter().rposition(|(_, durability)| *durability >= Durability::Os);
                (last.map_or(0, |last| last + 1), keep)
            }
            End::PowerLost { keep } => (0, keep),
        };
        let kept = least.saturating_add(keep).min(state.since.len());
        let lost = state.since.len() - kept;
        state.since.truncate(kept);
        let mut rows = std::mem::take(&mut state.synced);
        if let End::PowerLost { .. } = end {
            for (batch, _) in std::mem::take(&mut state.since) {
                apply(&mut rows, &batch);
            }
            state.synced.clone_from(&rows);
        } else {
            state.synced.clone_from(&rows);
            for (batch, _) in &state.since {
                apply(&mut rows, batch);
            }
        }
        state.rows = rows;
        lost
    }
}

/// The rows that a batch changes, as they are.
fn replaced(rows: &Image, batch: &Batch) -> Image {
    let mut replaced = Image::new();
    for Change { table, key, .. } in batch.changes() {
        if let Some(value) = rows.get(table).and_then(|rows| rows.get(key)) {
            replaced.entry(*table).or_default().insert(key.clone(), value.clone());
        }
    }
    replaced
}

fn apply(rows: &mut Image, batch: &Batch) {
    for Change { table, key, value } in batch.changes() {
        let rows = rows.entry(*table).or_default();
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

impl Store for Platter {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().rows.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.lock();
        let Some(rows) = state.rows.get(&table) else { return Ok(Vec::new()) };
        let is_empty = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                from >= to
            }
        };
        if is_empty {
            return Ok(Vec::new());
        }
        let rows = rows.range::<[u8], _>((from, to)).take(limit);
        Ok(rows.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect())
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(reason) = &state.poison {
            return Err(StoreError::Poisoned { reason: reason.clone() });
        }
        let dies = state.dies_in_commit.take();
        if state.is_full || dies.as_ref().is_some_and(|dies| !dies.is_stored) {
            let reason = "the disk is full".to_owned();
            state.poison = Some(reason.clone());
            drop(state);
            if let Some(dies) = dies {
                (dies.kill)();
            }
            return Err(StoreError::Io { action: "commit a batch", source: reason.into() });
        }
        let replaced = replaced(&state.rows, &batch);
        apply(&mut state.rows, &batch);
        state.since.push_back((batch.clone(), durability));
        if durability == Durability::Fsync {
            let since = std::mem::take(&mut state.since);
            since.iter().for_each(|(batch, _)| apply(&mut state.synced, batch));
        }
        let (host, lineage, recorder) = (state.host, state.lineage, state.recorder.clone());
        drop(state);
        recorder.stored(host, &Stored { batch: &batch, replaced, platter: self, lineage });
        if let Some(dies) = dies {
            (dies.kill)();
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Fsync
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for Platter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platter").field("lineage", &self.lineage()).finish_non_exhaustive()
    }
}
