//! Events packed into one message. The layout is described in `docs/FORMAT.md`.

mod packed;

use std::{collections::HashSet, sync::Arc};

use archipelago_clock::{Dot, Hlc, NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;
use packed::PackedBatch;

use crate::{
    DecodeError, EncodeError, Event, Limits, Text, TraceId,
    envelope::{self, EnvelopeKind},
    op,
    reader::{Reader, malformed, within},
    replica, replica_list,
    writer::Writer,
};

/// Events of one origin with consecutive sequences, as one message carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// The namespace that the events belong to.
    pub namespace: String,
    /// At least one event, in order of sequence.
    pub events: Vec<Event>,
}

/// Packs events of one origin with consecutive sequences into a message. Vectors travel as differences.
pub struct BatchEncoder<'a> {
    namespace: &'a str,
    limits: &'a Limits,
    /// The replicas that the batch names; vectors refer to them by their place. The origin is the first.
    replicas: Vec<ReplicaId>,
    first: Option<First>,
    last_deps: Arc<VersionVector>,
    last_hlc: Hlc,
    /// How many entries the vectors of the events have once unpacked.
    vector_entries: usize,
    events: Writer,
    len: usize,
}

/// From where the first event of a batch counts.
#[derive(Clone)]
struct First {
    sequence: u64,
    hlc: Hlc,
    deps: Arc<VersionVector>,
}

impl<'a> BatchEncoder<'a> {
    /// An empty batch.
    pub fn new(namespace: &'a str, limits: &'a Limits) -> Self {
        BatchEncoder {
            namespace,
            limits,
            replicas: Vec::new(),
            first: None,
            last_deps: Arc::default(),
            last_hlc: Hlc::ZERO,
            vector_entries: 0,
            events: Writer::default(),
            len: 0,
        }
    }

    /// The number of events packed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was packed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size of the events packed so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.events.len()
    }

    /// Packs `event` and gives true; or gives false, having packed nothing, if the event belongs into another batch:
    /// this one is full, the event does not follow the last one, or it has another origin.
    pub fn push(&mut self, event: &Event) -> bool {
        match &self.first {
            None => {
                self.replicas.push(event.dot.actor.clone());
                for (replica, _) in event.deps.iter() {
                    self.replicas.push(replica.clone());
                }
                self.begin(First { sequence: event.dot.sequence, hlc: event.hlc, deps: event.deps.clone() });
                self.vector_entries = event.deps.len() + context_entries(event);
            }
            Some(first) => {
                let follows = self.replicas[0] == event.dot.actor
                    && first.sequence.checked_add(self.len as u64) == Some(event.dot.sequence);
                let has_last_deps = self.has_last_deps(&event.deps);
                let new_deps = if has_last_deps { 0 } else { event.deps.len() };
                let vector_entries = self.vector_entries + new_deps + context_entries(event);
                let full = self.len >= self.limits.batch_events_max
                    || self.events.len() >= self.limits.batch_bytes_target
                    || vector_entries > self.limits.batch_vector_entries_max
                    || self.replicas_with(event) > self.limits.replicas_max;
                if !follows || full || !(has_last_deps || event.deps.dominates(&self.last_deps)) {
                    return false;
                }
                self.vector_entries = vector_entries;
            }
        }
        self.write(event);
        self.len += 1;
        true
    }

    /// Packs all events of a message, that was packed by itself, behind those that are here, without unpacking them, and gives
    /// true. Or gives false, having packed nothing, if they do not follow, are too many, or have to be unpacked for it:
    /// if the message names other replicas than this one, or what its events came after grows within it.
    ///
    /// The batch is what it would be had each of the events been [pushed](Self::push).
    ///
    /// # Errors
    /// [`DecodeError`] if that is not a message of events. What it says of entities and their values is not looked at.
    pub fn append(&mut self, message: Bytes) -> Result<bool, DecodeError> {
        let Some(packed) = PackedBatch::read(message, self.limits)? else { return Ok(false) };
        let head = &packed.head;
        if *head.namespace != *self.namespace {
            return Ok(false);
        }
        match &self.first {
            None => {
                // What the first event came after stands by place, in the order of vectors; another writer's may not.
                let places = head.replicas[1..].iter();
                if !places.zip(head.first.deps.iter()).all(|(place, (replica, _))| place == replica) {
                    return Ok(false);
                }
                self.replicas = head.replicas.to_vec();
                self.begin(head.first.clone());
                self.vector_entries = head.first.deps.len() + packed.context_entries;
            }
            Some(first) => {
                let deps = &head.first.deps;
                let follows = self.replicas == *head.replicas
                    && first.sequence.checked_add(self.len as u64) == Some(head.first.sequence);
                let has_last_deps = self.has_last_deps(deps);
                let new_deps = if has_last_deps { 0 } else { deps.len() };
                let vector_entries = self.vector_entries + new_deps + packed.context_entries;
                let fits = self.len + head.len <= self.limits.batch_events_max
                    && self.events.len() + packed.bytes() <= self.limits.batch_bytes_target
                    && vector_entries <= self.limits.batch_vector_entries_max;
                if !follows || !fits || !(has_last_deps || deps.dominates(&self.last_deps)) {
                    return Ok(false);
                }
                self.vector_entries = vector_entries;
            }
        }
        self.events.array(packed.first_elements);
        self.write_hlc(head.first.hlc);
        self.write_deps(&head.first.deps);
        self.events.raw(&packed.rest);
        self.last_hlc = packed.last_hlc;
        self.len += head.len;
        Ok(true)
    }

    fn begin(&mut self, first: First) {
        (self.last_hlc, self.last_deps) = (first.hlc, first.deps.clone());
        self.first = Some(first);
    }

    fn has_last_deps(&self, deps: &Arc<VersionVector>) -> bool {
        Arc::ptr_eq(&self.last_deps, deps) || self.last_deps == *deps
    }

    /// How many replicas the batch would name with `event` in it.
    fn replicas_with(&self, event: &Event) -> usize {
        if self.replicas.len() + event.deps.len() <= self.limits.replicas_max {
            // Few enough even if all were new, which costs nothing to know.
            return self.replicas.len();
        }
        let known: HashSet<&ReplicaId> = self.replicas.iter().collect();
        self.replicas.len() + event.deps.iter().filter(|(replica, _)| !known.contains(replica)).count()
    }

    fn write(&mut self, event: &Event) {
        self.events.array(if event.trace.is_some() { 7 } else { 6 });
        self.write_hlc(event.hlc);
        self.write_deps(&event.deps);
        match &event.context {
            None => self.events.nil(),
            Some(context) => {
                let admitted = admitted(event);
                let behind: Vec<(u64, u64)> = admitted
                    .iter()
                    .filter(|(replica, sequence)| context.get(replica) < *sequence)
                    .map(|(replica, sequence)| (self.place(replica), sequence - context.get(replica)))
                    .collect();
                write_pairs(&mut self.events, &behind);
            }
        }
        self.events.text(&event.entity);
        op::write(&mut self.events, &event.op);
        if let Some(trace) = event.trace {
            self.events.binary(&trace.bits().to_be_bytes());
        }
    }

    fn write_hlc(&mut self, hlc: Hlc) {
        self.events.signed(hlc.bits().wrapping_sub(self.last_hlc.bits()).cast_signed());
        self.last_hlc = hlc;
    }

    fn write_deps(&mut self, deps: &Arc<VersionVector>) {
        if self.has_last_deps(deps) {
            return self.events.nil();
        }
        let last = std::mem::replace(&mut self.last_deps, deps.clone());
        let grown: Vec<(u64, u64)> = deps
            .iter()
            .filter(|(replica, sequence)| last.get(replica) < *sequence)
            .map(|(replica, sequence)| (self.place(replica), sequence - last.get(replica)))
            .collect();
        write_pairs(&mut self.events, &grown);
    }

    /// The place of `replica` in the table of the batch; it is entered if need be.
    fn place(&mut self, replica: &ReplicaId) -> u64 {
        let place = self.replicas.iter().position(|known| known == replica).unwrap_or_else(|| {
            self.replicas.push(replica.clone());
            self.replicas.len() - 1
        });
        place as u64
    }

    /// The message; `None` if nothing was packed.
    ///
    /// # Errors
    /// [`EncodeError::OverLimit`] naming `batch_bytes_max` if the message is too large; that takes a single event
    /// beyond the limits of the engine.
    pub fn finish(self) -> Result<Option<Bytes>, EncodeError> {
        let Some(first) = self.first else { return Ok(None) };
        let mut head = Writer::with_capacity(64 * self.replicas.len() + 64);
        head.array(6);
        head.text(self.namespace);
        head.array(self.replicas.len());
        for replica in &self.replicas {
            replica::write(&mut head, replica);
        }
        head.unsigned(first.sequence);
        head.unsigned(first.hlc.bits());
        // The entry of the origin is implied by the first sequence.
        head.array(first.deps.len());
        for (_, sequence) in first.deps.iter() {
            head.unsigned(sequence);
        }
        head.array(self.len);
        let body = [&head.into_vec()[..], &self.events.into_vec()];
        let message = envelope::seal_parts(EnvelopeKind::Events, &body);
        if message.len() > self.limits.batch_bytes_max {
            let (found, max) = (message.len() as u64, self.limits.batch_bytes_max as u64);
            return Err(EncodeError::OverLimit { limit: "batch_bytes_max", found, max });
        }
        Ok(Some(message))
    }
}

impl EventBatch {
    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`]; nothing of a batch with one broken event is used.
    pub fn decode(message: Bytes, limits: &Limits) -> Result<EventBatch, DecodeError> {
        let (mut reader, head) = Head::read(message, limits)?;
        let Head { replicas, first: First { sequence, hlc, deps }, .. } = &head;
        let mut previous =
            Previous { hlc: *hlc, deps: deps.clone(), sequence: *sequence, vector_entries: deps.len() };
        let mut events = Vec::with_capacity(head.len);
        for _ in 0..head.len {
            events.push(read_event(&mut reader, replicas, &mut previous, limits)?);
        }
        reader.end("batch", head.appended)?;
        Ok(EventBatch { namespace: head.namespace.to_string(), events })
    }
}

/// What stands before the events.
struct Head {
    namespace: Text,
    replicas: Arc<[ReplicaId]>,
    first: First,
    /// How many events follow, at least one.
    len: usize,
    /// How many elements that a newer build appended follow these.
    appended: usize,
}

impl Head {
    /// With the reader of what follows.
    fn read(message: Bytes, limits: &Limits) -> Result<(Reader, Head), DecodeError> {
        let body = envelope::open_as(EnvelopeKind::Events, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("batch", 6)?;
        let namespace = reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?;
        let replicas = replica_list::read(&mut reader, limits)?;
        let sequence = reader.unsigned("first sequence")?;
        let hlc = Hlc::from_bits(reader.unsigned("hlc")?);
        let deps = Arc::new(read_base_deps(&mut reader, &replicas)?);
        let len = reader.array("events")?;
        within("batch_events_max", len, limits.batch_events_max)?;
        if len == 0 || sequence == 0 || sequence.checked_add(len as u64).is_none() {
            return Err(malformed("batch", "it has no events or impossible sequences"));
        }
        let first = First { sequence, hlc, deps };
        Ok((reader, Head { namespace, replicas, first, len, appended: elements - 6 }))
    }
}

struct Previous {
    hlc: Hlc,
    deps: Arc<VersionVector>,
    sequence: u64,
    /// How many entries the vectors of the events so far have.
    vector_entries: usize,
}

impl Previous {
    /// Accounts for a vector before it is made: a few bytes on the wire may ask for thousands of entries.
    fn unpack(&mut self, entries: usize, limits: &Limits) -> Result<(), DecodeError> {
        self.vector_entries += entries;
        within("batch_vector_entries_max", self.vector_entries, limits.batch_vector_entries_max)
    }
}

fn read_base_deps(reader: &mut Reader, replicas: &[ReplicaId]) -> Result<VersionVector, DecodeError> {
    let len = reader.array("deps")?;
    if len >= replicas.len() {
        return Err(malformed("deps", "more entries than replicas besides the origin"));
    }
    let sequences: Vec<u64> = (0..len).map(|_| reader.unsigned("deps")).collect::<Result<_, _>>()?;
    Ok(replicas[1..].iter().cloned().zip(sequences).collect())
}

fn read_event(
    reader: &mut Reader,
    replicas: &[ReplicaId],
    previous: &mut Previous,
    limits: &Limits,
) -> Result<Event, DecodeError> {
    let elements = reader.array_of_at_least("event", 6)?;
    let hlc = Hlc::from_bits(previous.hlc.bits().wrapping_add(reader.signed("event hlc")?.cast_unsigned()));
    let deps = match read_pairs(reader, replicas, "event deps")? {
        None => previous.deps.clone(),
        Some(grown) => {
            // Before the copy is made; the few entries that are new are accounted for after it.
            let known = previous.deps.len();
            previous.unpack(known, limits)?;
            let mut deps = (*previous.deps).clone();
            for (replica, by) in grown {
                let sequence = deps.get(replica).checked_add(by).filter(|_| *replica != replicas[0]);
                let sequence = sequence.ok_or_else(|| malformed("event deps", "an impossible entry"))?;
                deps.raise(replica.clone(), sequence);
            }
            previous.unpack(deps.len() - known, limits)?;
            Arc::new(deps)
        }
    };
    let behind = read_pairs(reader, replicas, "event context")?;
    let entity = reader.text("entity id", "entity_id_bytes_max", limits.entity_id_bytes_max)?;
    if entity.is_empty() {
        return Err(malformed("entity id", "it is empty"));
    }
    let op = op::read(reader, limits)?;
    let trace = if elements > 6 { read_trace(reader)? } else { None };
    for _ in 7..elements {
        reader.skip("event")?;
    }
    let dot = Dot::new(replicas[0].clone(), previous.sequence);
    (previous.hlc, previous.sequence) = (hlc, previous.sequence + 1);
    if !Arc::ptr_eq(&previous.deps, &deps) {
        previous.deps = deps.clone();
    }
    let mut event = Event { dot, hlc, deps, context: None, entity, op, trace };
    if let Some(behind) = behind {
        previous.unpack(event.deps.len() + 1, limits)?;
        let mut context = admitted(&event);
        for (replica, by) in behind {
            let sequence = context.get(replica).checked_sub(by);
            let sequence = sequence.ok_or_else(|| malformed("event context", "it is behind nothing"))?;
            context.remove(replica);
            context.raise(replica.clone(), sequence);
        }
        event.context = Some(Arc::new(context));
    }
    Ok(event)
}

/// What a write is a part of. Without one, in front of what a newer build adds, it is nil.
fn read_trace(reader: &mut Reader) -> Result<Option<TraceId>, DecodeError> {
    if reader.is_nil("trace id")? {
        return Ok(None);
    }
    let trace = TraceId::from_bits(reader.u128("trace id")?);
    Ok(Some(trace.ok_or_else(|| malformed("trace id", "it is zero"))?))
}

/// All that the admitting replica had applied, itself included.
fn admitted(event: &Event) -> VersionVector {
    let mut admitted = (*event.deps).clone();
    admitted.raise(event.dot.actor.clone(), event.dot.sequence - 1);
    admitted
}

/// How many entries the context of `event` has once unpacked.
fn context_entries(event: &Event) -> usize {
    if event.context.is_some() { event.deps.len() + 1 } else { 0 }
}

fn write_pairs(writer: &mut Writer, pairs: &[(u64, u64)]) {
    writer.array(pairs.len() * 2);
    for (place, by) in pairs {
        writer.unsigned(*place);
        writer.unsigned(*by);
    }
}

fn read_pairs<'r>(
    reader: &mut Reader,
    replicas: &'r [ReplicaId],
    what: &'static str,
) -> Result<Option<Vec<(&'r ReplicaId, u64)>>, DecodeError> {
    if reader.is_nil(what)? {
        return Ok(None);
    }
    let len = reader.array(what)?;
    if len % 2 != 0 || len / 2 > replicas.len() {
        return Err(malformed(what, "not a list of pairs"));
    }
    let mut pairs = Vec::with_capacity(len / 2);
    for _ in 0..len / 2 {
        let place = reader.unsigned(what)?;
        let replica = usize::try_from(place).ok().and_then(|place| replicas.get(place));
        let replica = replica.ok_or_else(|| malformed(what, "it names a replica that the batch does not"))?;
        pairs.push((replica, reader.unsigned(what)?));
    }
    Ok(Some(pairs))
}
