use std::collections::{BTreeMap, BTreeSet, HashMap};

use archipelago::{
    Strategy,
    clock::{Dot, Hlc, VersionVector},
};

use super::{
    DemoError,
    island::{Island, unexpected},
    ledger::{Acknowledged, Ledger},
    protocol::{Answer, Holding, Request},
    records::Record,
};

/// How many entities are asked for at once.
const PAGE: usize = 500;

/// What the masters hold in the end, compared with what they acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Of the state of each master.
    pub(crate) digests: Vec<String>,
    pub(crate) vectors: Vec<VersionVector>,
    /// How many records are visible on all masters.
    pub(crate) records: u64,
    /// How many acknowledged writes are missing on some master.
    pub(crate) lost: u64,
    /// One of them, for a person to read.
    pub(crate) example: Option<String>,
}

impl Proof {
    /// Looks at every record of every master.
    pub(crate) async fn gather(
        islands: &[Island],
        records: &[Record],
        ledger: &Ledger,
        strategy: Strategy,
    ) -> Result<Proof, DemoError> {
        let mut proof = Proof::default();
        let places = Places::new(ledger.all(), strategy);
        let mut lost: BTreeMap<&Dot, String> = BTreeMap::new();
        let mut on_all: Option<BTreeSet<String>> = None;
        for island in islands {
            let (vector, digest) = digest(island).await?;
            for write in ledger.all().iter().filter(|write| !vector.contains(&write.dot)) {
                lost.entry(&write.dot)
                    .or_insert_with(|| format!("{} never came to {}", write.dot, island.name));
            }
            for (record, holdings) in holdings(island, records).await?.iter().enumerate() {
                for write in places.lost(record, holdings) {
                    let id = &records[record].id;
                    let describe = || format!("{} of {id:?} has no effect on {}", write.dot, island.name);
                    lost.entry(&write.dot).or_insert_with(describe);
                }
            }
            let ids = ids(island).await?;
            on_all = Some(match on_all {
                None => ids,
                Some(others) => others.intersection(&ids).cloned().collect(),
            });
            proof.vectors.push(vector);
            proof.digests.push(digest);
        }
        proof.records = on_all.map_or(0, |ids| ids.len() as u64);
        proof.lost = lost.len() as u64;
        proof.example = lost.into_values().next();
        Ok(proof)
    }

    /// Whether the masters agree.
    pub(crate) fn converged(&self) -> bool {
        let equal_vectors = self.vectors.windows(2).all(|pair| pair[0] == pair[1]);
        equal_vectors && !self.digests.is_empty() && self.digests.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// The verdict.
    pub(crate) fn check(&self, loaded: u64) -> Result<(), DemoError> {
        if self.lost > 0 {
            let example = self.example.clone().unwrap_or_default();
            return Err(DemoError::Lost { lost: self.lost, example });
        }
        if !self.converged() {
            return Err(DemoError::Diverged { digests: self.digests.clone() });
        }
        if self.records != loaded {
            return Err(DemoError::RecordsMissing { loaded, present: self.records });
        }
        Ok(())
    }
}

async fn digest(island: &Island) -> Result<(VersionVector, String), DemoError> {
    match island.ask(Request::Digest).await? {
        Answer::Digest { vector, digest } => Ok((vector, digest)),
        other => Err(unexpected(&other).of(island.name)),
    }
}

async fn ids(island: &Island) -> Result<BTreeSet<String>, DemoError> {
    let mut ids = BTreeSet::new();
    loop {
        let after = ids.last().cloned();
        match island.ask(Request::Ids { after, count: PAGE }).await? {
            Answer::Ids(page) if page.is_empty() => return Ok(ids),
            Answer::Ids(page) => ids.extend(page),
            other => return Err(unexpected(&other).of(island.name)),
        }
    }
}

/// What the master holds of each record.
async fn holdings(island: &Island, records: &[Record]) -> Result<Vec<Vec<Holding>>, DemoError> {
    let mut all = Vec::with_capacity(records.len());
    for page in records.chunks(PAGE) {
        let entities = page.iter().map(|record| record.id.clone()).collect();
        match island.ask(Request::Holdings { entities }).await? {
            Answer::Holdings(held) if held.len() == page.len() => all.extend(held),
            other => return Err(unexpected(&other).of(island.name)),
        }
    }
    Ok(all)
}

/// For each place that holds one value (a record, or under field merge a field of it) the acknowledged write that must
/// win it: the one with the greatest stamp. Only a later write, which nobody acknowledged, may hold it instead.
struct Places<'a> {
    strategy: Strategy,
    best: HashMap<usize, BTreeMap<&'a str, &'a Acknowledged>>,
}

/// The place of a record that has but one.
const WHOLE: &str = "";

impl<'a> Places<'a> {
    fn new(acknowledged: &'a [Acknowledged], strategy: Strategy) -> Places<'a> {
        let mut best: HashMap<usize, BTreeMap<&str, &Acknowledged>> = HashMap::new();
        for write in acknowledged {
            let places = best.entry(write.record).or_default();
            let mut contend = |place: &'a str| {
                let winner = places.entry(place).or_insert(write);
                if (write.hlc, &write.dot) > (winner.hlc, &winner.dot) {
                    *winner = write;
                }
            };
            match strategy {
                Strategy::FieldMerge => write.fields.keys().for_each(|field| contend(field)),
                _ => contend(WHOLE),
            }
        }
        Places { strategy, best }
    }

    /// The acknowledged writes that should be seen in what is held of the record and are not.
    fn lost(&self, record: usize, holdings: &[Holding]) -> Vec<&'a Acknowledged> {
        let places = self.best.get(&record).into_iter().flatten();
        let lost = places.filter(|(place, best)| match self.strategy {
            Strategy::FieldMerge => {
                let mut held = holdings.iter().filter(|held| held.fields.contains_key(**place));
                !held.any(|held| shows(held, best, |field| field == **place))
            }
            _ => !holdings.iter().any(|held| shows(held, best, |_| true)),
        });
        lost.map(|(_, best)| *best).collect()
    }
}

/// Whether what is held is the write, with those of its values that `relevant` picks, or a later one.
fn shows(held: &Holding, write: &Acknowledged, relevant: impl Fn(&str) -> bool) -> bool {
    let stamp = |hlc: Hlc, dot: &Dot| (hlc, dot.clone());
    if held.dot != write.dot {
        return stamp(held.hlc, &held.dot) > stamp(write.hlc, &write.dot);
    }
    let mut fields = write.fields.iter().filter(|(name, _)| relevant(name));
    fields.all(|(name, value)| held.fields.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use archipelago::clock::{Incarnation, ReplicaId};

    use super::*;

    fn dot(name: &str, sequence: u64) -> Dot {
        Dot::new(ReplicaId::new(name, Incarnation::from_bits(1)).unwrap(), sequence)
    }

    fn fields(fields: &[(&str, u64)]) -> BTreeMap<String, u64> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn wrote(name: &str, ms: u64, of: &[(&str, u64)]) -> Acknowledged {
        Acknowledged { record: 0, dot: dot(name, ms), hlc: Hlc::new(ms, 0), fields: fields(of) }
    }

    fn holds(name: &str, ms: u64, of: &[(&str, u64)]) -> Holding {
        Holding { dot: dot(name, ms), hlc: Hlc::new(ms, 0), fields: fields(of) }
    }

    fn lost(strategy: Strategy, acknowledged: &[Acknowledged], held: &[Holding]) -> Vec<Dot> {
        Places::new(acknowledged, strategy).lost(0, held).iter().map(|write| write.dot.clone()).collect()
    }

    #[test]
    fn a_record_held_by_the_winner_or_a_later_write_is_sound() {
        let acknowledged = [wrote("a", 1, &[("x", 1)]), wrote("b", 2, &[("x", 2)])];
        assert_eq!(lost(Strategy::Lww, &acknowledged, &[holds("b", 2, &[("x", 2), ("y", 9)])]), []);
        assert_eq!(lost(Strategy::Lww, &acknowledged, &[holds("c", 3, &[("x", 7)])]), []);
    }

    #[test]
    fn a_record_held_by_an_older_write_or_with_another_value_is_a_loss() {
        let acknowledged = [wrote("a", 1, &[("x", 1)]), wrote("b", 2, &[("x", 2)])];
        for held in [vec![holds("a", 1, &[("x", 1)])], vec![holds("b", 2, &[("x", 1)])], vec![]] {
            assert_eq!(lost(Strategy::Lww, &acknowledged, &held), [dot("b", 2)]);
        }
    }

    #[test]
    fn under_field_merge_each_field_has_a_winner_of_its_own() {
        let acknowledged = [wrote("a", 1, &[("x", 1), ("y", 1)]), wrote("b", 2, &[("x", 2)])];
        let sound = [holds("a", 1, &[("y", 1)]), holds("b", 2, &[("x", 2)])];
        assert_eq!(lost(Strategy::FieldMerge, &acknowledged, &sound), []);
        let stale = [holds("a", 1, &[("x", 1), ("y", 1)])];
        assert_eq!(lost(Strategy::FieldMerge, &acknowledged, &stale), [dot("b", 2)]);
        let gone = [holds("b", 2, &[("x", 2)])];
        assert_eq!(lost(Strategy::FieldMerge, &acknowledged, &gone), [dot("a", 1)]);
    }
}
