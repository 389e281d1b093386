//! Strategies of the application, and several in one namespace.

mod support;

use archipelago_conflict::{Attention, Custom, Strategy, StrategyTable};
use archipelago_crdt::Value;
use archipelago_engine::{Change, EngineConfig, Notice};
use archipelago_proto::Event;
use serde_json::json;
use support::{Replica, config, value};

/// Neither commutative nor associative nor idempotent: it writes down the siblings in the order in which it sees them.
fn transcript() -> Custom {
    Custom::new("transcript", 1, |siblings| {
        let texts = siblings.iter().map(|sibling| match &sibling.value {
            Some(value) => value.as_text().unwrap_or("?").to_owned(),
            None => "removed".to_owned(),
        });
        Some(Value::from(texts.collect::<Vec<_>>().join(" then ")))
    })
}

fn replicas(strategies: &StrategyTable) -> [Replica; 3] {
    ["a", "b", "c"].map(|name| {
        Replica::new(EngineConfig { strategies: strategies.clone(), ..config(name, Strategy::Lww) })
    })
}

/// Every order of the first `n` numbers.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut longer = order.clone();
        longer.insert(at, n - 1);
        longer
    };
    shorter.iter().flat_map(|order| (0..n).map(move |at| insert(order, at))).collect()
}

#[test]
fn a_function_that_breaks_every_law_converges_under_every_interleaving() {
    let strategies = StrategyTable::new(transcript());
    let mut events: Vec<Event> = Vec::new();
    let mut writers = replicas(&strategies);
    for (writer, text) in writers.iter_mut().zip(["one", "two", "three"]) {
        events.push(writer.write("x", Change::Put(value(text)), 1_000).1);
    }
    // One more that has seen its own first only, and a removal that has seen nothing of the others.
    events.push(writers[1].write("x", Change::Put(value("two and a half")), 500).1);
    events.push(writers[2].write("x", Change::Delete, 2_000).1);
    let orders = permutations(events.len());
    assert_eq!(orders.len(), 120);
    for order in orders {
        let [mut reader, ..] = ["r", "s"].map(|name| {
            Replica::new(EngineConfig { strategies: strategies.clone(), ..config(name, Strategy::Lww) })
        });
        for at in order {
            reader.receive(&events[at], None, 5_000);
        }
        assert_eq!(reader.read("x"), Some(json!("one then two and a half then removed")));
    }
}

#[test]
fn a_later_write_supersedes_all_siblings_that_its_author_had_seen() {
    let [mut a, mut b, _] = replicas(&StrategyTable::new(transcript()));
    let one = a.write("x", Change::Put(value("one")), 1_000).1;
    let two = b.write("x", Change::Put(value("two")), 1_000).1;
    a.receive(&two, None, 1_000);
    b.receive(&one, None, 1_000);
    assert_eq!(a.read("x"), Some(json!("one then two")));
    let three = a.write("x", Change::Put(value("three")), 1_000).1;
    b.receive(&three, None, 1_000);
    assert_eq!((a.read("x"), b.read("x")), (Some(json!("three")), Some(json!("three"))));
    assert_eq!(a.engine.digest(), b.engine.digest());
}

#[test]
fn each_prefix_has_its_own_strategy() {
    let table = StrategyTable::new(Strategy::Lww)
        .with_prefix("user/", Strategy::FieldMerge)
        .with_prefix("note/", transcript())
        .with_prefix("deal/", Strategy::Manual);
    let [mut a, mut b, _] = replicas(&table);
    let ids = ["plain", "user/1", "note/1", "deal/1"];
    let mut events = Vec::new();
    for id in ids {
        let (left, right) = match id {
            "user/1" => (value(json!({ "p": 1 })), value(json!({ "q": 2 }))),
            _ => (value("left"), value("right")),
        };
        events.push(a.write(id, Change::Put(left), 1_000).1);
        events.push(b.write(id, Change::Put(right), 2_000).1);
    }
    for event in &events {
        a.receive(event, None, 2_000);
        b.receive(event, None, 2_000);
    }
    let expected = [json!("right"), json!({ "p": 1, "q": 2 }), json!("left then right"), json!("right")];
    for (id, expected) in ids.into_iter().zip(expected) {
        assert_eq!(a.read(id), Some(expected.clone()), "{id}");
        assert_eq!(b.read(id), Some(expected), "{id}");
    }
    assert_eq!(a.engine.digest(), b.engine.digest());
    let asked = a.notices.iter().filter_map(|notice| match notice {
        Notice::Conflict(conflict) => Some((&*conflict.entity, &*conflict.strategy, conflict.attention)),
        _ => None,
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            ("plain", "lww", Attention::None),
            ("note/1", "transcript", Attention::None),
            ("deal/1", "manual", Attention::Resolve),
        ]
    );
}
