//! What the rows of a master's store must agree on, whatever happened to the process that wrote them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::{Attention, StrategyTable};
use archipelago_engine::{Engine, EngineConfig, Restored, StateDigest, is_contested, tombstones};
use archipelago_proto::{EntityId, Event, EventBatch, Limits, Member, Record, ReplicaTable, decode_members};
use archipelago_store::{Row, Store, Table};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A master as it lies in its store, found consistent.
///
/// [`read`](Self::read) goes by `docs/FORMAT.md`, not by the code that writes the rows. It checks that
///
/// - every row of the master decodes, and every replica, vector entry and member in it is known,
/// - the vector covers every live version, and the ceiling of the clock is above every stamp,
/// - the index of live writes has exactly the live versions of the records, and that of tombstones exactly their tombstones,
/// - the entities that wait for a resolution are exactly those that are contested and whose strategy asks for it,
/// - what may be reclaimed below the floor is below the floor,
/// - the outbox has whole messages, in order, without overlap, of own writes that the vector covers.
///
/// That the state is what the writes in the vector make of it only those can tell who know the writes: compare the
/// `digest`.
///
/// ```
/// use archipelago_conflict::StrategyTable;
/// use archipelago_store::MemoryStore;
/// use archipelago_testkit::StoredMaster;
///
/// assert!(StoredMaster::read(&MemoryStore::new(), &StrategyTable::default())?.is_none());
/// # Ok::<(), archipelago_testkit::Inconsistency>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredMaster {
    /// Its identity.
    pub replica: ReplicaId,
    /// Its namespace.
    pub namespace: String,
    /// What it has applied.
    pub vector: VersionVector,
    /// The ceiling of its clock: no stamp that it gave out or took in is above.
    pub hlc_ceiling: Hlc,
    /// The members that it knows.
    pub members: Vec<Member>,
    /// Below what tombstones can be reclaimed.
    pub floor: VersionVector,
    /// Its entities, removed ones of which a tombstone is left included.
    pub entities: BTreeMap<EntityId, Record>,
    /// The digest of those.
    pub digest: StateDigest,
    /// The writes that wait for the pipeline, under this identity or earlier ones of the same name, in the order of the
    /// store.
    pub outbox: Vec<Event>,
    /// How many rows are staged of imports and repairs.
    pub staged: usize,
}

/// Rows of a store that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is inconsistent: {0}")]
pub struct Inconsistency(String);

impl StoredMaster {
    /// Reads all rows of a master and checks what they must agree on; `None` if the store is empty. `strategies` are those
    /// of the master.
    ///
    /// # Errors
    /// [`Inconsistency`], the first that is found.
    pub fn read(store: &dyn Store, strategies: &StrategyTable) -> Result<Option<Self>, Inconsistency> {
        let meta = Meta(rows(store, Table::Meta)?.into_iter().map(|row| (row.key, row.value)).collect());
        if meta.0.is_empty() {
            for table in Table::ALL {
                agree(rows(store, table)?.is_empty(), || {
                    format!("{table:?} has rows, {:?} none", Table::Meta)
                })?;
            }
            return Ok(None);
        }
        agree(meta.word::<4>("format")? == 4u32.to_be_bytes(), || "it is of another format".into())?;
        let replicas = meta.replicas()?;
        let master = StoredMaster {
            replica: meta.parsed("identity")?,
            namespace: meta.parsed("namespace")?,
            vector: meta.vector(&replicas)?,
            hlc_ceiling: match meta.0.contains_key(&b"hlc_ceiling"[..]) {
                true => Hlc::from_bits(u64::from_be_bytes(meta.word::<8>("hlc_ceiling")?)),
                false => Hlc::ZERO,
            },
            members: match meta.0.get(&b"members"[..]) {
                Some(row) => decode_members(row.clone(), &Limits::default()).map_err(of("members"))?,
                None => Vec::new(),
            },
            floor: meta.plain("floor")?,
            entities: entities(store, &replicas)?,
            digest: StateDigest::new(),
            outbox: Vec::new(),
            staged: rows(store, Table::Staged)?.len(),
        };
        agree(rows(store, Table::Tail)?.is_empty(), || "it has entries of a leader's log".into())?;
        let reclaimed: VersionVector = meta.plain("reclaimed")?;
        let heard: BTreeMap<ReplicaId, VersionVector> = meta.plain("heard")?;
        agree(master.floor.dominates(&reclaimed), || {
            format!("what may be reclaimed, {reclaimed}, is above the floor, {}", master.floor)
        })?;
        master.check_stamps()?;
        master.check_indexes(store, &replicas, strategies)?;
        master.check_pending(store, strategies)?;
        let outbox = master.outbox(store)?;
        let digest = master.digest(replicas, heard, reclaimed, strategies)?;
        Ok(Some(StoredMaster { outbox, digest, ..master }))
    }

    /// The greatest stamp of a live version.
    pub fn last_stamp(&self) -> Hlc {
        let versions = self.entities.values().flat_map(|record| &record.versions);
        versions.map(|version| version.hlc).max().unwrap_or(Hlc::ZERO)
    }

    fn check_stamps(&self) -> Result<(), Inconsistency> {
        for (entity, record) in &self.entities {
            for version in &record.versions {
                let (dot, hlc) = (&version.dot, version.hlc);
                agree(self.vector.contains(dot), || {
                    format!("{entity} has {dot}, the vector is {}", self.vector)
                })?;
                agree(hlc <= self.hlc_ceiling, || {
                    format!("{dot} is of {hlc}, the ceiling is {}", self.hlc_ceiling)
                })?;
            }
        }
        Ok(())
    }

    fn check_indexes(
        &self,
        store: &dyn Store,
        replicas: &ReplicaTable,
        strategies: &StrategyTable,
    ) -> Result<(), Inconsistency> {
        let row = |dot: &Dot, entity: &EntityId| {
            let number = replicas.number(&dot.actor).expect("it was read by its number");
            [&number.to_be_bytes()[..], &dot.sequence.to_be_bytes(), entity.as_bytes()].concat()
        };
        let (mut live, mut stones) = (BTreeSet::new(), BTreeSet::new());
        for (entity, record) in &self.entities {
            live.extend(record.versions.iter().map(|version| row(&version.dot, entity)));
            let family = strategies.strategy(entity).family();
            stones.extend(tombstones(record, family).map(|dot| row(dot, entity)));
        }
        let indexed_stones =
            rows(store, Table::Tombstones)?.into_iter().map(|row| row.key.to_vec()).collect();
        let (indexed_live, indexed_stones): (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) =
            (indexed_live(store)?, indexed_stones);
        let indexes = [(Table::Live, indexed_live, live), (Table::Tombstones, indexed_stones, stones)];
        for (table, found, of_records) in indexes {
            let differs = found.symmetric_difference(&of_records).next();
            agree(differs.is_none(), || {
                let row = differs.map(|row| row.escape_ascii().to_string()).unwrap_or_default();
                format!("{table:?} and the records disagree on {row}")
            })?;
        }
        Ok(())
    }

    fn check_pending(&self, store: &dyn Store, strategies: &StrategyTable) -> Result<(), Inconsistency> {
        let waits = |(entity, record): &(&EntityId, &Record)| {
            strategies.strategy(entity).attention() == Attention::Resolve && is_contested(record)
        };
        let of_records: Vec<&[u8]> =
            self.entities.iter().filter(waits).map(|(id, _)| &id.as_bytes()[..]).collect();
        let found = rows(store, Table::Pending)?;
        agree(found.iter().map(|row| &row.key[..]).eq(of_records), || {
            "the entities that wait for a resolution are not those that are contested".into()
        })
    }

    fn outbox(&self, store: &dyn Store) -> Result<Vec<Event>, Inconsistency> {
        let mut events: Vec<Event> = Vec::new();
        for row in rows(store, Table::Outbox)? {
            let words: Vec<u64> = row
                .key
                .chunks(8)
                .filter_map(|word| Some(u64::from_be_bytes(word.try_into().ok()?)))
                .collect();
            let [incarnation, first, last] = words[..] else {
                return Err(Inconsistency(format!("{} is no key of the outbox", row.key.escape_ascii())));
            };
            let batch =
                EventBatch::decode(row.value, &Limits::default()).map_err(of("a message of the outbox"))?;
            agree(batch.namespace == self.namespace, || {
                format!("a message in the outbox is of {}", batch.namespace)
            })?;
            let origin = ReplicaId::new(self.replica.name(), Incarnation::from_bits(incarnation))
                .map_err(of("a key of the outbox"))?;
            let expected = (first..=last).map(|sequence| Dot::new(origin.clone(), sequence));
            agree(batch.events.iter().map(|event| event.dot.clone()).eq(expected), || {
                format!("the row of the outbox for {first} to {last} holds other writes")
            })?;
            let overlaps =
                events.last().is_some_and(|event| event.dot.actor == origin && event.dot.sequence >= first);
            agree(!overlaps, || format!("the outbox has {first} of {origin} twice"))?;
            agree(self.vector.get(&origin) >= last, || {
                format!("the outbox has {last} of {origin}, the vector {}", self.vector.get(&origin))
            })?;
            events.extend(batch.events);
        }
        Ok(events)
    }

    fn digest(
        &self,
        replicas: ReplicaTable,
        heard: BTreeMap<ReplicaId, VersionVector>,
        reclaimed: VersionVector,
        strategies: &StrategyTable,
    ) -> Result<StateDigest, Inconsistency> {
        let config = EngineConfig {
            strategies: strategies.clone(),
            ..EngineConfig::new(self.namespace.clone(), self.replica.clone())
        };
        let mut table = replicas.clone();
        let restored = Restored {
            vector: self.vector.clone(),
            hlc_ceiling: self.hlc_ceiling,
            replicas,
            has_run: true,
            doubtful_above: None,
            checkpoint: 0,
            members: self.members.clone(),
            heard,
            floors: (self.floor.clone(), reclaimed),
            // Of no concern to the digest.
        };
        let mut engine = Engine::new(config, restored);
        for (entity, record) in &self.entities {
            engine.restore(entity, record.encode(&mut table)).map_err(of("a record"))?;
        }
        Ok(engine.digest().clone())
    }
}

struct Meta(BTreeMap<Bytes, Bytes>);

impl Meta {
    fn row(&self, name: &str) -> Result<&Bytes, Inconsistency> {
        self.0.get(name.as_bytes()).ok_or_else(|| Inconsistency(format!("{name} is missing")))
    }

    fn word<const N: usize>(&self, name: &str) -> Result<[u8; N], Inconsistency> {
        fixed(name, self.row(name)?)
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T, Inconsistency> {
        let text = std::str::from_utf8(self.row(name)?).ok().and_then(|text| text.parse().ok());
        text.ok_or_else(|| Inconsistency(format!("{name} cannot be read")))
    }

    fn plain<T: Default + DeserializeOwned>(&self, name: &str) -> Result<T, Inconsistency> {
        let row = self.0.get(name.as_bytes());
        row.map_or_else(|| Ok(T::default()), |row| rmp_serde::from_slice(row).map_err(of(name)))
    }

    fn numbered<'m>(
        &'m self,
        prefix: &'m str,
    ) -> impl Iterator<Item = Result<(u32, &'m Bytes), Inconsistency>> + 'm {
        let rows = self.0.iter().filter(move |(key, _)| key.starts_with(prefix.as_bytes()));
        rows.map(move |(key, value)| Ok((u32::from_be_bytes(fixed(prefix, &key[prefix.len()..])?), value)))
    }

    fn replicas(&self) -> Result<ReplicaTable, Inconsistency> {
        let mut replicas: Vec<ReplicaId> = Vec::new();
        for row in self.numbered("replica/") {
            let (number, text) = row?;
            agree(number as usize == replicas.len(), || format!("the replica before {number} is missing"))?;
            let replica = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            let replica = replica.ok_or_else(|| Inconsistency(format!("replica {number} cannot be read")))?;
            agree(!replicas.contains(&replica), || format!("{replica} has two numbers"))?;
            replicas.push(replica);
        }
        Ok(ReplicaTable::new(replicas))
    }

    fn vector(&self, replicas: &ReplicaTable) -> Result<VersionVector, Inconsistency> {
        let mut vector = VersionVector::new();
        for row in self.numbered("vector/") {
            let (number, sequence) = row?;
            let replica = replicas.replica(number.into());
            let replica = replica.ok_or_else(|| Inconsistency(format!("nobody has the number {number}")))?;
            vector.raise(replica.clone(), u64::from_be_bytes(fixed("a vector entry", sequence)?));
        }
        Ok(vector)
    }
}

fn entities(store: &dyn Store, replicas: &ReplicaTable) -> Result<BTreeMap<EntityId, Record>, Inconsistency> {
    let mut entities = BTreeMap::new();
    for row in rows(store, Table::Entities)? {
        let id = EntityId::from_utf8(row.key).ok_or_else(|| Inconsistency("an id is not UTF-8".into()))?;
        let record = Record::decode(row.value, replicas, &Limits::default()).map_err(of(&id))?;
        agree(!record.versions.is_empty(), || format!("nothing is left of {id}, and it has a row"))?;
        entities.insert(id, record);
    }
    Ok(entities)
}

fn rows(store: &dyn Store, table: Table) -> Result<Vec<Row>, Inconsistency> {
    store.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).map_err(of(table.name()))
}

/// What the index of live writes comes to: for each live write its replica, sequence and entity, as in the key of a single.
fn indexed_live(store: &dyn Store) -> Result<BTreeSet<Vec<u8>>, Inconsistency> {
    let (mut runs, mut live, mut removals_end) = (BTreeMap::new(), BTreeSet::new(), None);
    // In order of key, so that removals come after the runs.
    for Row { key, value } in rows(store, Table::Live)? {
        let Some((place, entity)) = key.split_at_checked(12) else {
            return Err(Inconsistency(format!("{} is no key of {:?}", key.escape_ascii(), Table::Live)));
        };
        let number = u64::from_be_bytes(fixed("a place", &place[4..])?);
        if !entity.is_empty() {
            agree(value.is_empty(), || format!("{} has a value", key.escape_ascii()))?;
            live.insert(key.to_vec());
        } else if place[..4] == [0xff; 4] {
            agree(removals_end.is_none_or(|end| end == number), || {
                format!("removals before {number} are missing")
            })?;
            removals_end = Some(number + 1);
            let removals: Vec<(u32, u64)> = rmp_serde::from_slice(&value).map_err(of("removals"))?;
            for (replica, sequence) in removals {
                runs.remove(&(replica.to_be_bytes().to_vec(), sequence));
            }
        } else {
            let run: Vec<(u8, String)> = rmp_serde::from_slice(&value).map_err(of("a run"))?;
            let block = number / 64 * 64;
            let first = run.first().map(|(at, _)| block + u64::from(*at));
            agree(first == Some(number), || format!("a run at {number} begins with {first:?}"))?;
            agree(run.windows(2).all(|pair| pair[0].0 < pair[1].0), || {
                format!("the run at {number} has no order")
            })?;
            agree(run.iter().all(|(at, _)| *at < 64), || format!("the run at {number} leaves its block"))?;
            for (at, entity) in run {
                let again = runs.insert((place[..4].to_vec(), block + u64::from(at)), entity);
                agree(again.is_none(), || format!("two runs have {}", block + u64::from(at)))?;
            }
        }
    }
    let of_runs = runs.into_iter().map(|((replica, sequence), entity)| {
        [&replica[..], &sequence.to_be_bytes(), entity.as_bytes()].concat()
    });
    live.extend(of_runs);
    Ok(live)
}

fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], Inconsistency> {
    bytes.try_into().map_err(|_| Inconsistency(format!("{what} has {} bytes instead of {N}", bytes.len())))
}

fn agree(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Inconsistency> {
    if holds { Ok(()) } else { Err(Inconsistency(otherwise())) }
}

fn of<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Inconsistency {
    move |error| Inconsistency(format!("{what}: {error}"))
}
