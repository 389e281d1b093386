//! What one replica asks of another to find out where their states differ, and the answer. The layout is described in
//! `docs/FORMAT.md`.

use archipelago_clock::{Dot, NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;

use crate::{
    DecodeError, EntityId, Limits, Record, ReplicaTable, delta,
    envelope::{self, EnvelopeKind},
    reader::{Reader, malformed, within},
    replica, vector,
    writer::Writer,
};

/// A question about what another replica has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateQuestion {
    /// The namespace that is asked about.
    pub namespace: String,
    /// Who asks.
    pub replica: ReplicaId,
    /// What is asked.
    pub about: StateAbout,
}

/// What is asked about a state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateAbout {
    /// The digests of its buckets, once all that is stored was read again.
    Buckets {
        /// The reading that is waited for; `None` to ask for one that begins after this.
        pass: Option<u64>,
    },
    /// The entities in some buckets, each with its digest, in order of id.
    Digests {
        /// The buckets.
        buckets: Vec<u8>,
        /// Where to go on: [`next`](StateTold::Digests) of the page before.
        after: Option<EntityId>,
    },
    /// What is held of some entities.
    Records {
        /// Each with the dots that are live in it where it is asked from.
        entities: Vec<(EntityId, Vec<Dot>)>,
    },
}

/// The answer to a [`StateQuestion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAnswer {
    /// The namespace.
    pub namespace: String,
    /// Who answers.
    pub replica: ReplicaId,
    /// The session of who answers.
    pub session: u64,
    /// What who answers had applied at the moment of which the answer tells.
    pub vector: VersionVector,
    /// Tombstones that this covers may be gone there.
    pub reclaimed: VersionVector,
    /// What was asked for.
    pub told: StateTold,
}

/// What is told about a state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateTold {
    /// All that is stored is being read again: ask again.
    Scrubbing {
        /// The reading to ask for.
        pass: u64,
    },
    /// The buckets of the digest.
    Buckets {
        /// Their sums, in order.
        buckets: Vec<u128>,
        /// Those in which something is stored that cannot be understood.
        unreadable: Vec<u8>,
    },
    /// Entities in the buckets that were asked about, in order of id. Those without a value are left out.
    Digests {
        /// Each with its digest; `None` if what is stored cannot be understood.
        entities: Vec<(EntityId, Option<u128>)>,
        /// Up to here all are told; `None` if these were the last.
        next: Option<EntityId>,
    },
    /// What is held of the first of the entities that were asked about: one at least, and as many as there was room for.
    Records {
        /// In the order in which they were asked about.
        entities: Vec<(EntityId, Holding)>,
    },
}

/// What a replica holds of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What is stored.
    pub content: HeldContent,
    /// It is not what the index of live writes has of it: it was changed by somebody else than the replica.
    pub is_at_odds: bool,
}

/// What is stored of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldContent {
    /// Nothing.
    Absent,
    /// This.
    Record(Record),
    /// Something that cannot be understood.
    Unreadable,
}

const QUESTION_ELEMENTS: usize = 4;
const ANSWER_ELEMENTS: usize = 8;

const BUCKETS: u64 = 1;
const DIGESTS: u64 = 2;
const RECORDS: u64 = 3;
const SCRUBBING: u64 = 4;

impl StateQuestion {
    /// Whether `message` says that it is such a question.
    pub fn is_one(message: &Bytes) -> bool {
        envelope::kind(message) == Some(EnvelopeKind::StateQuestion)
    }

    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::with_capacity(256);
        body.array(QUESTION_ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        match &self.about {
            StateAbout::Buckets { pass } => {
                body.unsigned(BUCKETS);
                write_optional(&mut body, pass.as_ref(), |body, pass| body.unsigned(*pass));
            }
            StateAbout::Digests { buckets, after } => {
                body.unsigned(DIGESTS);
                body.array(2);
                body.binary(buckets);
                write_optional(&mut body, after.as_ref(), |body, after| body.text(after));
            }
            StateAbout::Records { entities } => {
                body.unsigned(RECORDS);
                body.array(entities.len() * 2);
                for (entity, dots) in entities {
                    body.text(entity);
                    body.array(dots.len());
                    dots.iter().for_each(|dot| delta::write_dot(&mut body, Some(dot)));
                }
            }
        }
        envelope::seal(EnvelopeKind::StateQuestion, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<StateQuestion, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::StateQuestion, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("state question", QUESTION_ELEMENTS)?;
        let namespace = reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string();
        let replica = replica::read(&mut reader)?;
        let about = match reader.unsigned("question")? {
            BUCKETS => StateAbout::Buckets {
                pass: read_optional(&mut reader, "pass", |reader| reader.unsigned("pass"))?,
            },
            DIGESTS => {
                let more = reader.array_of_at_least("buckets asked about", 2)? - 2;
                let buckets = reader.binary("buckets", "buckets", 256)?.to_vec();
                let after = read_optional(&mut reader, "entity id", |reader| read_id(reader, limits))?;
                for _ in 0..more {
                    reader.skip("buckets asked about")?;
                }
                StateAbout::Digests { buckets, after }
            }
            RECORDS => StateAbout::Records { entities: read_asked(&mut reader, limits)? },
            found => return Err(DecodeError::Unknown { what: "question about a state", found }),
        };
        reader.end("state question", elements - QUESTION_ELEMENTS)?;
        Ok(StateQuestion { namespace, replica, about })
    }
}

fn read_asked(reader: &mut Reader, limits: &Limits) -> Result<Vec<(EntityId, Vec<Dot>)>, DecodeError> {
    let len = pairs(reader, "entities asked about")?;
    let mut entities = Vec::with_capacity(len);
    for _ in 0..len {
        let entity = read_id(reader, limits)?;
        let dots = reader.array("dots")?;
        let dots = (0..dots).map(|_| {
            delta::read_dot(reader)?.ok_or_else(|| malformed("dot", "expected a replica and a sequence"))
        });
        entities.push((entity, dots.collect::<Result<_, _>>()?));
    }
    Ok(entities)
}

impl StateAnswer {
    /// The message. Its size is not limited here.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::default();
        body.array(ANSWER_ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        body.unsigned(self.session);
        vector::write(&mut body, &self.vector);
        vector::write(&mut body, &self.reclaimed);
        let mut table = ReplicaTable::default();
        let mut told = Writer::default();
        let code = self.told.write(&mut told, &mut table);
        body.array(table.replicas().len());
        table.replicas().iter().for_each(|named| replica::write(&mut body, named));
        body.unsigned(code);
        body.raw(&told.into_vec());
        envelope::seal(EnvelopeKind::StateAnswer, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted. Records in it may hold whatever they hold where
    /// they are stored.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits, bytes_max: usize) -> Result<StateAnswer, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::StateAnswer, message, bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("state answer", ANSWER_ELEMENTS)?;
        let namespace = reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string();
        let replica = replica::read(&mut reader)?;
        let session = reader.unsigned("session")?;
        let vector = vector::read(&mut reader, limits)?;
        let reclaimed = vector::read(&mut reader, limits)?;
        let table = delta::read_table(&mut reader, limits)?;
        let told = StateTold::read(&mut reader, &table, limits)?;
        reader.end("state answer", elements - ANSWER_ELEMENTS)?;
        Ok(StateAnswer { namespace, replica, session, vector, reclaimed, told })
    }
}

impl StateTold {
    fn write(&self, body: &mut Writer, table: &mut ReplicaTable) -> u64 {
        match self {
            StateTold::Scrubbing { pass } => {
                body.unsigned(*pass);
                SCRUBBING
            }
            StateTold::Buckets { buckets, unreadable } => {
                body.array(2);
                body.array(buckets.len());
                buckets.iter().for_each(|bucket| body.binary(&bucket.to_be_bytes()));
                body.binary(unreadable);
                BUCKETS
            }
            StateTold::Digests { entities, next } => {
                body.array(2);
                body.array(entities.len() * 2);
                for (entity, digest) in entities {
                    body.text(entity);
                    write_optional(body, digest.as_ref(), |body, digest| body.binary(&digest.to_be_bytes()));
                }
                write_optional(body, next.as_ref(), |body, next| body.text(next));
                DIGESTS
            }
            StateTold::Records { entities } => {
                body.array(entities.len() * 3);
                for (entity, Holding { content, is_at_odds }) in entities {
                    body.text(entity);
                    match content {
                        HeldContent::Absent => body.nil(),
                        HeldContent::Record(record) => body.binary(&record.encode(table)),
                        // No record is empty.
                        HeldContent::Unreadable => body.binary(&[]),
                    }
                    body.unsigned(u64::from(*is_at_odds));
                }
                RECORDS
            }
        }
    }

    fn read(reader: &mut Reader, table: &ReplicaTable, limits: &Limits) -> Result<Self, DecodeError> {
        match reader.unsigned("answer")? {
            SCRUBBING => Ok(StateTold::Scrubbing { pass: reader.unsigned("pass")? }),
            BUCKETS => {
                two(reader)?;
                let len = reader.array("buckets")?;
                within("buckets", len, 256)?;
                let buckets = (0..len).map(|_| reader.u128("bucket")).collect::<Result<_, _>>()?;
                let unreadable = reader.binary("buckets", "buckets", 256)?.to_vec();
                Ok(StateTold::Buckets { buckets, unreadable })
            }
            DIGESTS => {
                two(reader)?;
                let len = pairs(reader, "digests")?;
                let mut entities = Vec::with_capacity(len);
                for _ in 0..len {
                    let entity = read_id(reader, limits)?;
                    entities.push((entity, read_optional(reader, "digest", |reader| reader.u128("digest"))?));
                }
                if entities.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                    return Err(malformed("digests", "they are not in order of id"));
                }
                let next = read_optional(reader, "entity id", |reader| read_id(reader, limits))?;
                Ok(StateTold::Digests { entities, next })
            }
            RECORDS => {
                let len = reader.array("holdings")?;
                if len % 3 != 0 {
                    return Err(malformed("holdings", "not a list of triples"));
                }
                let mut entities = Vec::with_capacity(len / 3);
                for _ in 0..len / 3 {
                    let entity = read_id(reader, limits)?;
                    let content = read_content(reader, table, limits)?;
                    let is_at_odds = reader.unsigned("at odds")? != 0;
                    entities.push((entity, Holding { content, is_at_odds }));
                }
                Ok(StateTold::Records { entities })
            }
            found => Err(DecodeError::Unknown { what: "answer about a state", found }),
        }
    }
}

fn read_content(
    reader: &mut Reader,
    table: &ReplicaTable,
    limits: &Limits,
) -> Result<HeldContent, DecodeError> {
    if reader.is_nil("record")? {
        return Ok(HeldContent::Absent);
    }
    let record = reader.binary("record", "batch_bytes_max", usize::MAX)?;
    if record.is_empty() {
        return Ok(HeldContent::Unreadable);
    }
    Ok(HeldContent::Record(Record::decode(record, table, limits)?))
}

fn two(reader: &mut Reader) -> Result<(), DecodeError> {
    match reader.array("answer")? {
        2 => Ok(()),
        elements => Err(malformed("answer", format!("{elements} elements instead of 2"))),
    }
}

fn pairs(reader: &mut Reader, what: &'static str) -> Result<usize, DecodeError> {
    let len = reader.array(what)?;
    if len % 2 != 0 {
        return Err(malformed(what, "not a list of pairs"));
    }
    Ok(len / 2)
}

fn read_id(reader: &mut Reader, limits: &Limits) -> Result<EntityId, DecodeError> {
    let entity = reader.text("entity id", "entity_id_bytes_max", limits.entity_id_bytes_max)?;
    if entity.is_empty() {
        return Err(malformed("entity id", "it is empty"));
    }
    Ok(entity)
}

fn write_optional<T>(body: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    match value {
        Some(value) => write(body, value),
        None => body.nil(),
    }
}

fn read_optional<T>(
    reader: &mut Reader,
    what: &'static str,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if reader.is_nil(what)? { Ok(None) } else { read(reader).map(Some) }
}
