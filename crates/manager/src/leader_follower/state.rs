//! What a node has applied, and how it lies in the store.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, atomic::Ordering},
};

use archipelago_engine::{
    leader_follower::{Application, Applied, History, KeyRow},
    mutated,
};
use archipelago_pipeline::LogId;
use archipelago_proto::{EntityId, EntryBatch, Limits, StatePage, Text};
use archipelago_store::{Batch, Durability, Store, StoreError, Table};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    LeaderInfo,
    node::TermStart,
    shared::{AppliedUpTo, Shared, TailSpan},
};
use crate::StartError;

/// The version of the rows described here.
const FORMAT: u32 = 1;
/// Begins the keys of all rows about a node of this mode in [`Table::Meta`].
pub(crate) const META_PREFIX: &str = "leader_follower/";
const STATE_ROW: &[u8] = b"leader_follower/state";
/// Begins the keys of orphaned entries in [`Table::DeadLetters`]: followed by the index of the first of a batch.
pub(crate) const ORPHAN_PREFIX: &[u8] = b"leader_follower/orphan/";

/// How many rows are read at a time.
const PAGE_ROWS: usize = 1_024;

/// Where in which log the state stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) log: LogId,
    /// The last message that is done with.
    pub(super) sequence: u64,
}

/// The one row about the node; it changes with every commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StateRow {
    format: u32,
    namespace: String,
    node: String,
    history: History,
    digest: u128,
    rows: u64,
    followers: BTreeSet<Text>,
    place: Option<Place>,
    /// The state is being taken from another node, and is that of one moment again once this is applied.
    settles_at: Option<u64>,
}

/// What a node has applied, as of its last commit.
#[derive(Debug)]
pub(super) struct State {
    shared: Arc<Shared>,
    row: StateRow,
}

/// Entries that are to be committed together.
#[derive(Debug)]
pub(super) struct Group {
    application: Application,
    history: History,
    place: Option<Place>,
    pub(super) applied: Vec<(u64, Applied)>,
    tail: Vec<(TailSpan, Bytes)>,
    settles_at: Option<u64>,
    clears_tail: bool,
    batch: Batch,
    keeps_applied: bool,
    /// The terms that start in it, and who leads in them.
    pub(super) starts: Vec<(TermStart, LeaderInfo)>,
}

/// What a store holds of a node.
pub(super) struct Loaded {
    row: StateRow,
    pub(super) applied: AppliedUpTo,
    pub(super) tail: VecDeque<TailSpan>,
}

impl Loaded {
    pub(super) fn into_state(self, shared: Arc<Shared>) -> State {
        let followers = self.row.followers.iter().map(Text::to_string).collect();
        shared.standing.send_modify(|standing| standing.followers = followers);
        if let Some(place) = &self.row.place {
            shared.log_reaches(place.sequence);
        }
        State { shared, row: self.row }
    }
}

/// Reads the node from its store; a store that is empty becomes that of this node.
pub(super) fn load(store: &dyn Store, node: &str, namespace: &str) -> Result<Loaded, StartError> {
    let row = match store.get(Table::Meta, STATE_ROW)? {
        Some(bytes) => rmp_serde::from_slice::<StateRow>(&bytes).map_err(|error| StartError::Row {
            row: String::from_utf8_lossy(STATE_ROW).into_owned(),
            reason: error.to_string(),
        })?,
        None => {
            let other = store.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, 1)?;
            if !other.is_empty() {
                return Err(StartError::ForeignStore {
                    what: "mode",
                    found: "multi-master".into(),
                    expected: "leader-follower".into(),
                });
            }
            let row = StateRow {
                format: FORMAT,
                namespace: namespace.to_owned(),
                node: node.to_owned(),
                history: History::default(),
                digest: 0,
                rows: 0,
                followers: BTreeSet::new(),
                place: None,
                settles_at: None,
            };
            let mut batch = Batch::new();
            batch.put(Table::Meta, STATE_ROW, encode(&row));
            store.commit(batch, Durability::Fsync)?;
            row
        }
    };
    if row.format != FORMAT {
        let reason =
            format!("format {} is not {FORMAT}, the one this build knows; use a newer build", row.format);
        return Err(StartError::Row { row: String::from_utf8_lossy(STATE_ROW).into_owned(), reason });
    }
    for (what, found, expected) in [("node", &*row.node, node), ("namespace", &*row.namespace, namespace)] {
        if found != expected {
            return Err(StartError::ForeignStore { what, found: found.into(), expected: expected.into() });
        }
    }
    let tail = load_tail(store)?;
    let applied = applied_of(&row);
    Ok(Loaded { row, applied, tail })
}

/// What a store says of its node at this moment.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) history: History,
    pub(super) place: Option<Place>,
    pub(super) rows: u64,
    pub(super) followers: Vec<String>,
}

/// Reads what a store says of its node, while that goes on.
pub(super) fn stored(store: &dyn Store) -> Result<Option<Stored>, StoreError> {
    let Some(bytes) = store.get(Table::Meta, STATE_ROW)? else { return Ok(None) };
    let row: StateRow = rmp_serde::from_slice(&bytes)
        .map_err(|error| StoreError::Io { action: "understand the state", source: error.into() })?;
    let followers = row.followers.iter().map(Text::to_string).collect();
    Ok(Some(Stored { history: row.history, place: row.place, rows: row.rows, followers }))
}

fn load_tail(store: &dyn Store) -> Result<VecDeque<TailSpan>, StartError> {
    let (mut tail, mut from) = (VecDeque::new(), Bound::Unbounded);
    loop {
        let page = store.scan(
            Table::Tail,
            from.as_ref().map(|key: &Bytes| &key[..]),
            Bound::Unbounded,
            PAGE_ROWS,
        )?;
        let Some(last) = page.last() else { return Ok(tail) };
        from = Bound::Excluded(last.key.clone());
        for row in page {
            let damaged = |reason: String| StartError::Row { row: format!("tail {:?}", row.key), reason };
            let batch = EntryBatch::decode(row.value.clone(), &Limits::default().for_state())
                .map_err(|error| damaged(error.to_string()))?;
            tail.push_back(TailSpan { first_index: batch.first_index, last_index: batch.last_index() });
        }
    }
}

fn applied_of(row: &StateRow) -> AppliedUpTo {
    AppliedUpTo {
        history: row.history,
        digest: row.digest,
        rows: row.rows,
        is_whole: row.settles_at.is_none(),
    }
}

fn encode(row: &StateRow) -> Vec<u8> {
    rmp_serde::to_vec_named(row).expect("plain data is written to memory")
}

impl State {
    pub(super) fn history(&self) -> &History {
        &self.row.history
    }

    pub(super) fn followers(&self) -> &BTreeSet<Text> {
        &self.row.followers
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.row.place.as_ref()
    }

    /// Whether the state is that of one moment.
    pub(super) fn is_whole(&self) -> bool {
        self.row.settles_at.is_none()
    }

    /// Whether a state was begun to be taken, and not all of it came.
    pub(super) fn is_partial(&self) -> bool {
        self.row.settles_at == Some(u64::MAX)
    }

    pub(super) fn group(&self) -> Group {
        Group {
            application: Application::default(),
            history: self.row.history,
            place: self.row.place.clone(),
            applied: Vec::new(),
            tail: Vec::new(),
            settles_at: self.row.settles_at,
            clears_tail: false,
            batch: Batch::new(),
            keeps_applied: self.shared.has_listeners(),
            starts: Vec::new(),
        }
    }

    /// Adds a message's entries, but the first `known`, to a group that it was judged new for.
    pub(super) fn add(
        &self,
        group: &mut Group,
        batch: &EntryBatch,
        encoded: Bytes,
        known: usize,
    ) -> Result<(), StoreError> {
        for (index, entry, _) in batch.chained().skip(known) {
            group
                .application
                .apply(index, entry, &self.row.followers, |key| self.shared.row(key.as_bytes()))?;
            if group.keeps_applied {
                let applied = Applied { index, operation: entry.operation.clone() };
                group.applied.push((batch.term, applied));
            }
        }
        group.history = group.history.with(batch);
        let span = TailSpan { first_index: batch.first_index, last_index: batch.last_index() };
        group.tail.push((span, encoded));
        Ok(())
    }

    /// What is committed for a group, to be given to the store; then the group is [installed](Self::install).
    pub(super) fn prepare(&self, group: &mut Group) -> Batch {
        let mut batch = std::mem::take(&mut group.batch);
        for (key, row) in &group.application.rows {
            // A store may keep the key for long, and with it the message that it is a part of.
            let key = key.detached().as_bytes().clone();
            match row {
                Some(row) => batch.put(Table::Entities, key, row.encode()),
                None => batch.remove(Table::Entities, key),
            }
        }
        let oldest = group.history.index.saturating_sub(self.shared.options.tail_entries_max);
        for span in self.shared.tail().iter() {
            if group.clears_tail || span.last_index <= oldest {
                batch.remove(Table::Tail, span.first_index.to_be_bytes().to_vec());
            } else {
                break;
            }
        }
        for (span, encoded) in &group.tail {
            batch.put(Table::Tail, span.first_index.to_be_bytes().to_vec(), encoded.clone());
        }
        let row = self.row_with(group);
        batch.put(Table::Meta, STATE_ROW, encode(&row));
        let shown = if row.settles_at.is_none() { row.history.index } else { u64::MAX };
        self.shared.shown.store(shown, Ordering::SeqCst);
        batch
    }

    fn row_with(&self, group: &Group) -> StateRow {
        let settles_at = group.settles_at.filter(|index| group.history.index < *index);
        StateRow {
            history: group.history,
            digest: self.row.digest.wrapping_add(group.application.digest),
            rows: self.row.rows.saturating_add_signed(group.application.rows_delta),
            followers: group.application.followers.clone().unwrap_or_else(|| self.row.followers.clone()),
            place: group.place.clone(),
            settles_at,
            ..self.row.clone()
        }
    }

    /// The group is stored.
    pub(super) fn install(&mut self, group: &Group) {
        self.row = self.row_with(group);
        let oldest = group.history.index.saturating_sub(self.shared.options.tail_entries_max);
        {
            let mut tail = self.shared.tail();
            while tail.front().is_some_and(|span| group.clears_tail || span.last_index <= oldest) {
                tail.pop_front();
            }
            for (span, _) in &group.tail {
                // What is written anew replaces what was there; mostly nothing was, and the tail is long.
                if tail.back().is_some_and(|last| last.first_index >= span.first_index) {
                    tail.retain(|other| other.first_index != span.first_index);
                }
                tail.push_back(*span);
            }
        }
        self.shared.applied.send_replace(applied_of(&self.row));
    }

    /// The state stands elsewhere in the log; the next commit stores that.
    pub(super) fn move_to(&mut self, group: &Group) {
        self.row.place.clone_from(&group.place);
    }

    /// Stores a group on its own.
    pub(super) async fn commit(&mut self, mut group: Group) -> Result<Group, StoreError> {
        let batch = self.prepare(&mut group);
        commit(self.shared.store.clone(), batch, self.shared.options.durability).await?;
        self.install(&group);
        Ok(group)
    }
}

impl Group {
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.batch.is_empty() && self.application.is_empty()
    }

    /// The state stands at this place of the log once the group is stored.
    pub(super) fn at(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Where the state stands is not known any more.
    pub(super) fn nowhere(&mut self) {
        self.place = None;
    }

    /// The rows behind `after` up to the last key of the page become those of the page.
    pub(super) fn take_page(
        &mut self,
        state: &State,
        after: Option<&EntityId>,
        page: &StatePage,
    ) -> Result<(), StoreError> {
        let shared = &state.shared;
        self.settles_at = Some(u64::MAX);
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(&key.as_bytes()[..]));
        let last = page.rows.last().map(|(key, _, _)| key.clone());
        let to = match (&last, page.is_last) {
            (_, true) | (None, false) => Bound::Unbounded,
            (Some(last), false) => Bound::Included(&last.as_bytes()[..]),
        };
        let theirs: BTreeSet<&EntityId> = page.rows.iter().map(|(key, _, _)| key).collect();
        let mut from: Bound<Bytes> = from.map(Bytes::copy_from_slice);
        loop {
            let rows =
                shared.store.scan(Table::Entities, from.as_ref().map(|key| &key[..]), to, PAGE_ROWS)?;
            let Some(last) = rows.last() else { break };
            from = Bound::Excluded(last.key.clone());
            for row in rows {
                let Some(key) = EntityId::from_utf8(row.key) else { continue };
                if !theirs.contains(&key) && !mutated!(KeepUnlistedRows) {
                    let old = KeyRow::decode(&row.value);
                    self.application.overwrite(&key, None, |_| Ok::<_, StoreError>(old))?;
                }
            }
        }
        for (key, version, value) in &page.rows {
            let row = KeyRow { version: *version, value: value.clone() };
            self.application.overwrite(key, Some(row), |key| shared.row(key.as_bytes()))?;
        }
        Ok(())
    }

    /// All pages were taken: the first was read at `history`, the last at `settles_at`.
    pub(super) fn settle(&mut self, history: History, settles_at: u64, followers: &[String]) {
        self.history = history;
        self.settles_at = (settles_at > history.index).then_some(settles_at);
        self.application.followers = Some(followers.iter().map(|node| Text::from(&**node)).collect());
        self.clears_tail = true;
        self.place = None;
    }

    /// Keeps batches of the tail that do not count any more.
    pub(super) fn keep_orphans(&mut self, store: &dyn Store, spans: &[TailSpan]) -> Result<(), StoreError> {
        for span in spans {
            let key = span.first_index.to_be_bytes();
            if let Some(encoded) = store.get(Table::Tail, &key)? {
                self.batch.put(Table::DeadLetters, [ORPHAN_PREFIX, &key].concat(), encoded);
            }
        }
        Ok(())
    }
}

/// The batches of entries that were applied here once and do not count.
pub(super) fn orphans(store: &dyn Store) -> Result<Vec<EntryBatch>, StoreError> {
    let end = [ORPHAN_PREFIX, &u64::MAX.to_be_bytes()].concat();
    let rows =
        store.scan(Table::DeadLetters, Bound::Included(ORPHAN_PREFIX), Bound::Included(&end), usize::MAX)?;
    Ok(rows
        .into_iter()
        .filter_map(|row| EntryBatch::decode(row.value, &Limits::default().for_state()).ok())
        .collect())
}

/// Commits where it does not keep other tasks waiting.
pub(super) async fn commit(
    store: Arc<dyn Store>,
    batch: Batch,
    durability: Durability,
) -> Result<(), StoreError> {
    let shared = store.clone();
    let committed = aside(&*store, move || shared.commit(batch, durability)).await;
    committed.map_err(|error| StoreError::Io { action: "commit", source: error.into() })?
}

/// Uses a store where it does not keep other tasks waiting. One in memory is used at once: it never blocks, and so a
/// simulation on one thread stays in one order.
pub(super) async fn aside<T: Send + 'static>(
    store: &dyn Store,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    match store.strongest_durability() {
        Durability::Memory => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
