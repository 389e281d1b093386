//! What the core of the leader–follower mode promises, whatever is delivered, in whatever pieces, and however often.

mod application;
mod election;
mod history;
mod proposer;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};

use archipelago_engine::leader_follower::{Application, KeyRow};
use archipelago_proto::{EntityId, Entry, Limits, Operation, PutKind, Text, encode_value};
use bytes::Bytes;
use proptest::prelude::*;

fn value(text: &str) -> Bytes {
    encode_value(text, &Limits::default()).expect("small")
}

fn key() -> impl Strategy<Value = EntityId> {
    "[a-h]".prop_map(Text::from)
}

/// What an entry may do that does not start a term. Few keys, so that they meet.
fn operation() -> impl Strategy<Value = Operation> {
    let node = || "[xyz]".prop_map(Text::from);
    prop_oneof![
        4 => (key(), "[a-z]{0,9}")
            .prop_map(|(key, text)| Operation::Put { key, value: value(&text), kind: PutKind::Upsert }),
        2 => key().prop_map(|key| Operation::Delete { key }),
        1 => node().prop_map(|node| Operation::Register { node }),
        1 => node().prop_map(|node| Operation::Unregister { node }),
        1 => Just(Operation::Nothing),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(operation().prop_map(Entry::new), 0..60)
}

/// What a node has stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    rows: BTreeMap<EntityId, KeyRow>,
    digest: u128,
    count: i64,
    followers: BTreeSet<Text>,
}

impl Stored {
    /// The state after these entries, by their meaning alone.
    fn by_meaning(entries: &[Entry]) -> Stored {
        let mut stored = Stored::default();
        for (version, entry) in (1..).zip(entries) {
            match &entry.operation {
                Operation::Put { key, value, .. } => {
                    stored.rows.insert(key.clone(), KeyRow { version, value: value.clone() });
                }
                Operation::Delete { key } => {
                    stored.rows.remove(key);
                }
                Operation::Register { node } => {
                    stored.followers.insert(node.clone());
                }
                Operation::Unregister { node } => {
                    stored.followers.remove(node);
                }
                _ => {}
            }
        }
        stored.sum_up();
        stored
    }

    /// Digest and count, from nothing but the rows.
    fn sum_up(&mut self) {
        let digests = self.rows.iter().map(|(key, row)| row.digest(key));
        self.digest = digests.fold(0, u128::wrapping_add);
        self.count = self.rows.len().try_into().expect("few");
    }

    fn row(&self, key: &EntityId) -> Result<Option<KeyRow>, std::convert::Infallible> {
        Ok(self.rows.get(key).cloned())
    }

    /// Collects what entries change from this index on.
    fn apply(&self, application: &mut Application, first: u64, entries: &[Entry]) {
        for (index, entry) in (first..).zip(entries) {
            let Ok(()) = application.apply(index, entry, &self.followers, |key| self.row(key));
        }
    }

    fn store(&mut self, application: Application) {
        for (key, row) in application.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.digest = self.digest.wrapping_add(application.digest);
        self.count += application.rows_delta;
        if let Some(followers) = application.followers {
            self.followers = followers;
        }
    }

    /// Applies entries from this index on in groups of these sizes, again and again, each stored before the next.
    fn take(&mut self, first: u64, entries: &[Entry], sizes: &[usize]) {
        let (mut first, mut rest) = (first, entries);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                return;
            }
            let (group, behind) = rest.split_at(rest.len().min(*size));
            let mut application = Application::default();
            self.apply(&mut application, first, group);
            self.store(application);
            first += group.len() as u64;
            rest = behind;
        }
    }
}

/// Sizes of groups or pages.
fn sizes(max: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..=max, 1..6)
}
