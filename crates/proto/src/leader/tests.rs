mod hostile;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    DecodeError, Limits, Text, encode_value,
    envelope::{self, EnvelopeKind},
    writer::Writer,
};

fn value(text: &str) -> Bytes {
    encode_value(text, &Limits::default()).expect("small")
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let key = "[a-z]{1,12}".prop_map(Text::from);
    let kind = prop_oneof![Just(PutKind::Create), Just(PutKind::Update), Just(PutKind::Upsert)];
    prop_oneof![
        (key.clone(), "[a-z]{0,40}", kind).prop_map(|(key, text, kind)| Operation::Put {
            key,
            value: value(&text),
            kind
        }),
        key.clone().prop_map(|key| Operation::Delete { key }),
        (key.clone(), any::<u64>(), proptest::option::of(key.clone()))
            .prop_map(|(node, session, address)| Operation::TermStart { node, session, address }),
        key.clone().prop_map(|node| Operation::Register { node }),
        key.prop_map(|node| Operation::Unregister { node }),
        Just(Operation::Nothing),
    ]
}

fn any_batch() -> impl Strategy<Value = EntryBatch> {
    let entries = proptest::collection::vec(any_operation().prop_map(Entry::new), 1..8);
    (1..u64::MAX, 1..u64::MAX / 2, any::<u128>(), any::<u64>(), entries).prop_map(
        |(term, first_index, before, written_unix_ms, entries)| EntryBatch {
            namespace: "orders".into(),
            term,
            first_index,
            before,
            written_unix_ms,
            entries,
        },
    )
}

proptest! {
    #[test]
    fn entries_come_back_as_they_went(batch in any_batch()) {
        let decoded = EntryBatch::decode(batch.encode(), &Limits::default()).expect("sound");
        prop_assert_eq!(&decoded, &batch);
        prop_assert!(decoded.chained().eq(batch.chained()));
    }

    #[test]
    fn any_change_of_an_entry_shows_in_the_digest_of_the_history(one in any_batch(), other in any_operation()) {
        let mut changed = one.clone();
        changed.entries[0] = Entry::new(other);
        let last = |batch: &EntryBatch| batch.chained().last().expect("one entry").2;
        prop_assert_eq!(changed == one, last(&changed) == last(&one));
        let moved = EntryBatch { first_index: one.first_index + 1, ..one.clone() };
        prop_assert_ne!(last(&moved), last(&one));
        let later = EntryBatch { term: one.term ^ 1, ..one.clone() };
        prop_assert_ne!(last(&later), last(&one));
    }

    #[test]
    fn bytes_from_outside_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(EntryBatch::decode(bytes.clone(), &Limits::default()).is_err());
        prop_assert!(NodeBeat::decode(bytes.clone(), &Limits::default()).is_err());
        prop_assert!(NodeQuestion::decode(bytes.clone(), &Limits::default()).is_err());
        prop_assert!(NodeAnswer::decode(bytes, &Limits::default(), 1 << 20).is_err());
    }
}

#[test]
fn a_batch_beyond_the_indexes_there_are_is_refused() {
    let batch = EntryBatch {
        namespace: "orders".into(),
        term: 1,
        first_index: u64::MAX,
        before: 0,
        written_unix_ms: 0,
        entries: vec![Entry::new(Operation::Nothing)],
    };
    let refused = EntryBatch::decode(batch.encode(), &Limits::default());
    assert!(matches!(refused, Err(DecodeError::Malformed { .. })), "{refused:?}");
}

#[test]
fn questions_and_answers_come_back_as_they_went() {
    let write = ForwardedWrite {
        key: "user/7".into(),
        value: Some(value("Alice")),
        kind: PutKind::Update,
        expected_version: Some(7),
    };
    let questions = [
        NodeQuestion::Head,
        NodeQuestion::ReadIndex,
        NodeQuestion::Write(write),
        NodeQuestion::Reach { index: 4, patience_ms: 100 },
        NodeQuestion::Tail { after: u64::MAX, bytes_max: 3 },
        NodeQuestion::State { after: Some("a".into()), bytes_max: 9 },
        NodeQuestion::HandOver { to: "b".into() },
        NodeQuestion::Resync,
    ];
    for question in questions {
        let decoded =
            NodeQuestion::decode(question.encode("orders", "a"), &Limits::default()).expect("sound");
        assert_eq!(decoded, ("orders".to_owned(), "a".to_owned(), question));
    }
    let page = StatePage {
        index: 8,
        term: 2,
        chain: u128::MAX - 1,
        index_after: 9,
        place: Some(("ARCHIPELAGO_orders".into(), 7, 8)),
        rows: vec![("a".into(), 3, value("x"))],
        is_last: false,
        rows_total: 4,
        followers: vec!["b".into()],
    };
    let answers = [
        NodeAnswer::Index { term: 1, index: 2 },
        NodeAnswer::Written { term: 1, index: 2 },
        NodeAnswer::Refused(WriteRefusal::Version { found: None }),
        NodeAnswer::Tail(vec![value("x")]),
        NodeAnswer::Gone,
        NodeAnswer::State(page),
        NodeAnswer::Done,
        NodeAnswer::NotLeader { leader: Some("b".into()), address: None },
        NodeAnswer::Unable { reason: "none".into() },
    ];
    for answer in answers {
        assert_eq!(NodeAnswer::decode(answer.encode(), &Limits::default(), 1 << 20).expect("sound"), answer);
    }
}

fn beat() -> NodeBeat {
    NodeBeat {
        namespace: "orders".into(),
        node: "a".into(),
        session: u64::MAX,
        role: NodeRole::Leader,
        term: 3,
        index: 9,
        chain: 1 << 100,
        address: Some("http://a".into()),
        leader: None,
        is_eligible: true,
        is_desynced: false,
        furthest_sequence: 70_000,
    }
}

#[test]
fn a_beat_comes_back_as_it_went() {
    assert_eq!(NodeBeat::decode(beat().encode(), &Limits::default()).expect("sound"), beat());
}

/// It has a field more than this build knows, and an older build's beat lacks those that may be missing.
#[test]
fn a_beat_of_another_build_is_understood() {
    let mut body = Writer::default();
    body.map(8);
    body.text("colours");
    body.array(2);
    body.map(1);
    body.text("of what");
    body.text("the flag");
    body.nil();
    body.text("namespace");
    body.text("orders");
    body.text("node");
    body.text("a");
    body.text("session");
    body.unsigned(u64::MAX);
    body.text("role");
    body.text("leader");
    body.text("term");
    body.unsigned(3);
    body.text("index");
    body.unsigned(9);
    body.text("chain");
    body.binary(&(1u128 << 100).to_be_bytes());
    let message = envelope::seal(EnvelopeKind::NodeBeat, &body.into_vec());
    let without = NodeBeat {
        address: None,
        leader: None,
        is_eligible: false,
        is_desynced: false,
        furthest_sequence: 0,
        ..beat()
    };
    assert_eq!(NodeBeat::decode(message, &Limits::default()).expect("sound"), without);
}
