//! The index of live writes: in which entity each is, by replica and sequence.
//!
//! With a row for each write, put with it and removed when it is superseded, two of the three rows that a write changes
//! would be the index's. So what is new comes in *runs*: one row for the writes of one replica that one commit brings within
//! a *block* of [`BLOCK`] sequences. What is superseded stays in its run; *removals*, one row a commit, say that it is stale.
//! Memory has a bit for each write of a block, and so knows at once what is live.
//!
//! Nothing grows without bound: as soon as little of a block's runs is live, one run of that takes their place; and
//! rows of removals of which too little is true any more are read again, the oldest first, and what still is goes along
//! with the next ones.
//!
//! What comes out of the order of its replica, by repair or from a snapshot, has a row of its own: a *single*.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::{Bound, Range},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use archipelago_clock::VersionVector;
use archipelago_engine::DotChange;
use archipelago_proto::{EntityId, ReplicaTable};
use archipelago_store::{Batch, Row, Store, Table};
use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::Serialize;

use super::{damaged, dot_row, each_row, parse_dot};
use crate::StartError;

/// How many sequences of a replica are a block: as many as a word has bits.
const BLOCK: u64 = 64;
/// The number that no replica has: rows of removals begin with it.
const REMOVALS: u32 = u32::MAX;
/// The bytes of a key without an entity: that of a run, or of removals.
const PLACE_BYTES: usize = 12;
/// How many removals one row holds at most.
const REMOVALS_MAX: usize = 4_096;
/// With so many stale writes for each live one the runs of a block are written anew. With one, a write would be written anew
/// about once in its life; with three it is about every third time.
const STALE_MAX: u32 = 3;
/// How many removals may be kept that are not true any more, beside as many as are.
const IDLE_REMOVALS_MAX: u64 = 64;
/// How many rows of removals are read again in one commit, as long as there are not too many removals in them. As many as one
/// block may leave idle at once, if each removal came alone: nobody knows when the next commit comes.
const CLEANED_ROWS_MAX: u64 = 2 * BLOCK;

/// What is live, and where the store has it.
#[derive(Debug)]
pub(crate) struct LiveIndex(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    /// By the number of the replica and that of the block.
    blocks: HashMap<(u32, u64), Block, RandomState>,
    /// The highest sequence of each replica that was ever applied: what is above comes in runs.
    newest: HashMap<u32, u64>,
    removals: Removals,
}

/// The runs of a block; a bit stands for a sequence.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// What is in a run.
    written: u64,
    /// What of that is live.
    live: u64,
    /// Where a run begins.
    starts: u64,
    /// Some of this block may be both in a run and in a single, for different entities.
    is_doubled: bool,
}

/// The rows of removals.
#[derive(Debug, Default)]
struct Removals {
    /// Their numbers.
    rows: Range<u64>,
    /// How many removals they hold.
    held: u64,
    /// How many of those are still in a run.
    stale: u64,
}

/// A row of the table.
enum Indexed {
    Run { replica: u32, entries: Vec<(u64, EntityId)> },
    Single { replica: u32, sequence: u64, entity: EntityId },
    Removals { number: u64, dots: Vec<(u32, u64)> },
}

impl Indexed {
    fn parse(row: &Row) -> Result<Indexed, StartError> {
        let unreadable = |reason: &str| damaged(&row.key, reason);
        if row.key.len() != PLACE_BYTES {
            let (replica, sequence, entity) = parse_dot(&row.key)?;
            return match row.value.is_empty() && replica != REMOVALS {
                true => Ok(Indexed::Single { replica, sequence, entity }),
                false => Err(unreadable("not a row of the index of live writes")),
            };
        }
        let (replica, number) = row.key.split_at(4);
        let replica = u32::from_be_bytes(replica.try_into().expect("4 bytes"));
        let number = u64::from_be_bytes(number.try_into().expect("8 bytes"));
        if replica == REMOVALS {
            let dots = rmp_serde::from_slice(&row.value).map_err(|error| unreadable(&error.to_string()))?;
            return Ok(Indexed::Removals { number, dots });
        }
        let entries = entries(row, number)?.into_iter().map(|(sequence, entity)| {
            let entity = EntityId::from_utf8(row.value.slice_ref(entity.as_bytes()));
            (sequence, entity.expect("it is a text"))
        });
        Ok(Indexed::Run { replica, entries: entries.collect() })
    }
}

/// The entries of a run that begins with this sequence.
fn entries(row: &Row, number: u64) -> Result<Vec<(u64, &str)>, StartError> {
    let entries: Vec<(u8, &str)> =
        rmp_serde::from_slice(&row.value).map_err(|error| damaged(&row.key, &error.to_string()))?;
    let first = number % BLOCK;
    if !entries.iter().all(|(at, _)| (first..BLOCK).contains(&u64::from(*at))) {
        return Err(damaged(&row.key, "a run goes beyond its block"));
    }
    Ok(entries.into_iter().map(|(at, entity)| (number - first + u64::from(at), entity)).collect())
}

/// What an entry of a run takes at most beside the id, and what a removal does: two numbers, and heads.
const ENTRY_BYTES_MAX: usize = 1 + 2 + 5;
const REMOVAL_BYTES_MAX: usize = 1 + 5 + 9;

/// The list, in about so many bytes.
fn encoded(list: &impl Serialize, bytes_max: usize) -> Vec<u8> {
    const HEAD_BYTES_MAX: usize = 5;
    let mut bytes = Vec::with_capacity(HEAD_BYTES_MAX + bytes_max);
    rmp_serde::encode::write(&mut bytes, list).expect("numbers and texts into memory");
    bytes
}

fn place(replica: u32, number: u64) -> Vec<u8> {
    dot_row(replica, number, "")
}

fn bit(sequence: u64) -> u64 {
    1 << (sequence % BLOCK)
}

/// The sequences of these bits.
fn sequences(block: u64, bits: u64) -> impl Iterator<Item = u64> {
    (0..BLOCK).filter(move |at| bits & (1 << at) != 0).map(move |at| block * BLOCK + at)
}

/// Adds a run: entries of one block in order of sequence.
fn put_run<'e>(batch: &mut Batch, replica: u32, entries: impl Iterator<Item = (u64, &'e str)>) -> u64 {
    let mut first = None;
    let entries: Vec<(u8, &str)> = entries
        .map(|(sequence, entity)| {
            first.get_or_insert(sequence);
            (u8::try_from(sequence % BLOCK).expect("below 64"), entity)
        })
        .collect();
    let first = first.expect("a run has entries");
    let ids: usize = entries.iter().map(|(_, entity)| entity.len()).sum();
    let value = encoded(&entries, ids + entries.len() * ENTRY_BYTES_MAX);
    batch.put(Table::Live, place(replica, first), value);
    first
}

impl LiveIndex {
    /// Reads the index; `vector` is what the store's replica has applied.
    pub(crate) fn load(
        store: &dyn Store,
        vector: &VersionVector,
        replicas: &ReplicaTable,
    ) -> Result<LiveIndex, StartError> {
        let newest = vector.iter().filter_map(|(replica, last)| Some((replicas.number(replica)?, last)));
        let mut state = State { newest: newest.collect(), ..State::default() };
        // In order of key: the runs that a single or a removal may concern come before it.
        each_row(store, Table::Live, |row| {
            match Indexed::parse(&row)? {
                Indexed::Run { replica, entries } => {
                    let Some((first, _)) = entries.first() else { return Ok(()) };
                    let block = state.blocks.entry((replica, first / BLOCK)).or_default();
                    block.starts |= bit(*first);
                    let bits = entries.iter().fold(0, |bits, (sequence, _)| bits | bit(*sequence));
                    (block.written, block.live) = (block.written | bits, block.live | bits);
                }
                Indexed::Single { replica, sequence, .. } => {
                    if let Some(block) = state.blocks.get_mut(&(replica, sequence / BLOCK)) {
                        block.is_doubled |= block.written & bit(sequence) != 0;
                    }
                }
                Indexed::Removals { number, dots } => {
                    let removals = &mut state.removals;
                    if removals.rows.is_empty() {
                        removals.rows.start = number;
                    }
                    removals.rows.end = number + 1;
                    removals.held += dots.len() as u64;
                    for (replica, sequence) in dots {
                        let block = state.blocks.get_mut(&(replica, sequence / BLOCK));
                        if let Some(block) = block.filter(|block| block.live & bit(sequence) != 0) {
                            block.live &= !bit(sequence);
                            removals.stale += 1;
                        }
                    }
                }
            }
            Ok::<_, StartError>(())
        })?;
        Ok(LiveIndex(RwLock::new(state)))
    }

    /// Adds to a batch what becomes live with it, and what is no more. The index is ahead of the store then: once the batch is
    /// stored they agree again, and if it cannot be, the index is of no use any more.
    ///
    /// # Errors
    /// If a row that is to be written anew cannot be read.
    pub(crate) fn put(
        &self,
        batch: &mut Batch,
        store: &dyn Store,
        dots: &[DotChange],
    ) -> Result<(), StartError> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut writing = Writing { state: &mut state, store, batch };
        let grown = writing.add(dots);
        let mut removed = writing.remove(dots)?;
        let mut shrunk = HashSet::with_hasher(RandomState::default());
        for place in removed.iter().map(|(replica, sequence)| (*replica, sequence / BLOCK)) {
            if !grown.contains(&place) && writing.shrink(place)? {
                shrunk.insert(place);
            }
        }
        removed.retain(|(replica, sequence)| !shrunk.contains(&(*replica, sequence / BLOCK)));
        writing.log(removed)
    }

    /// Up to `limit` live dots of the replica with this number, with sequences above `after`, in order of sequence.
    ///
    /// # Errors
    /// If the store or one of its rows cannot be read.
    pub(crate) fn dots(
        &self,
        store: &dyn Store,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let to = dot_row(replica, u64::MAX, "\u{10ffff}");
        let mut from = place(replica, first / BLOCK * BLOCK);
        // Most rows are runs.
        let mut page_rows = 2 + limit / 8;
        let mut found: Vec<(u64, EntityId)> = Vec::new();
        while found.len() < limit {
            let rows = store.scan(Table::Live, Bound::Included(&from), Bound::Included(&to), page_rows)?;
            let is_last = rows.len() < page_rows;
            let block_of = |row: &Row| row.key.get(4..PLACE_BYTES).map(block_of_sequence);
            // The last block may go on behind the page.
            let cut = rows.last().and_then(block_of).filter(|_| !is_last);
            let whole = rows.iter().position(|row| cut.is_some() && block_of(row) == cut);
            let whole = &rows[..whole.unwrap_or(rows.len())];
            if whole.is_empty() && !is_last {
                page_rows *= 2;
                continue;
            }
            let known = found.len();
            for row in whole {
                match Indexed::parse(row)? {
                    Indexed::Run { replica, entries } => {
                        let state = self.read();
                        found.extend(
                            entries.into_iter().filter(|(sequence, _)| {
                                *sequence >= first && state.is_live(replica, *sequence)
                            }),
                        );
                    }
                    Indexed::Single { sequence, entity, .. } if sequence >= first => {
                        found.push((sequence, entity));
                    }
                    _ => {}
                }
            }
            found[known..].sort_by_key(|(sequence, _)| *sequence);
            match cut {
                Some(block) => from = place(replica, block * BLOCK),
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn block_of_sequence(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("8 bytes")) / BLOCK
}

impl State {
    fn is_live(&self, replica: u32, sequence: u64) -> bool {
        let block = self.blocks.get(&(replica, sequence / BLOCK));
        block.is_some_and(|block| block.live & bit(sequence) != 0)
    }

    /// Whether it is in a run and not live.
    fn is_stale(&self, (replica, sequence): (u32, u64)) -> bool {
        let block = self.blocks.get(&(replica, sequence / BLOCK));
        block.is_some_and(|block| block.written & !block.live & bit(sequence) != 0)
    }
}

/// One commit.
struct Writing<'a> {
    state: &'a mut State,
    store: &'a dyn Store,
    batch: &'a mut Batch,
}

impl Writing<'_> {
    /// What comes, in runs as far as it goes on where its replica was. Gives the blocks of those.
    fn add(&mut self, dots: &[DotChange]) -> BTreeSet<(u32, u64)> {
        let mut come: Vec<&DotChange> = dots.iter().filter(|change| change.is_there).collect();
        come.sort_unstable_by(|a, b| {
            (a.replica, a.sequence, &a.entity).cmp(&(b.replica, b.sequence, &b.entity))
        });
        let (mut grown, mut rest) = (BTreeSet::new(), &come[..]);
        while let Some(DotChange { replica, sequence, entity, .. }) = rest.first() {
            let newest = self.state.newest.entry(*replica).or_default();
            if sequence <= newest {
                self.batch.put(Table::Live, dot_row(*replica, *sequence, entity), Bytes::new());
                if let Some(block) = self.state.blocks.get_mut(&(*replica, sequence / BLOCK)) {
                    block.is_doubled |= block.written & bit(*sequence) != 0;
                }
                rest = &rest[1..];
                continue;
            }
            let place = (*replica, sequence / BLOCK);
            let goes_on = |pair: &[&DotChange]| {
                let [one, next] = pair else { return false };
                (next.replica, next.sequence / BLOCK) == place && next.sequence > one.sequence
            };
            let len = 1 + rest.windows(2).take_while(|pair| goes_on(pair)).count();
            let run = &rest[..len];
            *newest = run[len - 1].sequence;
            let first =
                put_run(self.batch, place.0, run.iter().map(|change| (change.sequence, &*change.entity)));
            let bits = run.iter().fold(0, |bits, change| bits | bit(change.sequence));
            let block = self.state.blocks.entry(place).or_default();
            block.starts |= bit(first);
            (block.written, block.live) = (block.written | bits, block.live | bits);
            grown.insert(place);
            rest = &rest[len..];
        }
        grown
    }

    /// What goes. Gives what of it is in runs.
    fn remove(&mut self, dots: &[DotChange]) -> Result<Vec<(u32, u64)>, StartError> {
        let mut removed = Vec::new();
        for DotChange { replica, sequence, entity, .. } in dots.iter().filter(|change| !change.is_there) {
            let single = || dot_row(*replica, *sequence, entity);
            let block = self.state.blocks.get_mut(&(*replica, sequence / BLOCK));
            match block.filter(|block| block.live & bit(*sequence) != 0) {
                Some(block) if !(block.is_doubled && self.store.get(Table::Live, &single())?.is_some()) => {
                    block.live &= !bit(*sequence);
                    self.state.removals.stale += 1;
                    removed.push((*replica, *sequence));
                }
                _ => self.batch.remove(Table::Live, single()),
            }
        }
        Ok(removed)
    }

    /// Writes the runs of a block anew if little of what is in them is live. False if it did not.
    fn shrink(&mut self, (replica, number): (u32, u64)) -> Result<bool, StartError> {
        let Some(block) = self.state.blocks.get(&(replica, number)).copied() else { return Ok(false) };
        let stale = block.written & !block.live;
        if stale == 0 || stale.count_ones() < STALE_MAX * block.live.count_ones() {
            return Ok(false);
        }
        let runs = sequences(number, if block.live == 0 { 0 } else { block.starts });
        let runs = runs.map(|start| {
            let key = place(replica, start);
            let value = self.store.get(Table::Live, &key)?;
            let value = value.ok_or_else(|| damaged(&key, "a run of the index of live writes is missing"))?;
            Ok((start, Row { key: key.into(), value }))
        });
        let runs = runs.collect::<Result<Vec<_>, StartError>>()?;
        let mut kept = Vec::new();
        for (start, row) in &runs {
            let live = |(sequence, _): &(u64, &str)| block.live & bit(*sequence) != 0;
            kept.extend(entries(row, *start)?.into_iter().filter(live));
        }
        kept.sort_by_key(|(sequence, _)| *sequence);
        let starts = match kept.is_empty() {
            true => 0,
            false => bit(put_run(self.batch, replica, kept.into_iter())),
        };
        for start in sequences(number, block.starts & !starts) {
            self.batch.remove(Table::Live, place(replica, start));
        }
        self.state.removals.stale -= u64::from(stale.count_ones());
        match block.live {
            0 => self.state.blocks.remove(&(replica, number)),
            live => self.state.blocks.insert((replica, number), Block { written: live, starts, ..block }),
        };
        Ok(true)
    }

    /// Writes down what was removed, with what still is so of the oldest such rows if there are too many.
    fn log(&mut self, mut removed: Vec<(u32, u64)>) -> Result<(), StartError> {
        let mut cleaned = 0;
        for _ in 0..CLEANED_ROWS_MAX {
            let Removals { rows, held, stale } = &self.state.removals;
            if rows.is_empty() || *held <= 2 * stale + IDLE_REMOVALS_MAX || cleaned > REMOVALS_MAX {
                break;
            }
            let key = place(REMOVALS, rows.start);
            let value = self.store.get(Table::Live, &key)?;
            let value = value.ok_or_else(|| damaged(&key, "a row of removals is missing"))?;
            self.batch.remove(Table::Live, key.clone());
            if let Indexed::Removals { dots, .. } = Indexed::parse(&Row { key: key.into(), value })? {
                self.state.removals.held -= dots.len() as u64;
                cleaned += dots.len();
                removed.extend(dots.into_iter().filter(|dot| self.state.is_stale(*dot)));
            }
            self.state.removals.rows.start += 1;
        }
        for dots in removed.chunks(REMOVALS_MAX) {
            let Removals { rows, held, .. } = &mut self.state.removals;
            let value = encoded(&dots, dots.len() * REMOVAL_BYTES_MAX);
            self.batch.put(Table::Live, place(REMOVALS, rows.end), value);
            rows.end += 1;
            *held += dots.len() as u64;
        }
        Ok(())
    }
}
