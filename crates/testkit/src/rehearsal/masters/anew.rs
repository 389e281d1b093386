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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use archipelago_clock::Incarnation;
    use archipelago_proto::{Body, Version};
    use archipelago_store::{Batch, Durability};

    use super::{
        super::platter::{Image, Recorder},
        *,
    };

    /// Notes what the replica has anew.
    struct Reader(ReplicaId, Mutex<Vec<(Option<Dot>, Dot)>>);

    impl Recorder for Reader {
        fn stored(&self, _: usize, stored: &Stored<'_>) {
            let found = in_commit(&self.0, stored).into_iter().map(|anew| (anew.former, anew.dot));
            self.1.lock().unwrap().extend(found);
        }
    }

    fn commit(platter: &Platter, table: &mut ReplicaTable, versions: &[(&Dot, u64)]) {
        let versions = versions.iter().map(|(dot, unix_ms)| Version {
            dot: (*dot).clone(),
            hlc: Hlc::new(*unix_ms, 0),
            body: Body::Tombstone,
        });
        let row = Record { versions: versions.collect() }.encode(table);
        let mut batch = Batch::new();
        for (number, replica) in table.replicas().iter().enumerate() {
            let number = u32::try_from(number).unwrap().to_be_bytes();
            batch.put(Table::Meta, [&b"replica/"[..], &number].concat(), replica.to_string());
        }
        batch.put(Table::Entities, &b"a"[..], row);
        platter.commit(batch, Durability::Os).unwrap();
    }

    #[test]
    fn what_is_made_anew_keeps_its_stamp_and_what_is_written_has_none_before() {
        let replica = |name| ReplicaId::new(name, Incarnation::from_bits(1)).unwrap();
        let (own, other) = (replica("own"), replica("other"));
        let dot = |replica: &ReplicaId, sequence| Dot::new(replica.clone(), sequence);
        let reader = Arc::new(Reader(own.clone(), Mutex::default()));
        let platter = Platter::new(0, 0, Image::new(), reader.clone());
        let (mut table, found) = (ReplicaTable::default(), || std::mem::take(&mut *reader.1.lock().unwrap()));

        let (theirs, stays, ours) = (dot(&other, 3), dot(&other, 4), dot(&own, 1));
        commit(&platter, &mut table, &[(&theirs, 7), (&stays, 8), (&ours, 9)]);
        assert_eq!(found(), [(None, ours.clone())], "it was written");

        let anew = dot(&own, 2);
        commit(&platter, &mut table, &[(&stays, 8), (&ours, 9), (&anew, 7)]);
        assert_eq!(found(), [(Some(theirs), anew.clone())], "it was there under another name");

        let later = dot(&own, 3);
        commit(&platter, &mut table, &[(&later, 10)]);
        assert_eq!(found(), [(None, later)], "it came in the place of others");
    }
}
