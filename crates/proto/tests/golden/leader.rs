//! What the nodes of a leader–follower namespace say to one another.

use archipelago_proto::{
    Entry, EntryBatch, ForwardedWrite, Limits, NodeAnswer, NodeBeat, NodeQuestion, NodeRole, Operation,
    PutKind, StatePage, WriteRefusal,
};

use super::{frozen, value};

/// One entry of each kind, as a leader could not write them after one another: the form is all that this is about.
fn entries() -> EntryBatch {
    let put = |key: &str, kind| Operation::Put { key: key.into(), value: value("Bob"), kind };
    let start = |address: Option<&str>| Operation::TermStart {
        node: "us-east".into(),
        session: 0x1234_5678_9abc_def0,
        address: address.map(Into::into),
    };
    let operations = [
        start(Some("http://us-east:8080")),
        put("user/7", PutKind::Create),
        put("user/7", PutKind::Update),
        put("user/ü", PutKind::Upsert),
        Operation::Delete { key: "user/7".into() },
        Operation::Register { node: "eu-west".into() },
        Operation::Unregister { node: "eu-west".into() },
        Operation::Nothing,
        start(None),
    ];
    EntryBatch {
        namespace: "people".into(),
        term: 17,
        first_index: 300,
        before: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        written_unix_ms: 1_795_220_962_123,
        entries: operations.map(Entry::new).into(),
    }
}

#[test]
fn version_1_entries() {
    let bytes = entries().encode();
    let golden = frozen("entries-v1.hex", &bytes);
    let decoded = EntryBatch::decode(golden.clone(), &Limits::default()).unwrap();
    assert_eq!(decoded, entries());
    assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    // Nodes of all builds must agree on these.
    let digests: Vec<u128> = decoded.chained().map(|(_, _, digest)| digest).collect();
    let frozen = frozen(
        "entries-chain-v1.hex",
        &digests.iter().flat_map(|digest| digest.to_be_bytes()).collect::<Vec<u8>>(),
    );
    assert!(digests.iter().flat_map(|digest| digest.to_be_bytes()).eq(frozen));
}

/// As the page of formats says it, with the bytes that it names.
#[test]
fn the_digest_of_a_history_is_of_the_digest_before_the_term_the_index_and_the_entry() {
    let golden = frozen("entries-v1.hex", &[]);
    let hashed = [&golden[40..56], &17u64.to_be_bytes(), &300u64.to_be_bytes(), &golden[66..105]].concat();
    assert_eq!(hashed.len(), 71);
    let (_, _, digest) = entries().chained().next().unwrap();
    assert_eq!(xxhash_rust::xxh3::xxh3_128(&hashed), digest);
    assert_eq!(digest, 0xeae3_4bdf_eb82_7372_36d4_87ff_16b0_f0d8);
}

#[test]
fn version_1_node_beats() {
    let leader = NodeBeat {
        namespace: "people".into(),
        node: "us-east".into(),
        session: 0x1234_5678_9abc_def0,
        role: NodeRole::Leader,
        term: 17,
        index: 308,
        chain: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        address: Some("http://us-east:8080".into()),
        leader: Some("us-east".into()),
        is_eligible: true,
        is_desynced: false,
        furthest_sequence: 0,
    };
    let follower = NodeBeat {
        node: "eu-west".into(),
        role: NodeRole::Follower,
        address: None,
        is_eligible: false,
        is_desynced: true,
        ..leader.clone()
    };
    let candidate = NodeBeat { role: NodeRole::Candidate, leader: None, ..leader.clone() };
    let sequence = NodeBeat { furthest_sequence: 1_000_312, ..leader.clone() };
    let beats =
        [("leader", leader), ("follower", follower), ("candidate", candidate), ("sequence", sequence)];
    for (name, beat) in beats {
        let bytes = beat.encode();
        let golden = frozen(&format!("node-beat-{name}-v1.hex"), &bytes);
        assert_eq!(NodeBeat::decode(golden.clone(), &Limits::default()).unwrap(), beat);
        assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    }
}

#[test]
fn version_1_node_questions() {
    let write = |value, kind, expected_version| {
        NodeQuestion::Write(ForwardedWrite { key: "user/7".into(), value, kind, expected_version })
    };
    let questions = [
        ("head", NodeQuestion::Head),
        ("read-index", NodeQuestion::ReadIndex),
        ("write-create", write(Some(value("Bob")), PutKind::Create, None)),
        ("write-update", write(Some(value("Bob")), PutKind::Update, Some(300))),
        ("write-remove", write(None, PutKind::Upsert, Some(0))),
        ("reach", NodeQuestion::Reach { index: 308, patience_ms: 2_000 }),
        ("tail", NodeQuestion::Tail { after: 299, bytes_max: 1 << 20 }),
        ("state-first", NodeQuestion::State { after: None, bytes_max: 1 << 20 }),
        ("state-next", NodeQuestion::State { after: Some("user/ü".into()), bytes_max: 1 << 20 }),
        ("hand-over", NodeQuestion::HandOver { to: "eu-west".into() }),
        ("resync", NodeQuestion::Resync),
    ];
    for (name, question) in questions {
        let bytes = question.encode("people", "us-east");
        let golden = frozen(&format!("node-question-{name}-v1.hex"), &bytes);
        let decoded = NodeQuestion::decode(golden.clone(), &Limits::default()).unwrap();
        assert_eq!(decoded, ("people".to_owned(), "us-east".to_owned(), question));
        assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    }
}

#[test]
fn version_1_node_answers() {
    let page = StatePage {
        index: 308,
        term: 17,
        chain: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        index_after: 310,
        place: Some(("ARCHIPELAGO_people".into(), 1_795_220_962_123_456_789, 77)),
        rows: vec![("user/7".into(), 301, value("Bob")), ("user/ü".into(), 300, value(7))],
        is_last: true,
        rows_total: 2,
        followers: vec!["ap-south".into(), "eu-west".into()],
    };
    let reason = || "it is shutting down".to_owned();
    let answers = [
        ("index", NodeAnswer::Index { term: 17, index: 308 }),
        ("written", NodeAnswer::Written { term: 17, index: 309 }),
        ("refused-exists", NodeAnswer::Refused(WriteRefusal::Exists { version: 301 })),
        ("refused-missing", NodeAnswer::Refused(WriteRefusal::Missing)),
        ("refused-version", NodeAnswer::Refused(WriteRefusal::Version { found: Some(301) })),
        ("refused-unknown", NodeAnswer::Refused(WriteRefusal::Unknown)),
        ("refused-not-written", NodeAnswer::Refused(WriteRefusal::NotWritten { reason: reason() })),
        ("tail", NodeAnswer::Tail(vec![entries().encode()])),
        ("gone", NodeAnswer::Gone),
        ("state", NodeAnswer::State(page)),
        ("done", NodeAnswer::Done),
        (
            "not-leader",
            NodeAnswer::NotLeader {
                leader: Some("us-east".into()),
                address: Some("http://us-east:8080".into()),
            },
        ),
        ("unable", NodeAnswer::Unable { reason: reason() }),
    ];
    for (name, answer) in answers {
        let bytes = answer.encode();
        let golden = frozen(&format!("node-answer-{name}-v1.hex"), &bytes);
        assert_eq!(NodeAnswer::decode(golden.clone(), &Limits::default(), 1 << 20).unwrap(), answer);
        assert_eq!(bytes, golden, "this build writes version 1 as it was frozen");
    }
}
