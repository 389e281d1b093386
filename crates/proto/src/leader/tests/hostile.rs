//! What is made to break a node, or comes from a build that this one does not know.

use super::*;
use crate::{envelope::seal, leader::talk::to_named};

const BIG: usize = 3 << 30;

fn limits() -> Limits {
    Limits::default()
}

/// The head of a batch of the namespace "orders", and one element after it: what `entries` writes.
fn batch(entries: impl FnOnce(&mut Writer)) -> Result<EntryBatch, DecodeError> {
    let mut body = Writer::default();
    body.array(6);
    body.text("orders");
    body.unsigned(1);
    body.unsigned(1);
    body.binary(&[0; 16]);
    body.unsigned(0);
    entries(&mut body);
    EntryBatch::decode(seal(EnvelopeKind::Entries, &body.into_vec()), &limits())
}

fn one_entry(entry: impl FnOnce(&mut Writer)) -> Result<EntryBatch, DecodeError> {
    batch(|body| {
        body.array(1);
        entry(body);
    })
}

fn question(bytes: &[u8]) -> Result<NodeQuestion, DecodeError> {
    let mut body = Writer::default();
    body.array(3);
    body.text("orders");
    body.text("a");
    body.raw(bytes);
    let message = seal(EnvelopeKind::NodeQuestion, &body.into_vec());
    NodeQuestion::decode(message, &limits()).map(|(_, _, question)| question)
}

fn answer(body: &[u8]) -> Result<NodeAnswer, DecodeError> {
    NodeAnswer::decode(seal(EnvelopeKind::NodeAnswer, body), &limits(), 1 << 20)
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.into_vec()
}

fn is_malformed<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> String {
    match result {
        Err(error @ DecodeError::Malformed { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn is_over<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> &'static str {
    match result {
        Err(DecodeError::OverLimit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

/// A log must not be skipped over for lack of an update.
#[test]
fn an_entry_that_only_a_newer_build_knows_is_told_apart_from_a_broken_one() {
    let from_the_future: [fn(&mut Writer); 3] = [
        |operation| {
            operation.array(2);
            operation.unsigned(7);
            operation.text("what nobody does yet");
        },
        |delete_with_more| {
            delete_with_more.array(3);
            delete_with_more.unsigned(2);
            delete_with_more.text("user/7");
            delete_with_more.nil();
        },
        |put_of_another_kind| {
            put_of_another_kind.array(4);
            put_of_another_kind.unsigned(1);
            put_of_another_kind.unsigned(3);
            put_of_another_kind.text("user/7");
            put_of_another_kind.binary(&value("Bob"));
        },
    ];
    for entry in from_the_future {
        let refused = one_entry(entry).expect_err("it is unknown");
        assert!(refused.is_from_the_future(), "{refused}");
    }
    let broken: [fn(&mut Writer); 4] = [
        |nothing| nothing.array(0),
        |delete_of_nothing| {
            delete_of_nothing.array(1);
            delete_of_nothing.unsigned(2);
        },
        |operation_in_words| {
            operation_in_words.array(1);
            operation_in_words.text("delete");
        },
        |delete_of_a_number| {
            delete_of_a_number.array(2);
            delete_of_a_number.unsigned(2);
            delete_of_a_number.unsigned(7);
        },
    ];
    for entry in broken {
        let refused = one_entry(entry).expect_err("it is broken");
        assert!(!refused.is_from_the_future(), "{refused}");
    }
}

#[test]
fn a_message_of_another_kind_is_refused_by_every_reader() {
    let messages = [
        (EnvelopeKind::Entries, EntryBatch::decode as fn(Bytes, &Limits) -> _),
        (EnvelopeKind::Events, EntryBatch::decode),
    ];
    let nothing = written(|batch| {
        batch.array(1);
        batch.unsigned(6);
    });
    for (kind, decode) in messages {
        is_malformed(decode(seal(kind, &nothing), &limits()));
    }
    for kind in
        [EnvelopeKind::Entries, EnvelopeKind::Events, EnvelopeKind::NodeBeat, EnvelopeKind::StateAnswer]
    {
        let message = seal(kind, &written(|body| body.text("done")));
        let reason = is_malformed(NodeAnswer::decode(message.clone(), &limits(), 1 << 20));
        assert!(reason.contains("instead of NodeAnswer"), "{reason}");
        let reason = is_malformed(NodeQuestion::decode(message, &limits()));
        assert!(reason.contains("instead of NodeQuestion"), "{reason}");
    }
    let reason = is_malformed(NodeBeat::decode(NodeAnswer::Done.encode(), &limits()));
    assert!(reason.contains("instead of NodeBeat"), "{reason}");
    let reason = is_malformed(EntryBatch::decode(beat().encode(), &limits()));
    assert!(reason.contains("instead of Entries"), "{reason}");
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let appended = |mut body: Vec<u8>| {
        body.push(0xc0);
        body
    };
    is_malformed(question(&appended(written(|body| body.text("head")))));
    is_malformed(answer(&appended(written(|body| body.text("done")))));
    is_malformed(batch(|body| {
        body.array(1);
        body.array(1);
        body.unsigned(6);
        body.nil();
    }));
    let named = to_named(&beat());
    is_malformed(NodeBeat::decode(seal(EnvelopeKind::NodeBeat, &appended(named)), &limits()));
    let mut beyond_the_envelope = NodeAnswer::Done.encode().to_vec();
    beyond_the_envelope.push(0xc0);
    is_malformed(NodeAnswer::decode(beyond_the_envelope.into(), &limits(), 1 << 20));
}

/// Room is made for what follows, not for what is announced: else these would take more memory than there is.
#[test]
fn a_forged_length_is_refused_before_room_is_made_for_it() {
    let announced = u32::try_from(BIG).expect("32 bits").to_be_bytes();
    let [array, text, binary] = [0xdd, 0xdb, 0xc6].map(|marker| [&[marker], &announced[..]].concat());
    let in_map = |name: &str, bytes: &[u8]| {
        written(|body| {
            body.map(1);
            body.text(name);
            body.raw(bytes);
        })
    };
    is_malformed(batch(|body| body.raw(&array)));
    is_malformed(one_entry(|body| body.raw(&array)));
    assert_eq!(
        is_over(one_entry(|body| {
            body.array(2);
            body.unsigned(2);
            body.raw(&text);
        })),
        "entity_id_bytes_max"
    );
    is_malformed(answer(&in_map("tail", &array)));
    is_malformed(answer(&in_map("tail", &[&[0x91][..], &binary].concat())));
    is_malformed(answer(&in_map("state", &in_map("rows", &array))));
    is_malformed(answer(&in_map("state", &in_map("rows", &[&[0x91, 0x93][..], &text].concat()))));
    is_malformed(answer(&in_map("state", &in_map("followers", &array))));
    is_malformed(answer(&in_map("unable", &in_map("reason", &text))));
    is_malformed(question(&in_map("write", &in_map("value", &binary))));
    is_malformed(question(&in_map("hand_over", &in_map("to", &text))));
    let body = in_map("address", &text);
    is_malformed(NodeBeat::decode(seal(EnvelopeKind::NodeBeat, &body), &limits()));
}

#[test]
fn what_nests_deep_is_refused_and_does_not_recurse() {
    let deep = vec![0x91; 500_000];
    is_malformed(answer(&deep));
    is_malformed(question(&deep));
    is_malformed(batch(|body| body.raw(&deep)));
    is_malformed(NodeBeat::decode(seal(EnvelopeKind::NodeBeat, &deep), &limits()));
    // Where a field of any kind is skipped.
    let unknown_field = written(|body| {
        body.map(1);
        body.text("colours");
        body.raw(&deep);
        body.nil();
    });
    let in_answer = [
        &written(|body| {
            body.map(1);
            body.text("unable");
        })[..],
        &unknown_field,
    ]
    .concat();
    let beat = seal(EnvelopeKind::NodeBeat, &unknown_field);
    for reason in [is_malformed(answer(&in_answer)), is_malformed(NodeBeat::decode(beat, &limits()))] {
        assert!(reason.contains("depth"), "{reason}");
    }
    let value: Bytes = [&deep[..65], &[0xc0]].concat().into();
    let put = Operation::Put { key: "user/7".into(), value: value.clone(), kind: PutKind::Upsert };
    assert_eq!(is_over(one_entry(|body| body.raw(Entry::new(put).encoded()))), "value_depth_max");
    let write = NodeQuestion::Write(write(value));
    assert_eq!(is_over(NodeQuestion::decode(write.encode("orders", "a"), &limits())), "value_depth_max");
}

fn write(value: Bytes) -> ForwardedWrite {
    ForwardedWrite { key: "user/7".into(), value: Some(value), kind: PutKind::Upsert, expected_version: None }
}

/// A leader would write it, and no node could read the log from there on.
#[test]
fn a_write_that_could_not_become_an_entry_is_refused() {
    let asked = |write: ForwardedWrite| {
        NodeQuestion::decode(NodeQuestion::Write(write).encode("orders", "a"), &limits())
    };
    let sound = write(value("Bob"));
    asked(sound.clone()).expect("sound");
    is_malformed(asked(ForwardedWrite { key: "".into(), ..sound.clone() }));
    is_malformed(asked(write(Bytes::new())));
    is_malformed(asked(write(Bytes::from_static(&[0xc0, 0xc0]))));
    is_malformed(asked(write(Bytes::from_static(&[0xc1]))));
    let long = ForwardedWrite { key: "k".repeat(513).into(), ..sound };
    assert_eq!(is_over(asked(long)), "entity_id_bytes_max");
    let big = encode_value(&"v".repeat(512 << 10), &Limits { value_bytes_max: 1 << 20, ..limits() });
    assert_eq!(is_over(asked(write(big.expect("small")))), "value_bytes_max");
}

#[test]
fn rows_of_a_state_that_no_node_stores_are_refused() {
    let told = |rows: Vec<(Text, u64, Bytes)>| {
        let page = StatePage {
            index: 9,
            term: 1,
            chain: 1,
            index_after: 9,
            place: None,
            rows,
            is_last: true,
            rows_total: 1,
            followers: vec![],
        };
        NodeAnswer::decode(NodeAnswer::State(page).encode(), &limits(), 1 << 20)
    };
    let row = |key: &str| (Text::from(key), 1, value("Bob"));
    told(vec![row("a"), row("b")]).expect("sound");
    is_malformed(told(vec![row("b"), row("a")]));
    is_malformed(told(vec![row("a"), row("a")]));
    is_malformed(told(vec![row("")]));
    is_malformed(told(vec![("a".into(), 0, value("Bob"))]));
    is_malformed(told(vec![("a".into(), 1, Bytes::new())]));
    assert_eq!(is_over(told(vec![row(&"k".repeat(513))])), "entity_id_bytes_max");
}

#[test]
fn names_and_addresses_are_bounded() {
    let long = "n".repeat(65);
    let far = "a".repeat(1_025);
    let beats = [
        NodeBeat { namespace: long.clone(), ..beat() },
        NodeBeat { node: long.clone(), ..beat() },
        NodeBeat { leader: Some(long.clone()), ..beat() },
        NodeBeat { address: Some(far.clone()), ..beat() },
    ];
    for beat in beats {
        is_over(NodeBeat::decode(beat.encode(), &limits()));
    }
    let head = NodeQuestion::Head;
    is_over(NodeQuestion::decode(head.encode(&long, "a"), &limits()));
    is_over(NodeQuestion::decode(head.encode("orders", &long), &limits()));
    is_over(NodeQuestion::decode(
        NodeQuestion::HandOver { to: long.clone() }.encode("orders", "a"),
        &limits(),
    ));
    for (leader, address) in [(Some(long.clone()), None), (None, Some(far.clone()))] {
        let answer = NodeAnswer::NotLeader { leader, address };
        is_over(NodeAnswer::decode(answer.encode(), &limits(), 1 << 20));
    }
    let entries = [
        Operation::Register { node: (&long).into() },
        Operation::Unregister { node: (&long).into() },
        Operation::TermStart { node: long.into(), session: 1, address: None },
        Operation::TermStart { node: "a".into(), session: 1, address: Some(far.into()) },
    ];
    for operation in entries {
        is_over(one_entry(|body| body.raw(Entry::new(operation).encoded())));
    }
}

#[test]
fn a_message_over_its_limit_is_refused_unread() {
    let small = Limits { batch_bytes_max: 64, ..limits() };
    let long = "n".repeat(64);
    let message = beat().encode();
    assert_eq!(is_over(NodeBeat::decode(message, &small)), "batch_bytes_max");
    assert_eq!(
        is_over(NodeQuestion::decode(NodeQuestion::Head.encode(&long, "a"), &small)),
        "batch_bytes_max"
    );
    let answer = NodeAnswer::Unable { reason: long }.encode();
    assert_eq!(is_over(NodeAnswer::decode(answer, &limits(), 64)), "batch_bytes_max");
    let many = batch(|body| {
        body.array(1_025);
        for _ in 0..1_025 {
            body.raw(Entry::new(Operation::Nothing).encoded());
        }
    });
    assert_eq!(is_over(many), "batch_events_max");
}

#[test]
fn a_batch_that_no_leader_writes_is_refused() {
    let sound = EntryBatch {
        namespace: "orders".into(),
        term: 1,
        first_index: 1,
        before: 0,
        written_unix_ms: 0,
        entries: vec![Entry::new(Operation::Nothing)],
    };
    let decoded = |batch: EntryBatch| EntryBatch::decode(batch.encode(), &limits());
    decoded(sound.clone()).expect("sound");
    is_malformed(decoded(EntryBatch { term: 0, ..sound.clone() }));
    is_malformed(decoded(EntryBatch { first_index: 0, ..sound.clone() }));
    is_malformed(decoded(EntryBatch { entries: vec![], ..sound }));
}

/// Nobody keeps what is asked, so it is refused like what is broken; whoever reads the reason sees what was asked.
#[test]
fn a_question_that_only_a_newer_build_knows_is_refused_by_name() {
    for bytes in [
        written(|body| body.text("sing")),
        written(|body| {
            body.map(1);
            body.text("sing");
            body.nil();
        }),
    ] {
        let refused = question(&bytes).expect_err("it is unknown");
        assert!(!refused.is_from_the_future());
        assert!(refused.to_string().contains("`sing`"), "{refused}");
        let refused = answer(&bytes).expect_err("it is unknown");
        assert!(refused.to_string().contains("`sing`"), "{refused}");
    }
}

#[test]
fn fields_that_a_newer_build_added_to_a_question_are_skipped() {
    let asked = question(&written(|body| {
        body.map(1);
        body.text("tail");
        body.map(3);
        body.text("after");
        body.unsigned(7);
        body.text("bytes_max");
        body.unsigned(9);
        body.text("colours");
        body.array(1);
        body.nil();
    }));
    assert_eq!(asked, Ok(NodeQuestion::Tail { after: 7, bytes_max: 9 }));
}
