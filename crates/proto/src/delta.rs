//! What one replica asks of another's state, and the answer. The layout is described in `docs/FORMAT.md`.

use archipelago_clock::{Dot, NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;

use crate::{
    DecodeError, EntityId, Limits, Member, Record, ReplicaTable,
    envelope::{self, EnvelopeKind},
    member,
    reader::{Reader, malformed, within},
    replica, vector,
    writer::Writer,
};

/// A question: what do you have that a holder of this vector lacks?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRequest {
    /// The namespace that is asked about.
    pub namespace: String,
    /// Who asks.
    pub replica: ReplicaId,
    /// What whoever asks has.
    pub since: VersionVector,
    /// Where to go on: [`DeltaPiece::next`] of the piece before.
    pub from: Option<Dot>,
    /// About how many bytes of entities the answer may have; one entity may be over it.
    pub bytes_max: u64,
}

/// The answer: one piece of what is lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaPiece {
    /// The namespace.
    pub namespace: String,
    /// Who answers.
    pub replica: ReplicaId,
    /// The session of who answers: pieces of different sessions do not belong together.
    pub session: u64,
    /// What who answers had applied when the piece was read.
    pub vector: VersionVector,
    /// Entities with all that is live in them.
    pub entities: Vec<(EntityId, Record)>,
    /// Where the next piece begins; `None` if this is the last one.
    pub next: Option<Dot>,
    /// Who answers may have reclaimed tombstones that this covers. Whoever has not applied all of it must ask for
    /// everything, and takes what is not in the answer for removed.
    pub floor: VersionVector,
    /// The join of all floors that who answers has taken in, as in its heartbeats.
    /// A store that is made from it begins with these.
    pub told_floor: VersionVector,
    /// The members that who answers knows of, itself included.
    pub members: Vec<Member>,
    /// How many entities who answers holds in all, for showing progress.
    pub held: u64,
}

/// One of the numbered parts of an export: of all that a replica has and a holder of `since` lacks. It travels by any
/// road, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesPart {
    /// Drawn at random for each export.
    pub export: u128,
    /// What the export is for.
    pub since: VersionVector,
    /// The place of this part in the export, from 0. Of an entity in several parts the last one counts.
    pub index: u64,
    /// True for the last part, whose vector is that of all together.
    pub is_last: bool,
    /// The part.
    pub piece: DeltaPiece,
}

const PART_ELEMENTS: usize = 5;
const REQUEST_ELEMENTS: usize = 5;
const PIECE_ELEMENTS: usize = 12;
/// How many a piece had before members were part of it.
const PIECE_ELEMENTS_WITHOUT_MEMBERS: usize = 8;

impl DeltaRequest {
    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::with_capacity(64 + 32 * self.since.len());
        body.array(REQUEST_ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        vector::write(&mut body, &self.since);
        write_dot(&mut body, self.from.as_ref());
        body.unsigned(self.bytes_max);
        envelope::seal(EnvelopeKind::DeltaRequest, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<DeltaRequest, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::DeltaRequest, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("delta request", REQUEST_ELEMENTS)?;
        let request = DeltaRequest {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            replica: replica::read(&mut reader)?,
            since: vector::read(&mut reader, limits)?,
            from: read_dot(&mut reader)?,
            bytes_max: reader.unsigned("bytes_max")?,
        };
        reader.end("delta request", elements - REQUEST_ELEMENTS)?;
        Ok(request)
    }
}

impl DeltaPiece {
    /// The message. Its size is not limited here.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::default();
        self.write(&mut body);
        envelope::seal(EnvelopeKind::DeltaPiece, &body.into_vec())
    }

    pub(crate) fn write(&self, body: &mut Writer) {
        let mut table = ReplicaTable::default();
        let records: Vec<Bytes> = self.entities.iter().map(|(_, record)| record.encode(&mut table)).collect();
        body.array(PIECE_ELEMENTS);
        body.text(&self.namespace);
        replica::write(body, &self.replica);
        body.unsigned(self.session);
        // Once a count of reclaims.
        body.unsigned(0);
        vector::write(body, &self.vector);
        body.array(table.replicas().len());
        for named in table.replicas() {
            replica::write(body, named);
        }
        body.array(records.len() * 2);
        for ((entity, _), record) in self.entities.iter().zip(&records) {
            body.text(entity);
            body.binary(record);
        }
        write_dot(body, self.next.as_ref());
        vector::write(body, &self.floor);
        member::write(body, &self.members);
        body.unsigned(self.held);
        vector::write(body, &self.told_floor);
    }

    /// Reads a message that came from outside: nothing about it is trusted. It may be as large as a state needs, up to
    /// `bytes_max`.
    ///
    /// # Errors
    /// Every [`DecodeError`]; nothing of a piece with one broken entity is used.
    pub fn decode(message: Bytes, limits: &Limits, bytes_max: usize) -> Result<DeltaPiece, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::DeltaPiece, message, bytes_max)?;
        let mut reader = Reader::new(body);
        let piece = Self::read(&mut reader, limits)?;
        reader.end("delta piece", 0)?;
        Ok(piece)
    }

    pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<DeltaPiece, DecodeError> {
        let elements = reader.array_of_at_least("delta piece", PIECE_ELEMENTS_WITHOUT_MEMBERS)?;
        let namespace = reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string();
        let replica = replica::read(reader)?;
        let session = reader.unsigned("session")?;
        reader.skip("reclaims")?;
        let vector = vector::read(reader, limits)?;
        let table = read_table(reader, limits)?;
        let entities = read_entities(reader, &table, &vector, limits)?;
        let next = read_dot(reader)?;
        let (floor, told_floor) = (VersionVector::new(), VersionVector::new());
        let (members, held) = (Vec::new(), 0);
        let mut piece = DeltaPiece {
            namespace,
            replica,
            session,
            vector,
            entities,
            next,
            floor,
            told_floor,
            members,
            held,
        };
        if elements >= PIECE_ELEMENTS {
            piece.floor = vector::read(reader, limits)?;
            piece.members = member::read(reader, limits)?;
            piece.held = reader.unsigned("held")?;
            piece.told_floor = vector::read(reader, limits)?;
        }
        let known = if elements >= PIECE_ELEMENTS { PIECE_ELEMENTS } else { PIECE_ELEMENTS_WITHOUT_MEMBERS };
        for _ in known..elements {
            reader.skip("delta piece")?;
        }
        Ok(piece)
    }
}

impl ChangesPart {
    /// The message. Its size is not limited here.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::default();
        body.array(PART_ELEMENTS);
        body.binary(&self.export.to_be_bytes());
        vector::write(&mut body, &self.since);
        body.unsigned(self.index);
        body.unsigned(u64::from(self.is_last));
        self.piece.write(&mut body);
        envelope::seal(EnvelopeKind::ChangesPart, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted. It may be as large as a state needs, up to
    /// `bytes_max`.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits, bytes_max: usize) -> Result<ChangesPart, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::ChangesPart, message, bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("changes part", PART_ELEMENTS)?;
        let export = reader.u128("export")?;
        let since = vector::read(&mut reader, limits)?;
        let (index, is_last) = (reader.unsigned("index")?, reader.unsigned("last")? != 0);
        let piece = DeltaPiece::read(&mut reader, limits)?;
        reader.end("changes part", elements - PART_ELEMENTS)?;
        Ok(ChangesPart { export, since, index, is_last, piece })
    }
}

pub(crate) fn read_table(reader: &mut Reader, limits: &Limits) -> Result<ReplicaTable, DecodeError> {
    let len = reader.array("replicas")?;
    within("replicas_max", len, limits.replicas_max)?;
    let replicas = (0..len).map(|_| replica::read(reader)).collect::<Result<Vec<_>, _>>()?;
    let table = ReplicaTable::new(replicas);
    if table.replicas().len() != len {
        return Err(malformed("replicas", "one is named twice"));
    }
    Ok(table)
}

fn read_entities(
    reader: &mut Reader,
    table: &ReplicaTable,
    vector: &VersionVector,
    limits: &Limits,
) -> Result<Vec<(EntityId, Record)>, DecodeError> {
    let len = reader.array("entities")?;
    if len % 2 != 0 {
        return Err(malformed("entities", "not a list of pairs"));
    }
    let mut entities = Vec::with_capacity(len / 2);
    for _ in 0..len / 2 {
        let entity = reader.text("entity id", "entity_id_bytes_max", limits.entity_id_bytes_max)?;
        if entity.is_empty() {
            return Err(malformed("entity id", "it is empty"));
        }
        let record = reader.binary("record", "batch_bytes_max", usize::MAX)?;
        let record = Record::decode(record, table, limits)?;
        let dots = record.versions.iter().map(|version| &version.dot);
        let sound = !record.versions.is_empty()
            && record.versions.windows(2).all(|pair| pair[0].dot < pair[1].dot)
            && dots.clone().all(|dot| dot.sequence > 0 && vector.contains(dot));
        if !sound {
            return Err(malformed("record", "its versions are out of order, or not of what was applied"));
        }
        entities.push((entity, record));
    }
    Ok(entities)
}

pub(crate) fn write_dot(writer: &mut Writer, dot: Option<&Dot>) {
    let Some(dot) = dot else { return writer.nil() };
    writer.array(2);
    replica::write(writer, &dot.actor);
    writer.unsigned(dot.sequence);
}

pub(crate) fn read_dot(reader: &mut Reader) -> Result<Option<Dot>, DecodeError> {
    if reader.is_nil("dot")? {
        return Ok(None);
    }
    if reader.array("dot")? != 2 {
        return Err(malformed("dot", "expected a replica and a sequence"));
    }
    let actor = replica::read(reader)?;
    let sequence = reader.unsigned("sequence")?;
    if sequence == 0 {
        return Err(malformed("dot", "sequences begin with 1"));
    }
    Ok(Some(Dot::new(actor, sequence)))
}
