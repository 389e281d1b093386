use std::{collections::BTreeMap, convert::Infallible};

use archipelago_engine::leader_follower::{Application, History, KeyRow};
use archipelago_proto::{EntityId, EntryBatch};
use bytes::Bytes;

/// [`History`], which has no order and no hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Past {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) chain: u128,
}

impl From<History> for Past {
    fn from(History { index, term, chain }: History) -> Past {
        Past { index, term, chain }
    }
}

impl Past {
    pub(crate) fn history(self) -> History {
        History { index: self.index, term: self.term, chain: self.chain }
    }
}

/// What survives a crash of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) past: Past,
    /// What each key has, as it is stored.
    pub(crate) rows: BTreeMap<EntityId, Bytes>,
    pub(crate) digest: u128,
    pub(crate) count: i64,
}

impl Disk {
    /// Applies the entries of a batch but the first `known`, as a node does.
    pub(crate) fn apply(&mut self, batch: &EntryBatch, known: usize) {
        let mut application = Application::default();
        for (index, entry) in (batch.first_index..).zip(&batch.entries).skip(known) {
            let stored = |key: &EntityId| Ok::<_, Infallible>(self.row(key));
            let Ok(()) = application.apply(index, entry, &Default::default(), stored);
        }
        for (key, row) in application.rows {
            match row {
                Some(row) => self.rows.insert(key, row.encode()),
                None => self.rows.remove(&key),
            };
        }
        self.digest = self.digest.wrapping_add(application.digest);
        self.count += application.rows_delta;
        self.past = self.past.history().with(batch).into();
    }

    pub(crate) fn row(&self, key: &EntityId) -> Option<KeyRow> {
        self.rows.get(key).and_then(KeyRow::decode)
    }

    pub(crate) fn version(&self, key: &EntityId) -> Option<u64> {
        self.row(key).map(|row| row.version)
    }
}
