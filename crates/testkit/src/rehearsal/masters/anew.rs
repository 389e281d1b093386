use std::ops::Bound;

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::{EntityId, Limits, Record, ReplicaTable};
use archipelago_store::{Store, Table};
use bytes::Bytes;

use super::platter::{Platter, Stored};

/// A live version under a name of the master that has it, which it had not there before.
#[derive(Debug)]
pub(super) struct Anew {
    pub(super) entity: EntityId,
    pub(super) hlc: Hlc,
    /// The name of what went in the same commit, if it is of the same moment: a write that is made anew keeps its stamp.
    pub(super) former: Option<Dot>,
    pub(super) dot: Dot,
}

/// What a commit of the master `own` has of its own that was not there before. A master tells how many writes it made
/// anew, and not which: that is read off its disk.
pub(super) fn in_commit(own: &ReplicaId, stored: &Stored<'_>) -> Vec<Anew> {
    let table = replicas(stored.platter);
    let of_entities = stored.batch.changes().iter().filter(|change| change.table == Table::Entities);
    let before = stored.replaced.get(&Table::Entities);
    let mut found = Vec::new();
    for change in of_entities {
        let Some(value) = &change.value else { continue };
        let Some(entity) = EntityId::from_utf8(change.key.clone()) else { continue };
        let now = record(value, &table);
        let before = before.and_then(|rows| rows.get(&change.key)).map(|row| record(row, &table));
        let before = before.unwrap_or_default();
        let has = |record: &Record, dot: &Dot| record.versions.iter().any(|version| version.dot == *dot);
        let mut gone: Vec<(Hlc, Dot)> = before
            .versions
            .iter()
            .filter(|version| !has(&now, &version.dot))
            .map(|version| (version.hlc, version.dot.clone()))
            .collect();
        gone.sort();
        // Of equal stamps the greater name stays the greater one.
        let mut versions: Vec<_> = now.versions.iter().collect();
        versions.sort_by(|one, other| one.dot.cmp(&other.dot));
        for version in versions.into_iter().filter(|version| version.dot.actor == *own) {
            if has(&before, &version.dot) {
                continue;
            }
            let at = gone.iter().position(|(hlc, _)| *hlc == version.hlc);
            let former = at.map(|at| gone.remove(at).1);
            found.push(Anew { entity: entity.clone(), hlc: version.hlc, former, dot: version.dot.clone() });
        }
    }
    found
}

fn record(row: &Bytes, table: &ReplicaTable) -> Record {
    let record = Record::decode(row.clone(), table, &Limits::default());
    record.expect("a master stores what it can read")
}

fn replicas(platter: &Platter) -> ReplicaTable {
    let (from, to) = (Bound::Included(&b"replica/"[..]), Bound::Excluded(&b"replica0"[..]));
    let rows = platter.scan(Table::Meta, from, to, usize::MAX).expect("a platter can be read");
    let replicas = rows.iter().map(|row| {
        let text = std::str::from_utf8(&row.value).expect("a replica is a text");
        text.parse().expect("a master stores what it can read")
    });
    ReplicaTable::new(replicas.collect())
}
