//! Texts as fields of records.

mod support;

use archipelago_clock::ReplicaId;
use archipelago_conflict::Strategy;
use archipelago_crdt::Text;
use archipelago_engine::{Change, Received};
use archipelago_proto::{Event, Limits, Op, decode_value};
use serde::{Deserialize, Serialize};
use support::{Replica, config, value};

const ENTITY: &str = "page/1";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    body: Text,
}

fn read(replica: &Replica) -> Page {
    let Some(record) = replica.record(&ENTITY.into()) else { return Page::default() };
    let visible = archipelago_engine::visible(&record, &Strategy::CrdtMerge, &Limits::default());
    visible.map_or_else(Page::default, |visible| {
        decode_value(&visible.value, &Limits::default()).expect("a page")
    })
}

/// What a user's read, change and write does.
fn edit(replica: &mut Replica, now: u64, edit: impl FnOnce(&mut Text, &ReplicaId)) -> Event {
    let mut page = read(replica);
    edit(&mut page.body, &replica.engine.config().replica);
    replica.write(ENTITY, Change::Put(value(&page)), now).1
}

fn deliver(replica: &mut Replica, event: &Event) {
    assert_eq!(replica.receive(event, None, 9_000_000), Received::Applied);
}

#[test]
fn edits_of_two_replicas_meet_in_one_text() {
    let [mut a, mut b] = ["a", "b"].map(|name| Replica::new(config(name, Strategy::CrdtMerge)));
    let begun = edit(&mut a, 1_000, |body, me| drop(body.push_str(me, "Hello world").unwrap()));
    deliver(&mut b, &begun);
    let from_a = [
        edit(&mut a, 2_000, |body, me| drop(body.insert(me, 5, ",").unwrap())),
        edit(&mut a, 3_000, |body, me| drop(body.push_str(me, "!").unwrap())),
    ];
    let from_b = edit(&mut b, 2_500, |body, me| drop(body.replace(me, 6..11, "islands").unwrap()));
    deliver(&mut a, &from_b);
    from_a.iter().for_each(|event| deliver(&mut b, event));
    assert_eq!(read(&a), read(&b));
    assert_eq!(a.engine.digest(), b.engine.digest());
    assert_eq!(read(&a).body.as_str(), "Hello, islands!");
}

#[test]
fn writing_a_page_back_as_it_was_read_takes_nothing_away() {
    let mut a = Replica::new(config("a", Strategy::CrdtMerge));
    edit(&mut a, 1_000, |body, me| drop(body.push_str(me, "one").unwrap()));
    let stale = read(&a);
    edit(&mut a, 2_000, |body, me| drop(body.push_str(me, " two").unwrap()));
    let Op::Patch(fields) = a.write(ENTITY, Change::Put(value(&stale)), 3_000).1.op else {
        panic!("a patch")
    };
    assert!(fields.is_empty());
    assert_eq!(read(&a).body.as_str(), "one two");
}
