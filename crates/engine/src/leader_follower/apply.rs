use std::collections::{BTreeMap, BTreeSet};

use archipelago_proto::{EntityId, Entry, Operation, PutKind, Text};

use super::KeyRow;

/// What one entry did, for those who follow along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its index.
    pub index: u64,
    /// What it did.
    pub operation: Operation,
}

/// What entries change in the state of a node, collected until it is stored.
///
/// An entry leaves alone what a later one wrote: so the entries that came while the pages of a state were read can be
/// applied on top of those pages, which hold some of them already.
#[derive(Debug, Default)]
pub struct Application {
    /// The rows that changed: `None` is gone.
    pub rows: BTreeMap<EntityId, Option<KeyRow>>,
    /// By how much the digest of the state changed, modulo 2^128.
    pub digest: u128,
    /// By how much the number of rows changed.
    pub rows_delta: i64,
    /// The nodes that follow, if that changed.
    pub followers: Option<BTreeSet<Text>>,
}

impl Application {
    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.followers.is_none()
    }

    /// Applies an entry. `stored` gives what is stored of a key, and `followers` is what was known of them before.
    ///
    /// # Errors
    /// What `stored` says; nothing changed then.
    pub fn apply<E>(
        &mut self,
        index: u64,
        entry: &Entry,
        followers: &BTreeSet<Text>,
        stored: impl FnOnce(&EntityId) -> Result<Option<KeyRow>, E>,
    ) -> Result<(), E> {
        match &entry.operation {
            Operation::Put { key, value, .. } => {
                self.replace(key, Some(KeyRow { version: index, value: value.clone() }), index, stored)?;
            }
            Operation::Delete { key } => self.replace(key, None, index, stored)?,
            Operation::Register { node } => {
                self.followers.get_or_insert_with(|| followers.clone()).insert(node.detached());
            }
            Operation::Unregister { node } => {
                self.followers.get_or_insert_with(|| followers.clone()).remove(node);
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a row what another node holds of it, whatever is here.
    ///
    /// # Errors
    /// What `stored` says; nothing changed then.
    pub fn overwrite<E>(
        &mut self,
        key: &EntityId,
        row: Option<KeyRow>,
        stored: impl FnOnce(&EntityId) -> Result<Option<KeyRow>, E>,
    ) -> Result<(), E> {
        self.replace(key, row, u64::MAX, stored)
    }

    fn replace<E>(
        &mut self,
        key: &EntityId,
        row: Option<KeyRow>,
        index: u64,
        stored: impl FnOnce(&EntityId) -> Result<Option<KeyRow>, E>,
    ) -> Result<(), E> {
        let old = match self.rows.get(key) {
            Some(old) => old.clone(),
            None => stored(key)?,
        };
        if old.as_ref().is_some_and(|old| old.version > index) {
            return Ok(());
        }
        let digest = |row: &Option<KeyRow>| row.as_ref().map_or(0, |row| row.digest(key));
        self.digest = self.digest.wrapping_sub(digest(&old)).wrapping_add(digest(&row));
        self.rows_delta += i64::from(row.is_some()) - i64::from(old.is_some());
        self.rows.insert(key.clone(), row);
        Ok(())
    }
}

impl Applied {
    /// The key that was written, if it was one, and whether it has a value now.
    pub fn key(&self) -> Option<(&EntityId, Option<PutKind>)> {
        match &self.operation {
            Operation::Put { key, kind, .. } => Some((key, Some(*kind))),
            Operation::Delete { key } => Some((key, None)),
            _ => None,
        }
    }
}
