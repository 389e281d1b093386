//! Entities that are written again and again, as they are in fjall: whoever writes one reads it first.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use archipelago_store::{Change, Table};
use bytes::Bytes;
use foldhash::fast::RandomState;
use quick_cache::{Weighter, sync::Cache};
use smallvec::SmallVec;

/// About how many bytes a row takes beside its key and value.
const ROW_OVERHEAD_BYTES: usize = 96;
/// About how many bytes a row takes in all, to begin with.
const TYPICAL_ROW_BYTES: usize = 320;

/// Most keys are no longer, and need no allocation of their own.
type Key = SmallVec<[u8; 24]>;

/// Rows of [`Table::Entities`] by key. Once it is full, rows that are written again and again stay however many others are
/// written once; a whole set of rows in use gives way to another one only slowly. Only commits fill it: a reader that did
/// could put a row there that was replaced since it was read.
pub(crate) struct RowCache {
    rows: Cache<Key, Box<[u8]>, Bytewise, RandomState>,
    /// Held by a commit, so that rows change here in the order in which they change in fjall.
    commits: Mutex<()>,
    /// Set while some rows may be newer in fjall than here. Whoever has seen one of these must not be given an older
    /// one from here.
    is_behind: AtomicBool,
}

#[derive(Clone, Copy)]
struct Bytewise;

impl Weighter<Key, Box<[u8]>> for Bytewise {
    fn weight(&self, key: &Key, value: &Box<[u8]>) -> u64 {
        (key.len() + value.len() + ROW_OVERHEAD_BYTES) as u64
    }
}

impl RowCache {
    /// A cache of at most so many bytes; `None` if that is none.
    pub(crate) fn new(bytes_max: u64) -> Option<RowCache> {
        let rows_typical = usize::try_from(bytes_max).unwrap_or(usize::MAX) / TYPICAL_ROW_BYTES;
        let rows =
            || Cache::with(rows_typical, bytes_max, Bytewise, RandomState::default(), Default::default());
        (bytes_max > 0).then(|| RowCache {
            rows: rows(),
            commits: Mutex::default(),
            is_behind: AtomicBool::new(false),
        })
    }

    /// The row, if it is here; if not, fjall may have it.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let is_behind = self.is_behind.load(Ordering::Acquire);
        if is_behind { None } else { self.rows.get(key).map(Bytes::from) }
    }

    /// Commits by `commit`, and keeps what it changed. A commit that fails leaves nothing here.
    pub(crate) fn through<E>(
        &self,
        changes: &[Change],
        commit: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let entities = || changes.iter().filter(|change| change.table == Table::Entities);
        if entities().next().is_none() {
            return commit();
        }
        let _in_order = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_behind.store(true, Ordering::Release);
        let committed = commit();
        match &committed {
            Err(_) => self.rows.clear(),
            Ok(()) => entities().for_each(|Change { key, value, .. }| match value {
                Some(value) => self.rows.insert(Key::from_slice(key), value[..].into()),
                None => drop(self.rows.remove(&key[..])),
            }),
        }
        self.is_behind.store(false, Ordering::Release);
        committed
    }
}

impl fmt::Debug for RowCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowCache").field("bytes", &self.rows.weight()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use archipelago_store::Batch;

    use super::*;

    fn put(cache: &RowCache, key: &'static str, value: Option<Vec<u8>>) {
        let mut batch = Batch::new();
        match value {
            Some(value) => batch.put(Table::Entities, key, value),
            None => batch.remove(Table::Entities, key),
        }
        cache.through(&batch.into_changes(), || Ok::<_, ()>(())).unwrap();
    }

    #[test]
    fn the_last_commit_of_a_row_counts() {
        let cache = RowCache::new(1 << 20).unwrap();
        assert_eq!(cache.get(b"row"), None);
        put(&cache, "row", Some(vec![1]));
        put(&cache, "row", Some(vec![2; 100]));
        assert_eq!(cache.get(b"row").unwrap(), vec![2; 100]);
        put(&cache, "row", None);
        assert_eq!(cache.get(b"row"), None);
    }

    #[test]
    fn a_row_that_has_no_room_replaces_the_one_that_had() {
        let cache = RowCache::new(4_000).unwrap();
        put(&cache, "row", Some(vec![1]));
        assert!(cache.get(b"row").is_some());
        put(&cache, "row", Some(vec![2; 10_000]));
        assert_eq!(cache.get(b"row"), None);
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_written_again() {
        let cache = RowCache::new(100_000).unwrap();
        let write = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                let _read_first = cache.get(&number.to_be_bytes());
                let mut batch = Batch::new();
                batch.put(Table::Entities, number.to_be_bytes().to_vec(), vec![0; 100]);
                cache.through(&batch.into_changes(), || Ok::<_, ()>(())).unwrap();
                assert!(cache.rows.weight() <= 100_000);
            }
        };
        let kept = |numbers: std::ops::Range<u32>| {
            numbers.filter(|number| cache.get(&number.to_be_bytes()).is_some()).count()
        };
        // There is room for 500.
        write(0..10_000);
        let all = kept(0..10_000);
        assert!((400..=500).contains(&all), "{all}");
        // A few that are written now and again, however many others are written once in between.
        for round in 1..30 {
            write(0..300);
            write(round * 10_000..round * 10_000 + 100);
        }
        assert!(kept(0..300) >= 270, "{}", kept(0..300));
    }

    #[test]
    fn while_a_commit_is_under_way_and_after_one_that_failed_it_knows_nothing() {
        let cache = RowCache::new(1 << 20).unwrap();
        put(&cache, "row", Some(vec![1]));
        let mut batch = Batch::new();
        batch.put(Table::Entities, "other", vec![2]);
        let failed = cache.through(&batch.into_changes(), || {
            assert_eq!(cache.get(b"row"), None);
            Err("the disk is full")
        });
        assert!(failed.is_err());
        assert_eq!((cache.get(b"row"), cache.get(b"other")), (None, None));
        put(&cache, "row", Some(vec![3]));
        assert_eq!(cache.get(b"row").unwrap(), vec![3]);
    }

    #[test]
    fn other_tables_are_not_kept() {
        let cache = RowCache::new(1 << 20).unwrap();
        let mut batch = Batch::new();
        batch.put(Table::Meta, "row", vec![2]);
        cache.through(&batch.into_changes(), || Ok::<_, ()>(())).unwrap();
        assert_eq!(cache.get(b"row"), None);
    }
}
