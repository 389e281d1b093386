//! What a reader sees of siblings at the edges: one alone, a value that is too large, bytes that are no value.

mod support;

use archipelago_conflict::{ConflictStrategy, Custom, Strategy, StrategyTable};
use archipelago_crdt::Value;
use archipelago_engine::{EngineConfig, Visible};
use archipelago_proto::{Event, Limits, Op};
use bytes::Bytes;
use serde_json::json;
use support::{Replica, config, put, value};

const ENTITY: &str = "x";

fn pair(strategy: impl ConflictStrategy) -> [Replica; 2] {
    let strategies = StrategyTable::new(strategy);
    ["a", "b"].map(|name| {
        Replica::new(EngineConfig { strategies: strategies.clone(), ..config(name, Strategy::Lww) })
    })
}

fn visible(replica: &Replica) -> Option<Visible> {
    let strategy = replica.engine.config().strategies.strategy(ENTITY).clone();
    let record = replica.record(&ENTITY.into())?;
    archipelago_engine::visible(&record, &*strategy, &Limits::default())
}

#[test]
fn a_function_is_not_asked_about_a_single_version() {
    let [mut a, mut b] =
        pair(Custom::new("how-many", 1, |siblings| Some(Value::from(siblings.len() as i64))));
    let one = a.write(ENTITY, put("one"), 1_000).1;
    assert_eq!(a.read(ENTITY), Some(json!("one")));
    b.write(ENTITY, put("two"), 2_000);
    b.receive(&one, None, 2_000);
    assert_eq!(b.read(ENTITY), Some(json!(2)));
    b.write(ENTITY, put("three"), 3_000);
    assert_eq!(b.read(ENTITY), Some(json!("three")));
}

#[test]
fn in_place_of_a_computed_value_over_the_limits_the_later_sibling_is_visible() {
    let bytes_max = Limits::default().value_bytes_max;
    let [mut a, mut b] =
        pair(Custom::new("too-large", 1, move |_| Some(Value::from("x".repeat(bytes_max + 1)))));
    let one = a.write(ENTITY, put("one"), 1_000).1;
    b.write(ENTITY, put("two"), 2_000);
    b.receive(&one, None, 2_000);
    assert_eq!(b.read(ENTITY), Some(json!("two")));
}

/// Shows what the sibling of the replica `a` is.
fn of_a() -> Custom {
    Custom::new("of-a", 1, |siblings| siblings.first()?.value.clone())
}

#[test]
fn a_sibling_that_is_no_value_is_shown_to_a_function_as_bytes() {
    let [mut a, mut b] = pair(of_a());
    let written = a.write(ENTITY, put("one"), 1_000).1;
    let garbage = Event { op: Op::Put(Bytes::from_static(&[0xc1])), ..written };
    b.write(ENTITY, put("two"), 2_000);
    b.receive(&garbage, None, 2_000);
    let shown = visible(&b).expect("the bytes");
    let shown: Value = archipelago_proto::decode_value(&shown.value, &Limits::default()).unwrap();
    assert_eq!(shown, Value::Bytes(vec![0xc1]));
}

#[test]
fn a_function_sees_siblings_that_are_longer_than_a_write_may_be_here() {
    let [mut a, mut b] = pair(of_a());
    let long = a.write(ENTITY, put("long ".repeat(20)), 1_000).1;
    b.write(ENTITY, put("two"), 2_000);
    b.receive(&long, None, 2_000);
    let mut limits = Limits::default();
    limits.value_bytes_max = 50;
    let length = Custom::new("length", 1, |siblings| {
        siblings.first()?.value.as_ref()?.as_text().map(|text| Value::from(text.len() as i64))
    });
    let visible = archipelago_engine::visible(&b.record(&ENTITY.into()).unwrap(), &length, &limits);
    assert_eq!(visible.expect("a number").value, value(100));
}

#[test]
fn the_visible_write_is_the_later_one_whatever_the_names_of_the_replicas() {
    for strategy in [Strategy::VersionVector, Strategy::Manual, Strategy::Detect] {
        for (at_a, at_b) in [(1_000, 2_000), (2_000, 1_000)] {
            let [mut a, mut b] = pair(strategy);
            let (by_a, of_a) = a.write(ENTITY, put("of a"), at_a);
            let (by_b, _) = b.write(ENTITY, put("of b"), at_b);
            b.receive(&of_a, None, 3_000);
            let later = if at_a > at_b { by_a } else { by_b };
            let visible = visible(&b).expect("one of them");
            assert_eq!((visible.dot, visible.hlc), (later.dot, later.hlc), "{strategy}");
        }
    }
}
