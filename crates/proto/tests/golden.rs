//! Every format ever written decodes for ever. The files under `golden/` are frozen: a change of the layout adds a
//! file and keeps the old ones.

use std::{path::PathBuf, sync::Arc};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_proto::{
    BatchEncoder, Body, ChangesPart, ChunkEntry, DeltaPiece, DeltaRequest, Event, EventBatch, Floor,
    Heartbeat, HeldContent, Holding, Limits, ListedKey, LogMessage, LogPlace, Member, MemberState, Op,
    Record, ReplicaTable, Said, Signature, Slot, SnapshotChunk, SnapshotManifest, StateAbout, StateAnswer,
    StateQuestion, StateTold, TraceId, Version, decode_members, encode_members, encode_value,
};
use bytes::Bytes;

#[path = "golden/leader.rs"]
mod leader;

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name, Incarnation::from_bits(0x0199_0000_0000_0000 + name.len() as u64))
        .expect("a legal name")
}

fn value(value: impl serde::Serialize) -> Bytes {
    encode_value(&value, &Limits::default()).expect("a small value")
}

/// One event of every kind, with deps that grow and a context behind them.
fn events() -> Vec<Event> {
    let origin = replica("us-east");
    let early: VersionVector = [(replica("eu-west"), 7)].into_iter().collect();
    let late: VersionVector = [(replica("eu-west"), 300), (replica("ap-south"), 1)].into_iter().collect();
    let context: VersionVector = [(replica("eu-west"), 299), (replica("us-east"), 40)].into_iter().collect();
    let (early, late) = (Arc::new(early), Arc::new(late));
    let event = |sequence, hlc, deps: &Arc<VersionVector>, entity: &str, op| Event {
        dot: Dot::new(origin.clone(), sequence),
        hlc,
        deps: deps.clone(),
        context: None,
        entity: entity.into(),
        op,
        trace: None,
    };
    let fields = vec![
        (Slot::Root, None),
        (Slot::Field("email".into()), None),
        (Slot::Field("name".into()), Some(value("Alice"))),
    ];
    let mut patch = event(43, Hlc::new(1_795_220_962_200, 1), &late, "user/7", Op::Patch(fields));
    patch.context = Some(Arc::new(context));
    vec![
        event(41, Hlc::new(1_795_220_962_123, 0), &early, "user/7", Op::Put(value("Bob"))),
        event(42, Hlc::new(1_795_220_962_000, 0), &early, "user/ü", Op::Delete),
        patch,
        event(44, Hlc::new(1_795_220_962_200, 2), &late, "n", Op::Put(value(vec![1, -1, 70_000]))),
    ]
}

fn record() -> Record {
    let fields =
        vec![(Slot::Field("email".into()), None), (Slot::Field("name".into()), Some(value("Alice")))];
    let version = |name, sequence, body| Version {
        dot: Dot::new(replica(name), sequence),
        hlc: Hlc::new(1_795_220_962_123, sequence.try_into().expect("small")),
        body,
    };
    Record {
        versions: vec![
            version("ap-south", 3, Body::Tombstone),
            version("eu-west", 300, Body::Whole(value(7))),
            version("us-east", 1, Body::Fields(fields)),
        ],
    }
}

/// The frozen bytes; written once when the file does not exist yet, so that a new format gets its fixture.
fn frozen(name: &str, bytes: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ARCHIPELAGO_NEW_GOLDEN").is_some() && !path.exists() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = hex.chunks(32).map(|line| line.concat()).collect();
        std::fs::write(&path, lines.join("\n") + "\n").expect("the golden folder is writable");
    }
    let text: String = std::fs::read_to_string(&path).expect("the fixture").split_whitespace().collect();
    let digits = text.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("ASCII"), 16).expect("hex")).collect()
}

#[test]
fn version_1_event_batch() {
    let limits = Limits::default();
    let mut encoder = BatchEncoder::new("people", &limits);
    assert!(events().iter().all(|event| encoder.push(event)));
    let bytes = encoder.finish().unwrap().unwrap();
    let golden = frozen("events-v1.hex", &bytes);
    let decoded = EventBatch::decode(golden.clone(), &limits).unwrap();
    assert_eq!(decoded, EventBatch { namespace: "people".into(), events: events() });
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_events_that_are_a_part_of_something() {
    let limits = Limits::default();
    let mut events = events();
    for (event, trace) in events.iter_mut().zip([1, u128::MAX]) {
        event.trace = TraceId::from_bits(trace);
    }
    let mut encoder = BatchEncoder::new("people", &limits);
    assert!(events.iter().all(|event| encoder.push(event)));
    let bytes = encoder.finish().unwrap().unwrap();
    let golden = frozen("events-traced-v1.hex", &bytes);
    let decoded = EventBatch::decode(golden.clone(), &limits).unwrap();
    assert_eq!(decoded, EventBatch { namespace: "people".into(), events });
    assert_eq!(bytes, golden);
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        namespace: "people".into(),
        replica: replica("us-east"),
        session: 0x1234_5678_9abc_def0,
        beat: 7,
        hlc: Hlc::new(1_795_220_962_200, 2),
        vector: [(replica("us-east"), 44), (replica("eu-west"), 300)].into_iter().collect(),
        strategies: 0xfedc_ba98_7654_3210,
        digest: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        members: members(),
        floor: [(replica("eu-west"), 299)].into_iter().collect(),
        place: Some(LogPlace { created_unix_ns: 1_795_220_000_000_000_001, sequence: 70_000 }),
        reads: (1, 1),
    }
}

/// One member of each state.
fn members() -> Vec<Member> {
    let names = ["us-east", "eu-west", "ap-south", "sa-east", "old"];
    let member =
        |(state, name)| Member { replica: replica(name), state, since: Hlc::new(1_795_220_962_100, 5) };
    MemberState::ALL.into_iter().zip(names).map(member).collect()
}

#[test]
fn version_1_heartbeat() {
    let bytes = heartbeat().encode();
    let golden = frozen("heartbeat-members-v1.hex", &bytes);
    assert_eq!(Heartbeat::decode(golden.clone(), &Limits::default()).unwrap(), heartbeat());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_heartbeat_without_members() {
    let golden = frozen("heartbeat-v1.hex", &[]);
    let without = Heartbeat { members: vec![], floor: VersionVector::new(), place: None, ..heartbeat() };
    assert_eq!(Heartbeat::decode(golden, &Limits::default()).unwrap(), without);
}

#[test]
fn version_1_members() {
    let bytes = encode_members(&members());
    let golden = frozen("members-v1.hex", &bytes);
    assert_eq!(decode_members(golden.clone(), &Limits::default()).unwrap(), members());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_floor() {
    let vector = [(replica("us-east"), 44), (replica("eu-west"), 300)].into_iter().collect();
    let floor = Floor { namespace: "people".into(), replica: replica("us-east"), vector };
    let bytes = floor.encode();
    let golden = frozen("floor-v1.hex", &bytes);
    assert_eq!(LogMessage::decode(golden.clone(), &Limits::default()).unwrap(), LogMessage::Floor(floor));
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_signature() {
    let vector = [(replica("us-east"), 44), (replica("eu-west"), 300)].into_iter().collect();
    let floor = Floor { namespace: "people".into(), replica: replica("us-east"), vector };
    let listed = |name: &str, is_trusted, since_unix_ms| ListedKey {
        name: name.into(),
        key: std::array::from_fn(|at| u8::try_from(at).unwrap() + name.as_bytes()[0]),
        is_trusted,
        since_unix_ms,
    };
    let signature = Signature {
        by: "us-east".into(),
        key: [0x11; 32],
        at_unix_ms: 1_795_220_962_100,
        keys: vec![listed("eu-west", true, 0), listed("ap-south", false, 1_795_220_962_000)],
        proof: [0x22; 64],
    };
    let bytes = signature.attach(&floor.encode()).unwrap();
    let golden = frozen("signature-v1.hex", &bytes);
    assert_eq!(Signature::of(&golden).unwrap(), Some(signature.clone()));
    assert_eq!(LogMessage::decode(golden.clone(), &Limits::default()).unwrap(), LogMessage::Floor(floor));
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    let statement: Bytes =
        signature.statement(Said::Answered { whom: "eu-west", question: b"?" }, &golden).unwrap().into();
    let golden = frozen("signature-statement-v1.hex", &statement);
    assert_eq!(statement, golden, "this build signs version 1 as it was frozen");
}

#[test]
fn version_1_delta_request() {
    let request = DeltaRequest {
        namespace: "people".into(),
        replica: replica("us-east"),
        since: [(replica("us-east"), 44), (replica("eu-west"), 300)].into_iter().collect(),
        from: Some(Dot::new(replica("eu-west"), 301)),
        bytes_max: 262_144,
    };
    let bytes = request.encode();
    let golden = frozen("delta-request-v1.hex", &bytes);
    assert_eq!(DeltaRequest::decode(golden.clone(), &Limits::default()).unwrap(), request);
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

fn piece() -> DeltaPiece {
    let vector = [(replica("ap-south"), 3), (replica("us-east"), 44), (replica("eu-west"), 300)];
    DeltaPiece {
        namespace: "people".into(),
        replica: replica("eu-west"),
        session: 0x1234_5678_9abc_def0,
        vector: vector.into_iter().collect(),
        entities: vec![("user/7".into(), record()), ("user/ü".into(), record())],
        next: None,
        floor: [(replica("eu-west"), 299)].into_iter().collect(),
        told_floor: [(replica("eu-west"), 300)].into_iter().collect(),
        members: members(),
        held: 1_000_000,
    }
}

/// As it was before members were part of it.
fn piece_without_members() -> DeltaPiece {
    let (floor, told_floor) = (VersionVector::new(), VersionVector::new());
    DeltaPiece { floor, told_floor, members: vec![], held: 0, ..piece() }
}

#[test]
fn version_1_changes_part() {
    let part = ChangesPart {
        export: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        since: [(replica("eu-west"), 299)].into_iter().collect(),
        index: 3,
        is_last: true,
        piece: piece(),
    };
    let bytes = part.encode();
    let golden = frozen("changes-part-members-v1.hex", &bytes);
    assert_eq!(ChangesPart::decode(golden.clone(), &Limits::default(), 1_000).unwrap(), part);
    let older = ChangesPart::decode(frozen("changes-part-v1.hex", &[]), &Limits::default(), 1_000);
    assert_eq!(older.unwrap(), ChangesPart { piece: piece_without_members(), ..part });
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_delta_piece() {
    let piece = piece();
    let bytes = piece.encode();
    let golden = frozen("delta-piece-members-v1.hex", &bytes);
    assert_eq!(DeltaPiece::decode(golden.clone(), &Limits::default(), 1_000).unwrap(), piece);
    let older = DeltaPiece::decode(frozen("delta-piece-v1.hex", &[]), &Limits::default(), 1_000);
    assert_eq!(older.unwrap(), piece_without_members());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_snapshot_chunk() {
    let chunk = SnapshotChunk { piece: piece() };
    let golden = frozen("snapshot-chunk-v1.hex", &chunk.encode().0);
    assert_eq!(SnapshotChunk::decode(golden.clone(), &Limits::default(), 1_000).unwrap(), chunk);
    // Another build may pack it otherwise; what is not worth packing stays plain.
    let empty = VersionVector::new;
    let short = DeltaPiece {
        vector: empty(),
        floor: empty(),
        told_floor: empty(),
        entities: vec![],
        members: vec![],
        ..piece()
    };
    let short = SnapshotChunk { piece: short };
    let golden = frozen("snapshot-chunk-plain-v1.hex", &short.encode().0);
    assert_eq!(SnapshotChunk::decode(golden, &Limits::default(), 1_000).unwrap(), short);
}

fn manifest() -> SnapshotManifest {
    SnapshotManifest {
        namespace: "people".into(),
        replica: replica("eu-west"),
        made_unix_ms: 1_795_220_962_300,
        vector: piece().vector,
        floor: piece().floor,
        told_floor: piece().told_floor,
        members: members(),
        strategies: Some(0xfedc_ba98_7654_3210),
        place: heartbeat().place,
        entities: 2,
        raw_bytes: 400,
        state_digest: Some(heartbeat().digest),
        chunks: vec![ChunkEntry::of(b"one chunk"), ChunkEntry::of(b"another")],
    }
}

#[test]
fn version_1_snapshot_manifest() {
    let limits = Limits::default();
    let bytes = manifest().encode();
    let golden = frozen("snapshot-manifest-v1.hex", &bytes);
    assert_eq!(SnapshotManifest::decode(golden.clone(), &limits, 1_000).unwrap(), manifest());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    let rows = SnapshotManifest { strategies: None, place: None, state_digest: None, ..manifest() };
    let bytes = rows.encode();
    let golden = frozen("snapshot-manifest-rows-v1.hex", &bytes);
    assert_eq!(SnapshotManifest::decode(golden.clone(), &limits, 1_000).unwrap(), rows);
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}

#[test]
fn version_1_state_questions() {
    let asks = [
        ("buckets", StateAbout::Buckets { pass: Some(300) }),
        ("digests", StateAbout::Digests { buckets: vec![0, 7, 255], after: Some("user/7".into()) }),
        (
            "records",
            StateAbout::Records {
                entities: vec![
                    (
                        "user/7".into(),
                        vec![Dot::new(replica("eu-west"), 301), Dot::new(replica("us-east"), 1)],
                    ),
                    ("user/ü".into(), vec![]),
                ],
            },
        ),
    ];
    for (name, about) in asks {
        let question = StateQuestion { namespace: "people".into(), replica: replica("us-east"), about };
        let bytes = question.encode();
        assert!(StateQuestion::is_one(&bytes));
        let golden = frozen(&format!("state-question-{name}-v1.hex"), &bytes);
        assert_eq!(StateQuestion::decode(golden.clone(), &Limits::default()).unwrap(), question);
        assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    }
}

#[test]
fn version_1_state_answers() {
    let holding = |content, is_at_odds| Holding { content, is_at_odds };
    let tells = [
        ("scrubbing", StateTold::Scrubbing { pass: 301 }),
        (
            "buckets",
            StateTold::Buckets { buckets: (0..256).map(|n| n << 100).collect(), unreadable: vec![9] },
        ),
        (
            "digests",
            StateTold::Digests {
                entities: vec![("user/7".into(), Some(u128::MAX - 1)), ("user/ü".into(), None)],
                next: Some("user/z".into()),
            },
        ),
        (
            "records",
            StateTold::Records {
                entities: vec![
                    ("user/7".into(), holding(HeldContent::Record(record()), false)),
                    ("user/8".into(), holding(HeldContent::Absent, true)),
                    ("user/ü".into(), holding(HeldContent::Unreadable, true)),
                ],
            },
        ),
    ];
    for (name, told) in tells {
        let answer = StateAnswer {
            namespace: "people".into(),
            replica: replica("eu-west"),
            session: 0x1234_5678_9abc_def0,
            vector: [(replica("us-east"), 44), (replica("eu-west"), 300)].into_iter().collect(),
            reclaimed: [(replica("eu-west"), 299)].into_iter().collect(),
            told,
        };
        let bytes = answer.encode();
        let golden = frozen(&format!("state-answer-{name}-v1.hex"), &bytes);
        assert_eq!(StateAnswer::decode(golden.clone(), &Limits::default(), 10_000).unwrap(), answer);
        assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    }
}

#[test]
fn version_1_record() {
    let mut table = ReplicaTable::default();
    let bytes = record().encode(&mut table);
    assert_eq!(table.replicas(), [replica("ap-south"), replica("eu-west"), replica("us-east")]);
    let golden = frozen("record-v1.hex", &bytes);
    assert_eq!(Record::decode(golden.clone(), &table, &Limits::default()).unwrap(), record());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
}
