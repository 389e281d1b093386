//! What must hold of any bytes that come from outside.

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VectorClock, VersionVector};
use archipelago_proto::{
    BatchEncoder, ChangesPart, DeltaPiece, DeltaRequest, EntryBatch, Event, EventBatch, Heartbeat, Limits,
    NodeAnswer, NodeBeat, NodeQuestion, Record, ReplicaTable, Said, Signature, SnapshotChunk,
    SnapshotManifest, StateAnswer, StateQuestion, check_value, decode_value, encode_value, join_fields,
    split_fields,
};
use bytes::Bytes;

/// A message of any kind that can be read can be written, and says the same again.
pub(crate) fn envelope(data: &[u8]) {
    same_again(Bytes::copy_from_slice(data));
    // Chance does not find checksums, so the bytes are tried as bodies as well.
    same_again(seal(1, data));
    same_heartbeat_again(seal(2, data));
    same_request_again(seal(3, data));
    same_piece_again(seal(4, data));
    same_part_again(seal(5, data));
    same_chunk_again(seal(7, data));
    same_manifest_again(seal(8, data));
    same_question_again(seal(9, data));
    same_answer_again(seal(10, data));
    same_entries_again(seal(11, data));
    same_node_beat_again(seal(12, data));
    same_node_question_again(seal(13, data));
    same_node_answer_again(seal(14, data));
    same_signature_again(Bytes::copy_from_slice(data));
    same_signature_again(appended(data));
}

/// An envelope with these bytes as its sixth element.
fn appended(data: &[u8]) -> Bytes {
    let mut message = seal(6, b"").to_vec();
    message[0] += 1;
    message.extend_from_slice(data);
    message.into()
}

fn same_signature_again(message: Bytes) {
    let Ok(Some(signature)) = Signature::of(&message) else { return };
    let again = signature.attach(&message).expect("an envelope");
    assert_eq!(Signature::of(&again).expect("just written"), Some(signature.clone()));
    let statement = signature.statement(Said::InLog, &message).expect("an envelope");
    assert_eq!(signature.statement(Said::InLog, &again).expect("an envelope"), statement);
}

/// Nodes agree on the digest of a history, whoever wrote it again.
fn same_entries_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(batch) = EntryBatch::decode(message, &limits) else { return };
    assert!(!batch.entries.is_empty() && batch.term > 0 && batch.first_index > 0);
    assert_eq!(batch.last_index() - batch.first_index + 1, batch.entries.len() as u64);
    let again = EntryBatch::decode(batch.encode(), &limits).expect("just written");
    assert_eq!(again, batch);
    assert!(again.chained().eq(batch.chained()));
}

fn same_node_beat_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(beat) = NodeBeat::decode(message, &limits) else { return };
    assert_eq!(NodeBeat::decode(beat.encode(), &limits).expect("just written"), beat);
}

fn same_node_question_again(message: Bytes) {
    let limits = Limits::default();
    let Ok((namespace, from, question)) = NodeQuestion::decode(message, &limits) else { return };
    let again = NodeQuestion::decode(question.encode(&namespace, &from), &limits).expect("just written");
    assert_eq!(again, (namespace, from, question));
}

fn same_node_answer_again(message: Bytes) {
    let limits = Limits::default();
    // Small enough that forged lengths are refused, not paid for.
    let Ok(answer) = NodeAnswer::decode(message, &limits, 1 << 20) else { return };
    assert_eq!(NodeAnswer::decode(answer.encode(), &limits, 2 << 20).expect("just written"), answer);
}

fn same_chunk_again(message: Bytes) {
    let limits = Limits::default();
    // Small enough that forged lengths are refused, not paid for.
    let Ok(chunk) = SnapshotChunk::decode(message, &limits, 1 << 20) else { return };
    let (again, raw_bytes) = chunk.encode();
    assert!(raw_bytes <= 2 << 20);
    assert_eq!(SnapshotChunk::decode(again, &limits, 2 << 20).expect("just written"), chunk);
}

fn same_manifest_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(manifest) = SnapshotManifest::decode(message, &limits, usize::MAX) else { return };
    assert_eq!(
        SnapshotManifest::decode(manifest.encode(), &limits, usize::MAX).expect("just written"),
        manifest
    );
}

fn same_request_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(request) = DeltaRequest::decode(message, &limits) else { return };
    assert_eq!(DeltaRequest::decode(request.encode(), &limits).expect("just written"), request);
}

fn same_question_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(question) = StateQuestion::decode(message, &limits) else { return };
    assert_eq!(StateQuestion::decode(question.encode(), &limits).expect("just written"), question);
}

fn same_answer_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(answer) = StateAnswer::decode(message, &limits, usize::MAX) else { return };
    assert_eq!(StateAnswer::decode(answer.encode(), &limits, usize::MAX).expect("just written"), answer);
}

fn same_part_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(part) = ChangesPart::decode(message, &limits, usize::MAX) else { return };
    assert_eq!(ChangesPart::decode(part.encode(), &limits, usize::MAX).expect("just written"), part);
}

fn same_piece_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(piece) = DeltaPiece::decode(message, &limits, usize::MAX) else { return };
    assert_eq!(DeltaPiece::decode(piece.encode(), &limits, usize::MAX).expect("just written"), piece);
}

fn same_heartbeat_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(heartbeat) = Heartbeat::decode(message.clone(), &limits) else { return };
    assert!(EventBatch::decode(message, &limits).is_err());
    let again = heartbeat.encode();
    assert_eq!(Heartbeat::decode(again, &limits).expect("what was written can be read"), heartbeat);
}

fn same_again(message: Bytes) {
    let limits = Limits::default();
    let Ok(batch) = EventBatch::decode(message, &limits) else { return };
    assert!(!batch.events.is_empty());
    assert!(batch.events.windows(2).all(|pair| pair[0].dot.sequence + 1 == pair[1].dot.sequence));
    let mut rest = &batch.events[..];
    while !rest.is_empty() {
        let mut encoder = BatchEncoder::new(&batch.namespace, &limits);
        let packed = rest.iter().take_while(|event| encoder.push(event)).count();
        let again = encoder.finish().expect("within the limits, as before").expect("events");
        let again = EventBatch::decode(again, &limits).expect("what was written can be read");
        assert_eq!(again, EventBatch { namespace: batch.namespace.clone(), events: rest[..packed].to_vec() });
        rest = &rest[packed..];
    }
    batch.events.iter().for_each(check_event);
}

fn check_event(event: &Event) {
    assert_eq!(event.deps.get(&event.dot.actor), 0);
    assert!(!event.deps_contain(&event.dot) && !event.context_contains(&event.dot));
    if let Some(context) = &event.context {
        let mut admitted = (*event.deps).clone();
        admitted.raise(event.dot.actor.clone(), event.dot.sequence - 1);
        assert!(admitted.dominates(context));
    }
}

fn seal(kind: u64, body: &[u8]) -> Bytes {
    let mut message = Vec::new();
    rmp::encode::write_array_len(&mut message, 5).expect("memory");
    rmp::encode::write_str(&mut message, "archipelago").expect("memory");
    for number in [1, kind, xxhash_rust::xxh3::xxh3_64(body)] {
        rmp::encode::write_uint(&mut message, number).expect("memory");
    }
    rmp::encode::write_bin(&mut message, body).expect("memory");
    message.into()
}

/// A stored record that can be read can be written, and says the same again.
pub(crate) fn record(data: &[u8]) {
    let replica = |name| ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name");
    let table = ReplicaTable::new(["a", "b", "c"].map(replica).to_vec());
    let limits = Limits::default();
    let Ok(record) = Record::decode(Bytes::copy_from_slice(data), &table, &limits) else { return };
    let mut grown = table.clone();
    let again = record.encode(&mut grown);
    assert_eq!(grown.replicas(), table.replicas());
    assert_eq!(Record::decode(again, &table, &limits).expect("what was written can be read"), record);
}

/// A value is whole, splits and joins, and becomes JSON and back.
pub(crate) fn value(data: &[u8]) {
    let limits = Limits::default();
    let value = Bytes::copy_from_slice(data);
    let split = split_fields(&value, &limits);
    let json = decode_value::<serde_json::Value>(&value, &limits);
    if check_value(&value, &limits).is_err() {
        assert!(json.is_err(), "a value is checked before it is decoded");
        return;
    }
    if let Ok(Some(fields)) = split {
        let joined = join_fields(fields.iter().map(|(name, value)| (&**name, &value[..])));
        assert!(joined.len() <= value.len());
        assert_eq!(split_fields(&joined, &limits).expect("as before"), Some(fields));
    }
    if let Ok(json) = json
        && let Ok(again) = encode_value(&json, &limits)
    {
        assert_eq!(decode_value::<serde_json::Value>(&again, &limits).expect("just encoded"), json);
    }
}

/// Clocks, stamps and ids that can be read are written in the same way again.
pub(crate) fn clock(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(replica) = text.parse::<ReplicaId>() {
            assert_eq!(replica.to_string(), text);
        }
        if let Ok(hlc) = text.parse::<Hlc>() {
            assert_eq!(hlc.to_string(), text);
        }
    }
    if let Ok(vector) = serde_json::from_slice::<VersionVector>(data) {
        let again = serde_json::to_vec(&vector).expect("a map with text keys");
        assert_eq!(serde_json::from_slice::<VersionVector>(&again).expect("just written"), vector);
    }
    if let Ok(vector) = rmp_serde::from_slice::<VersionVector>(data) {
        let again = rmp_serde::to_vec(&vector).expect("memory");
        assert_eq!(rmp_serde::from_slice::<VersionVector>(&again).expect("just written"), vector);
    }
    let _ = rmp_serde::from_slice::<Dot>(data);
    let _ = rmp_serde::from_slice::<ReplicaId>(data);
    stamps_sort_as_text(data);
    joins(data);
}

fn stamps_sort_as_text(data: &[u8]) {
    let stamp = |at: usize| Some(Hlc::from_bits(u64::from_be_bytes(data.get(at..at + 8)?.try_into().ok()?)));
    if let Some((left, right)) = stamp(0).zip(stamp(8)) {
        assert_eq!(left.to_string().parse::<Hlc>(), Ok(left));
        assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
    }
}

/// The laws of merge and compare, on clocks made of pairs of bytes.
fn joins(data: &[u8]) {
    let clock = |bytes: &[u8]| -> VectorClock<u8> {
        bytes.chunks_exact(2).map(|pair| (pair[0] % 8, u64::from(pair[1]))).collect()
    };
    let (left, right) = data.split_at(data.len() / 2);
    let (left, right) = (clock(left), clock(right));
    let (mut one, mut other) = (left.clone(), right.clone());
    one.merge(&right);
    other.merge(&left);
    assert_eq!(one, other);
    assert!(one.dominates(&left) && one.dominates(&right));
    assert_eq!(left.dominates(&right), one == left);
    assert_eq!(left.partial_cmp(&right), right.partial_cmp(&left).map(std::cmp::Ordering::reverse));
    assert_eq!(left.dominates(&right), left >= right);
}
