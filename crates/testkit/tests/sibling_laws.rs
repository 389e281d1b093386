//! What the report says of custom strategies that break each law, and that they converge all the same.

use std::collections::BTreeMap;

use archipelago_conflict::{Custom, Sibling, StrategyTable};
use archipelago_crdt::Value;
use archipelago_testkit::{History, assert_converges, merge_laws, proptest::prelude::*, sibling_laws};

/// The texts in the order of the siblings.
fn transcript(siblings: &[Sibling]) -> Option<Value> {
    let texts = siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.as_text());
    Some(Value::from(texts.collect::<String>()))
}

fn texts() -> impl Strategy<Value = Value> {
    "[a-c]{0,3}".prop_map(Value::from)
}

/// The sum for each item, as of carts that two people fill.
fn summed_carts(siblings: &[Sibling]) -> Option<Value> {
    combined(siblings, |one, other| one + other)
}

fn greatest_carts(siblings: &[Sibling]) -> Option<Value> {
    combined(siblings, i64::max)
}

fn combined(siblings: &[Sibling], combine: impl Fn(i64, i64) -> i64) -> Option<Value> {
    let mut items = BTreeMap::<&String, i64>::new();
    for (item, quantity) in siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.as_map()).flatten() {
        let quantity = quantity.as_int().unwrap_or(0);
        items.entry(item).and_modify(|known| *known = combine(*known, quantity)).or_insert(quantity);
    }
    Some(items.into_iter().map(|(item, quantity)| (item.clone(), Value::Int(quantity))).collect())
}

fn carts() -> impl Strategy<Value = Value> {
    let quantity = (1..5i64).prop_map(Value::from);
    proptest::collection::btree_map("[ab]", quantity, 0..3).prop_map(Value::Map)
}

#[test]
fn a_transcript_is_not_commutative_and_the_report_shows_the_shortest_texts() {
    let report = merge_laws!(siblings: transcript, texts() => associative);
    let counterexample = report.commutative.clone().expect_err("the order shows");
    let shortest = [r#"(Some(Text("a")), Some(Text("b")))"#, r#"(Some(Text("b")), Some(Text("a")))"#];
    assert!(shortest.contains(&&*counterexample.input), "{counterexample}");
    let reasons = [
        r#"merge([a, b]) = "ab", but merge([b, a]) = "ba""#,
        r#"merge([a, b]) = "ba", but merge([b, a]) = "ab""#,
    ];
    assert!(reasons.contains(&&*counterexample.reason), "{counterexample}");
    assert!(report.to_string().contains("it converges all the same"), "{report}");
}

#[test]
fn what_is_not_commutative_converges_as_a_strategy() {
    let table = StrategyTable::new(Custom::new("transcript", 1, transcript));
    let histories = ["east", "west", "south"].map(|name| History::new(name).put("x", name).put("x", "again"));
    assert_converges(&table, &histories, 64);
}

#[test]
fn a_cart_that_sums_counts_twice_what_two_siblings_share() {
    let report = merge_laws!(siblings: summed_carts, carts() => commutative, associative);
    let counterexample = report.idempotent.expect_err("a sum is not idempotent");
    assert_eq!(counterexample.reason, r#"merge([a, a]) = {"a":2}, but a = {"a":1}"#);
}

#[test]
fn a_cart_of_the_greatest_quantities_keeps_all_laws_and_needs_no_reminder() {
    let report = merge_laws!(siblings: greatest_carts, carts() => commutative, associative, idempotent);
    assert_eq!(report.to_string(), "commutative: yes\nassociative: yes\nidempotent: yes\n");
}

#[test]
fn removals_are_tried_where_the_values_are_optional() {
    let report = sibling_laws(greatest_carts, proptest::option::of(carts()));
    let counterexample = report.idempotent.expect_err("of two removals it makes an empty cart");
    assert_eq!(
        (&*counterexample.input, &*counterexample.reason),
        ("None", "merge([a, a]) = {}, but a = removed")
    );
}

#[test]
fn a_function_of_how_many_there_are_is_not_associative() {
    let count = |siblings: &[Sibling]| Some(Value::from(siblings.len() as i64));
    let report = merge_laws!(siblings: count, Just(Value::from(0)) => commutative);
    let reason = report.associative.expect_err("it depends on the grouping").reason;
    assert_eq!(reason, "merge([a, b, c]) = 3, but merge([merge([a, b]), c]) = 2");
}

#[test]
#[should_panic(expected = "the merge function is not idempotent, as was claimed")]
fn a_false_claim_fails_the_test() {
    merge_laws!(siblings: summed_carts, carts() => idempotent);
}
