use archipelago_clock::{MintError, ReplicaId};
use proptest::prelude::*;
use yrs::{Doc, GetString, Text as _, Transact, Update, updates::decoder::Decode};

use super::*;
use crate::{
    Crdt, DeltaCrdt, dynamic,
    executions::{self, History, Subject, executions},
    laws,
};

fn replica(number: u8) -> ReplicaId {
    format!("r{number}@{number:016x}").parse().expect("a replica id")
}

fn merged(one: &Text, other: &Text) -> Text {
    let mut merged = one.clone();
    merged.merge(other);
    merged
}

fn bytes(text: &Text) -> Vec<u8> {
    rmp_serde::to_vec_named(text).expect("a text encodes")
}

fn of(actor: &ReplicaId, text: &str) -> Text {
    let mut new = Text::new();
    new.push_str(actor, text).expect("a text of its own");
    new
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, String),
    Remove(usize, usize),
    Replace(usize, usize, String),
    Set(String),
}

fn ops() -> impl Strategy<Value = Op> {
    let text = || "[ab é😀]{1,4}";
    prop_oneof![
        6 => (any::<usize>(), text()).prop_map(|(at, text)| Op::Insert(at, text)),
        3 => (any::<usize>(), 1..5usize).prop_map(|(at, len)| Op::Remove(at, len)),
        2 => (any::<usize>(), 0..4usize, text()).prop_map(|(at, len, text)| Op::Replace(at, len, text)),
        1 => "[ab é😀]{0,8}".prop_map(Op::Set),
    ]
}

/// The range of characters that an operation means in a text.
fn range_in(text: &str, at: usize, len: usize) -> std::ops::Range<usize> {
    let chars = text.chars().count();
    let start = at % (chars + 1);
    start..(start + len).min(chars)
}

fn text_after(text: &str, op: &Op) -> String {
    let (range, new) = match op {
        Op::Insert(at, new) => (range_in(text, *at, 0), &new[..]),
        Op::Remove(at, len) => (range_in(text, *at, *len), ""),
        Op::Replace(at, len, new) => (range_in(text, *at, *len), &new[..]),
        Op::Set(new) => return new.clone(),
    };
    let chars: Vec<char> = text.chars().collect();
    let (before, after) = (&chars[..range.start], &chars[range.end..]);
    before.iter().copied().chain(new.chars()).chain(after.iter().copied()).collect()
}

fn update(text: &mut Text, actor: &ReplicaId, op: &Op) -> Option<Text> {
    let delta = match op {
        Op::Insert(at, new) => text.insert(actor, range_in(text.as_str(), *at, 0).start, new),
        Op::Remove(at, len) => text.remove(range_in(text.as_str(), *at, *len)),
        Op::Replace(at, len, new) => text.replace(actor, range_in(text.as_str(), *at, *len), new),
        Op::Set(new) => text.set(actor, new),
    };
    delta.ok()
}

struct Texts;

/// The updates that yrs makes of the operations, by itself, each in a document that knows those before it.
fn document(client: u64, updates: impl Iterator<Item = Vec<u8>>) -> (Doc, yrs::TextRef) {
    let doc = Doc::with_client_id(client);
    let root = doc.get_or_insert_text("text");
    let mut transaction = doc.transact_mut();
    for update in updates {
        let update = Update::decode_v1(&update).expect("what yrs wrote");
        transaction.apply_update(update).expect("what yrs wrote");
    }
    drop(transaction);
    (doc, root)
}

fn client_of(actor: u8) -> u64 {
    let mut text = of(&replica(actor), "a");
    text.remove(..).expect("what is there");
    text.runs().clients().next().expect("one client").0
}

impl Subject for Texts {
    type State = Text;
    type Op = Op;
    type Value = String;

    fn update(text: &mut Text, actor: u8, op: &Op) -> Option<Text> {
        update(text, &replica(actor), op)
    }

    fn value(text: &Text) -> String {
        text.to_string()
    }

    fn model(history: &History<Op>) -> String {
        let mut updates: Vec<(usize, Vec<u8>)> = Vec::new();
        for (event, op) in history.iter() {
            let past = updates.iter().filter(|(earlier, _)| history.before(*earlier, event));
            let (doc, root) =
                document(client_of(history.actor(event)), past.map(|(_, update)| update.clone()));
            let mut transaction = doc.transact_mut();
            let old = root.get_string(&transaction);
            let new = text_after(&old, op);
            for hunk in hunks_of(&old, &new, op).into_iter().rev() {
                let short = |len: usize| u32::try_from(len).expect("short");
                root.insert(&mut transaction, short(hunk.0.start), &hunk.1);
                let start = short(hunk.0.start + hunk.1.len());
                root.remove_range(&mut transaction, start, short(hunk.0.len()));
            }
            let update = transaction.encode_update_v1();
            updates.push((event, update));
        }
        let (doc, root) = document(0, updates.into_iter().map(|(_, update)| update));
        let transaction = doc.transact();
        root.get_string(&transaction)
    }
}

fn hunks_of(old: &str, new: &str, op: &Op) -> Vec<(std::ops::Range<usize>, String)> {
    let byte = |at: usize| old.char_indices().map(|(byte, _)| byte).nth(at).unwrap_or(old.len());
    let (at, len, text) = match op {
        Op::Insert(at, text) => (*at, 0, &text[..]),
        Op::Remove(at, len) => (*at, *len, ""),
        Op::Replace(at, len, text) => (*at, *len, &text[..]),
        Op::Set(_) => {
            let hunks = hunks::hunks(old, new).into_iter();
            return hunks.map(|hunk| (hunk.range, hunk.text.to_owned())).collect();
        }
    };
    let range = range_in(old, at, len);
    vec![(byte(range.start)..byte(range.end), text.to_owned())]
}

/// Insertions and deletions that need not make sense, and say different things of the same ids.
fn forged() -> impl Strategy<Value = Text> {
    let id = || (0..3u64, 0..6u32).prop_map(|(client, clock)| run::Id { client, clock });
    let place = (proptest::option::of(id()), proptest::option::of(id()))
        .prop_map(|(origin, right)| run::Place { origin, right });
    let piece = (0..3u32, place, proptest::option::weighted(0.8, "[ab😀𝄞\u{fffd}]{1,3}"), 1..4u32);
    let client = (0..3u64, proptest::collection::vec(piece, 0..4));
    let deletions = proptest::collection::vec((0..3u64, 0..9u32, 1..3u32), 0..3);
    (proptest::collection::vec(client, 0..4), deletions).prop_map(|(clients, deletions)| {
        let mut known = TextRuns::default();
        for (client, pieces) in clients {
            let mut clock = 0;
            let mut runs = Vec::new();
            for (gap, place, text, len) in pieces {
                clock += gap;
                let earlier = |id: &run::Id| id.client != client || id.clock < clock;
                let (origin, right) = (place.origin.filter(earlier), place.right.filter(earlier));
                let place = Some(run::Place { origin, right });
                let len =
                    text.as_deref().map_or(len, |text| u32::try_from(run::units_in(text)).expect("short"));
                runs.push(run::Run { clock, len, place, text });
                clock += len;
            }
            known.join_runs(client, &runs);
        }
        for (client, clock, len) in deletions {
            known.join_runs(client, &[run::Run::deletion(clock, len)]);
        }
        Text::from(known)
    })
}

#[test]
fn concurrent_runs_do_not_mix() {
    let (us, eu) = (replica(1), replica(2));
    let start = of(&us, "()");
    let (mut here, mut there) = (start.clone(), start);
    for (at, character) in "hello".chars().enumerate() {
        here.insert(&us, 1 + at, &character.to_string()).unwrap();
    }
    for (at, character) in "world".chars().enumerate() {
        there.insert(&eu, 1 + at, &character.to_string()).unwrap();
    }
    let both = merged(&here, &there);
    assert!(["(helloworld)", "(worldhello)"].contains(&both.as_str()), "{both}");
    assert_eq!(both, merged(&there, &here));
}

#[test]
fn an_insertion_into_removed_text_stays() {
    let (us, eu) = (replica(1), replica(2));
    let mut here = of(&us, "one two three");
    let mut there = here.clone();
    here.remove(3..7).unwrap();
    there.insert(&eu, 5, "x").unwrap();
    assert_eq!(merged(&here, &there).as_str(), "onex three");
}

#[test]
fn what_is_appended_to_a_replaced_word_stays_behind_it() {
    for (one, other) in [(1, 2), (2, 1)] {
        let (us, eu) = (replica(one), replica(other));
        let mut here = of(&us, "Hello world");
        let mut there = here.clone();
        here.push_str(&us, "!").unwrap();
        there.replace(&eu, 6.., "islands").unwrap();
        assert_eq!(merged(&here, &there).as_str(), "Hello islands!");
    }
}

#[test]
fn misuse_is_refused_and_changes_nothing() {
    let us = replica(1);
    let mut text = of(&us, "aé😀");
    let before = text.clone();
    assert_eq!(text.len(), 3);
    assert_eq!(text.insert(&us, 4, "x"), Err(TextError::OutOfBounds { index: 4, len: 3 }));
    assert_eq!(text.remove(2..5), Err(TextError::OutOfBounds { index: 5, len: 3 }));
    assert_eq!(text.remove(4..), Err(TextError::OutOfBounds { index: 4, len: 3 }));
    assert_eq!(text.remove(..=usize::MAX), Err(TextError::OutOfBounds { index: usize::MAX, len: 3 }));
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is refused")]
    let backwards = text.remove(2..1);
    assert_eq!(backwards, Err(TextError::Backwards { start: 2, end: 1 }));
    assert_eq!((text.as_str(), &text), ("aé😀", &before));
    assert_eq!(text.remove(3..), Ok(Text::new()));
    text.remove(1..=1).unwrap();
    assert_eq!(text.to_string(), "a😀");
}

#[test]
fn an_actor_whose_own_text_is_missing_is_refused() {
    let (us, eu) = (replica(1), replica(2));
    let mut text = of(&us, "a");
    let second = text.push_str(&us, "b").unwrap();
    let mut stranger = second.clone();
    assert_eq!(stranger.as_str(), "", "it waits for what comes before");
    assert_eq!(stranger.push_str(&us, "c"), Err(MintError::OwnDotsMissing.into()));
    assert_eq!(stranger, second);
    let theirs = stranger.push_str(&eu, "x").unwrap();
    // Its own text is there, but not that next to which it was inserted.
    let mut next_to_nothing = text.clone();
    let after = next_to_nothing.push_str(&eu, "y").unwrap();
    assert_eq!(after.clone().push_str(&eu, "z"), Err(MintError::OwnDotsMissing.into()));
    stranger.merge(&text);
    assert_eq!(merged(&text, &theirs), stranger);
    assert!(["abx", "xab"].contains(&stranger.as_str()), "{stranger}");
}

#[test]
fn an_old_copy_that_is_edited_leaves_replicas_equal() {
    let us = replica(1);
    let start = of(&us, "one ");
    let (mut one, mut two) = (start.clone(), start);
    one.push_str(&us, "tea").unwrap();
    two.push_str(&us, "milk").unwrap();
    assert_eq!(merged(&one, &two), merged(&two, &one));
    assert_eq!(bytes(&merged(&one, &two)), bytes(&merged(&two, &one)));
    assert_eq!(merged(&one, &two).as_str(), "one \u{fffd}\u{fffd}\u{fffd}k");
}

#[test]
fn set_makes_the_fewest_changes() {
    let (us, eu) = (replica(1), replica(2));
    let mut here = of(&us, "The quick brown fox");
    let mut there = here.clone();
    let delta = here.set(&us, "A quick red fox").unwrap();
    assert_eq!(here.as_str(), "A quick red fox");
    assert_eq!(delta.delta_since(&Text::new()), Some(delta.clone()));
    there.insert(&eu, 9, "est").unwrap();
    assert_eq!(merged(&here, &there).as_str(), "A quickest red fox");
    assert_eq!(here.clone().set(&us, "A quick red fox"), Ok(Text::new()));
}

#[test]
fn typing_makes_one_run_and_deleting_forgets_the_content() {
    let us = replica(1);
    let mut text = Text::new();
    for _ in 0..1_000 {
        text.push_str(&us, "a").unwrap();
    }
    assert!(bytes(&text).len() < 1_050);
    text.remove(..).unwrap();
    assert!(text.is_empty() && bytes(&text).len() < 50);
}

#[test]
fn the_client_of_an_actor_never_changes() {
    let us: ReplicaId = "us@0000000000000001".parse().unwrap();
    let json = serde_json::to_string(&of(&us, "a")).unwrap();
    assert_eq!(json, r#""0101fcbdf1f59084d60d0004010474657874016100""#);
    assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), of(&us, "a"));
    for wrong in
        [r#""0""#, r#""zz""#, r#""0000 0""#, r#""000000""#, r#""ff""#, r#""""#, "[0,0]", "{}", "null"]
    {
        assert!(serde_json::from_str::<Text>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn yjs_halves_a_character_and_so_does_this() {
    // An editor that counts in units of UTF-16 inserts between the halves of a character, or deletes one.
    let client = 7;
    let original = Text::from_yjs_update(&yjs(client, None, "a😀b"), "text").unwrap();
    assert_eq!(original.as_str(), "a😀b");
    let inserted = Text::from_yjs_update(&yjs(8, Some((1, 2)), "x"), "text").unwrap();
    assert_eq!(merged(&original, &inserted).as_str(), "a\u{fffd}x\u{fffd}b");
    let half = Text::from_yjs_update(&[0, 1, 7, 1, 2, 1], "text").unwrap();
    assert_eq!(merged(&original, &half).as_str(), "a\u{fffd}b");
    laws::join(&original, &inserted, &half);
    laws::delta(&original, &half, &inserted);
}

/// An update with one insertion, between two units of client 7 if it says so.
fn yjs(client: u64, between: Option<(u32, u32)>, text: &str) -> Vec<u8> {
    let id = |clock| Some(run::Id { client: 7, clock });
    let (origin, right) = between.map_or((None, None), |(origin, right)| (id(origin), id(right)));
    let len = u32::try_from(run::units_in(text)).expect("short");
    let run =
        run::Run { clock: 0, len, place: Some(run::Place { origin, right }), text: Some(text.to_owned()) };
    let mut known = TextRuns::default();
    known.join_runs(client, &[run]);
    update::encode(&known, "text")
}

#[test]
fn documents_of_yjs_come_and_go() {
    let doc = Doc::with_client_id(1234);
    let root = doc.get_or_insert_text("codemirror");
    let mut transaction = doc.transact_mut();
    root.insert(&mut transaction, 0, "from a browser");
    root.remove_range(&mut transaction, 5, 2);
    let theirs = transaction.encode_update_v1();
    drop(transaction);
    let mut text = Text::from_yjs_update(&theirs, "codemirror").unwrap();
    assert_eq!(text.as_str(), "from browser");
    let ours = text.push_str(&replica(1), "s").unwrap();
    let mut transaction = doc.transact_mut();
    transaction.apply_update(Update::decode_v1(&ours.to_yjs_update("codemirror")).unwrap()).unwrap();
    assert_eq!(root.get_string(&transaction), "from browsers");
    drop(transaction);
    assert_eq!(
        Text::from_yjs_update(&theirs, "monaco"),
        Err(TextError::NotPlainText { what: "a part under another name" })
    );
    let mut transaction = doc.transact_mut();
    let bold = std::iter::once(("b".into(), true.into())).collect();
    root.format(&mut transaction, 0, 4, bold);
    let formatted = transaction.encode_update_v1();
    assert!(matches!(Text::from_yjs_update(&formatted, "codemirror"), Err(TextError::NotPlainText { .. })));
    assert!(matches!(Text::from_yjs_update(&[1], "text"), Err(TextError::MalformedUpdate { .. })));
}

#[test]
fn the_dynamic_layer_shows_joins_and_compares() {
    let (us, eu) = (replica(1), replica(2));
    let mut text = of(&us, "one");
    let before = bytes(&text);
    text.push_str(&eu, " two").unwrap();
    let after = bytes(&text);
    let delta = dynamic::delta(&after, &before).unwrap().unwrap();
    assert_eq!(dynamic::kind_of(&delta).unwrap().to_string(), "text");
    assert_eq!(dynamic::join(&before, &delta).unwrap(), after);
    assert_eq!(dynamic::delta(&before, &after), Ok(None));
    let dynamic = dynamic::DynamicCrdt::from_typed(&text).unwrap();
    assert_eq!(dynamic.value(), crate::Value::from("one two"));
    assert_eq!(dynamic.to_typed::<Text>().unwrap(), text);
}

#[test]
fn a_text_can_move_to_another_thread() {
    fn movable<T: Send + Sync + 'static>() {}
    movable::<Text>();
}

#[test]
fn a_long_text_of_many_pieces_decodes_and_joins_without_delay() {
    // One long insertion, and deletions of every second character of it that come as one state.
    let len = 200_000u32;
    let long = Text::from_yjs_update(&yjs(1, None, &"é".repeat(len as usize)), "text").unwrap();
    let mut deletions = TextRuns::default();
    let scattered: Vec<_> = (0..len).step_by(2).map(|clock| run::Run::deletion(clock, 1)).collect();
    deletions.join_runs(1, &scattered);
    let started = std::time::Instant::now();
    let joined = merged(&long, &Text::from(deletions));
    assert_eq!(joined.len(), len as usize / 2);
    let delta = joined.delta_since(&long).unwrap();
    assert_eq!(merged(&long, &delta), joined);
    // In steps that grow with the square of the length it takes minutes, on a machine with nothing else to do.
    assert!(started.elapsed().as_secs() < 90, "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn holds_the_laws_and_agrees_with_yrs_alone(run in executions(ops())) {
        executions::check::<Texts>(&run);
    }
}

proptest! {
    #[test]
    fn one_writer_edits_as_in_a_string(ops in proptest::collection::vec(ops(), 0..20)) {
        let (us, mut text, mut model) = (replica(1), Text::new(), String::new());
        for op in ops {
            let before = text.clone();
            model = text_after(&model, &op);
            let delta = update(&mut text, &us, &op);
            prop_assert_eq!(text.as_str(), &model[..]);
            // Computed from the state alone it is the same.
            prop_assert_eq!(text.clone().to_string(), model.clone());
            prop_assert_eq!(merged(&before, &delta.expect("no misuse")), text.clone());
        }
    }

    #[test]
    fn forged_states_hold_the_laws(a in forged(), b in forged(), c in forged()) {
        laws::join(&a, &b, &c);
        laws::delta(&a, &b, &c);
        laws::delta(&merged(&a, &c), &b, &c);
        laws::encoding(&a, &b);
        let all = merged(&merged(&a, &b), &c);
        let shown = all.to_string();
        prop_assert_eq!(rmp_serde::from_slice::<Text>(&bytes(&all)).unwrap().to_string(), shown);
        let (mut edited, us) = (all.clone(), replica(1));
        laws::update(&all, &a, |text| text.push_str(&us, "x").ok());
        edited.insert(&us, 0, "y").unwrap();
        prop_assert!(edited.covers(&all));
    }

    #[test]
    fn arbitrary_bytes_are_harmless(update in proptest::collection::vec(prop_oneof![0..12u8, any::<u8>()], 0..40)) {
        if let Ok(text) = Text::from_yjs_update(&update, "text") {
            let decoded = rmp_serde::from_slice::<Text>(&bytes(&text)).unwrap();
            prop_assert_eq!(decoded.as_str(), text.as_str());
            prop_assert_eq!(decoded, text);
        }
    }
}
