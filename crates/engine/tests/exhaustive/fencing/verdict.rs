use std::collections::BTreeMap;

use archipelago_engine::leader_follower::{History, KeyRow, Verdict};
use archipelago_proto::{EntityId, Operation};
use bytes::Bytes;

use super::{
    batches::{BatchId, Batches},
    disk::Past,
    node::Node,
};

/// What a log means, to whoever reads it from its beginning.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The batches that count.
    pub(crate) batches: Vec<BatchId>,
    /// After each index, from 0 on: the history, and the rows by the meaning of the entries alone.
    after: Vec<(Past, BTreeMap<EntityId, Bytes>)>,
}

impl Counted {
    /// Reads a log, or tells what must not be in one.
    pub(crate) fn read(log: &[BatchId], batches: &Batches) -> Result<Counted, String> {
        let mut history = History::default();
        let mut rows = BTreeMap::new();
        let mut counted = Counted { batches: Vec::new(), after: vec![(Past::default(), rows.clone())] };
        let mut leaders: BTreeMap<u64, usize> = BTreeMap::new();
        for number in log {
            let authored = batches.of(*number);
            let batch = &authored.batch;
            match history.judge(batch) {
                Verdict::New { known: 0 } => {}
                // Of messages that a deposed leader has under way, one may come just when the log is as long as it expects.
                Verdict::Stale | Verdict::Known => continue,
                verdict => return Err(format!("{verdict:?} without any loss: {batch:?}")),
            }
            let leader = *leaders.entry(batch.term).or_insert(authored.node);
            if leader != authored.node {
                return Err(format!("entries of two leaders count in term {}: {batch:?}", batch.term));
            }
            for (index, entry) in (batch.first_index..).zip(&batch.entries) {
                if let Operation::Put { key, value, .. } = &entry.operation {
                    let standing: Option<u64> = rows.get(key).and_then(KeyRow::decode).map(|row| row.version);
                    if authored.demanded.is_some_and(|demanded| demanded != standing.unwrap_or(0)) {
                        return Err(format!("the key has version {standing:?} before {authored:?}"));
                    }
                    rows.insert(key.clone(), KeyRow { version: index, value: value.clone() }.encode());
                }
            }
            history = history.with(batch);
            assert_eq!(batch.entries.len(), 1, "each batch of this model has one entry");
            counted.after.push((history.into(), rows.clone()));
            counted.batches.push(*number);
        }
        Ok(counted)
    }

    /// That a node has applied a beginning of what counts, and nothing else.
    pub(crate) fn check(&self, node: &Node) -> Result<(), String> {
        let disk = &node.disk;
        let index = usize::try_from(disk.past.index).expect("small");
        let Some((past, rows)) = self.after.get(index) else {
            return Err(format!("{disk:?} has more than the log"));
        };
        let digests = disk.rows.iter().map(|(key, row)| KeyRow::decode(row).map_or(0, |row| row.digest(key)));
        let digest = digests.fold(0, u128::wrapping_add);
        let is_same = *past == disk.past && *rows == disk.rows && digest == disk.digest;
        match is_same && disk.count == i64::try_from(disk.rows.len()).expect("small") {
            true => Ok(()),
            false => Err(format!("{disk:?} is not what the log says: {past:?} {rows:?}")),
        }
    }
}
