//! Every strategy converges on histories that collide; what is not a function of the siblings does not.

use std::sync::atomic::{AtomicI64, Ordering};

use archipelago_conflict::{Custom, Strategy, StrategyTable};
use archipelago_crdt::Value;
use archipelago_testkit::{History, assert_converges, converge};

fn histories() -> [History; 3] {
    [
        History::new("east").put("x", "a").put("y", "b").delete("x").put("x", "c"),
        History::new("west").put("x", "d").set_field("z", "name", "e").put("y", &1).remove_field("z", "name"),
        History::new("south").delete("y").set_field("z", "name", "f").set_field("z", "age", &2).put("z", &3),
    ]
}

#[test]
fn every_strategy_converges() {
    for strategy in Strategy::ALL {
        assert_converges(&StrategyTable::new(strategy), &histories(), 64);
    }
}

#[test]
fn a_custom_function_that_is_not_commutative_converges() {
    let first = Custom::new("first", 1, |siblings| siblings.first()?.value.clone());
    assert_converges(&StrategyTable::new(first), &histories(), 64);
}

#[test]
fn a_custom_function_that_depends_on_more_than_the_siblings_is_found() {
    let calls = AtomicI64::new(0);
    let impure = Custom::new("impure", 1, move |_| Some(Value::from(calls.fetch_add(1, Ordering::Relaxed))));
    let histories = [History::new("east").put("x", "a"), History::new("west").put("x", "b")];
    let table = StrategyTable::new(impure);
    let found = (0..64).find_map(|seed| converge(&table, &histories, seed).err());
    let divergence = found.expect("concurrent writes in one of the interleavings");
    assert!(divergence.detail.contains("what is visible"), "{divergence}");
}

#[test]
fn a_seed_repeats_its_interleaving() {
    let table = StrategyTable::new(Strategy::Lww);
    let views: Vec<_> =
        (0..16).map(|seed| converge(&table, &histories(), seed).expect("it converges")).collect();
    let again: Vec<_> =
        (0..16).map(|seed| converge(&table, &histories(), seed).expect("it converges")).collect();
    assert_eq!(views, again);
    assert!(views.iter().any(|view| *view != views[0]), "seeds differ from one another");
}
