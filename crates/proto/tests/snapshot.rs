//! Chunks and manifests of snapshots: what is damaged, forged or of a newer build is refused, and no small chunk unpacks
//! to a large one.

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_proto::{
    Body, ChunkEntry, DecodeError, DeltaPiece, Limits, Record, SnapshotChunk, SnapshotManifest, Version,
    encode_value,
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

const BYTES_MAX: usize = 1 << 20;

fn replica() -> ReplicaId {
    ReplicaId::new("us-east", Incarnation::from_bits(7)).expect("a legal name")
}

fn chunk(entities: u64) -> SnapshotChunk {
    let limits = Limits::default();
    let entity = |sequence: u64| {
        let value = encode_value(&format!("the value of {sequence}"), &limits).expect("a small value");
        let version = Version {
            dot: Dot::new(replica(), sequence),
            hlc: Hlc::new(1_000 + sequence, 0),
            body: Body::Whole(value),
        };
        (format!("user/{sequence}").into(), Record { versions: vec![version] })
    };
    SnapshotChunk {
        piece: DeltaPiece {
            namespace: "people".into(),
            replica: replica(),
            session: 9,
            vector: [(replica(), entities)].into_iter().collect(),
            entities: (1..=entities).map(entity).collect(),
            next: None,
            floor: VersionVector::new(),
            told_floor: VersionVector::new(),
            members: vec![],
            held: entities,
        },
    }
}

/// A chunk with this body in a sound envelope.
fn sealed(kind: u64, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let (mut message, mut body) = (Vec::new(), Vec::new());
    write(&mut body);
    rmp::encode::write_array_len(&mut message, 5).expect("memory");
    rmp::encode::write_str(&mut message, "archipelago").expect("memory");
    for number in [1, kind, xxh3_64(&body)] {
        rmp::encode::write_uint(&mut message, number).expect("memory");
    }
    rmp::encode::write_bin(&mut message, &body).expect("memory");
    message.into()
}

fn packed(code: u64, raw_bytes: u64, content: &[u8]) -> Bytes {
    sealed(7, |body| {
        rmp::encode::write_array_len(body, 3).expect("memory");
        rmp::encode::write_uint(body, code).expect("memory");
        rmp::encode::write_uint(body, raw_bytes).expect("memory");
        rmp::encode::write_bin(body, content).expect("memory");
    })
}

#[test]
fn a_chunk_is_smaller_than_its_piece_and_comes_back_the_same() {
    let (message, raw_bytes) = chunk(1_000).encode();
    assert!((message.len() as u64) < raw_bytes / 2, "{} of {raw_bytes} bytes", message.len());
    assert_eq!(SnapshotChunk::decode(message, &Limits::default(), BYTES_MAX).unwrap(), chunk(1_000));
}

#[test]
fn a_chunk_that_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked() {
    let zeros = lz4_flex::block::compress(&vec![0; BYTES_MAX + 1]);
    assert!(zeros.len() < BYTES_MAX / 200);
    let refused =
        SnapshotChunk::decode(packed(1, BYTES_MAX as u64 + 1, &zeros), &Limits::default(), BYTES_MAX);
    assert!(
        matches!(refused, Err(DecodeError::OverLimit { limit: "snapshot_chunk_bytes_max", .. })),
        "{refused:?}"
    );
}

#[test]
fn a_chunk_that_lies_about_what_it_unpacks_to_is_refused() {
    let zeros = lz4_flex::block::compress(&vec![0; 100_000]);
    for raw_bytes in [99_999, 100_001, 0, BYTES_MAX as u64, u64::MAX] {
        let refused = SnapshotChunk::decode(packed(1, raw_bytes, &zeros), &Limits::default(), BYTES_MAX);
        assert!(refused.is_err(), "{raw_bytes}");
    }
    // More than any block of its size can unpack to: refused without making room for it.
    let refused = SnapshotChunk::decode(packed(1, BYTES_MAX as u64, &[0; 8]), &Limits::default(), BYTES_MAX);
    assert!(refused.unwrap_err().to_string().contains("more than it can"));
    let plain = SnapshotChunk::decode(packed(0, 3, b"four"), &Limits::default(), BYTES_MAX);
    assert!(plain.is_err());
}

#[test]
fn a_chunk_packed_in_a_way_of_the_future_is_left_to_a_newer_build() {
    let refused = SnapshotChunk::decode(packed(2, 4, b"zstd"), &Limits::default(), BYTES_MAX);
    assert!(refused.unwrap_err().is_from_the_future());
}

#[test]
fn every_flipped_bit_of_a_chunk_is_noticed() {
    let (message, _) = chunk(3).encode();
    let entry = ChunkEntry::of(&message);
    for at in 0..message.len() * 8 {
        let mut damaged = message.to_vec();
        damaged[at / 8] ^= 1 << (at % 8);
        assert_ne!(ChunkEntry::of(&damaged), entry, "bit {at}");
        let decoded = SnapshotChunk::decode(damaged.into(), &Limits::default(), BYTES_MAX);
        assert!(decoded.is_err(), "bit {at}");
    }
    for cut in 0..message.len() {
        assert!(SnapshotChunk::decode(message.slice(..cut), &Limits::default(), BYTES_MAX).is_err());
    }
}

#[test]
fn the_digest_of_a_manifest_is_that_of_its_chunks_in_their_order() {
    let chunks = vec![ChunkEntry::of(b"a"), ChunkEntry::of(b"b")];
    let manifest = SnapshotManifest {
        namespace: "people".into(),
        replica: replica(),
        made_unix_ms: 1,
        vector: VersionVector::new(),
        floor: VersionVector::new(),
        told_floor: VersionVector::new(),
        members: vec![],
        strategies: None,
        place: None,
        entities: 0,
        raw_bytes: 0,
        state_digest: None,
        chunks,
    };
    let mut swapped = manifest.clone();
    swapped.chunks.swap(0, 1);
    assert_ne!(swapped.digest(), manifest.digest());
    // A manifest with a chunk exchanged, under the digest of before.
    let honest = manifest.encode();
    let body_at = honest.len() - manifest_body(&honest).len();
    let forged = sealed(8, |body| {
        body.extend_from_slice(&honest[body_at..]);
        let at = body.windows(16).position(|window| window == manifest.chunks[0].digest.to_be_bytes());
        body[at.expect("the digest of the first chunk")] ^= 1;
    });
    let refused = SnapshotManifest::decode(forged, &Limits::default(), BYTES_MAX);
    assert!(refused.unwrap_err().to_string().contains("digest"));
    let empty = SnapshotManifest { chunks: vec![], ..manifest };
    assert!(SnapshotManifest::decode(empty.encode(), &Limits::default(), BYTES_MAX).is_err());
}

/// The body of a small envelope, which is its last element.
fn manifest_body(message: &[u8]) -> &[u8] {
    let head = 1 + 12 + 1 + 1 + 9;
    let mut rest = &message[head..];
    let len = rmp::decode::read_bin_len(&mut rest).expect("a body");
    assert_eq!(rest.len(), len as usize);
    rest
}
