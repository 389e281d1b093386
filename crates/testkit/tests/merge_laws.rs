//! What the report says of merge functions that break each law.

use std::collections::BTreeMap;

use archipelago_testkit::{merge_laws, proptest::prelude::*};

type Cart = BTreeMap<String, u32>;

fn carts() -> impl Strategy<Value = Cart> {
    proptest::collection::btree_map("[ab]", 0..5u32, 0..3)
}

fn greatest_quantities(a: &Cart, b: &Cart) -> Cart {
    let mut merged = a.clone();
    for (item, &quantity) in b {
        let known = merged.entry(item.clone()).or_default();
        *known = quantity.max(*known);
    }
    merged
}

fn summed_quantities(a: &Cart, b: &Cart) -> Cart {
    let mut merged = a.clone();
    b.iter().for_each(|(item, quantity)| *merged.entry(item.clone()).or_default() += quantity);
    merged
}

#[test]
fn a_join_keeps_all_laws_and_needs_no_reminder() {
    let report = merge_laws!(greatest_quantities, carts() => commutative, associative, idempotent);
    assert!(report.hold());
    assert_eq!(report.to_string(), "commutative: yes\nassociative: yes\nidempotent: yes\n");
}

#[test]
fn a_cart_that_sums_is_not_idempotent_and_the_report_shows_the_least_cart() {
    let report = merge_laws!(summed_quantities, carts() => commutative, associative);
    let counterexample = report.idempotent.clone().expect_err("sums are not idempotent");
    assert_eq!(counterexample.input, r#"{"a": 1}"#);
    assert_eq!(counterexample.reason, r#"merge(a, a) = {"a": 2}, but a = {"a": 1}"#);
    assert!(report.to_string().contains("converges all the same"), "{report}");
}

#[test]
fn keeping_the_first_is_not_commutative() {
    let report = merge_laws!(|a: &u8, _: &u8| *a, any::<u8>() => associative, idempotent);
    assert!(report.commutative.is_err());
}

#[test]
fn a_mean_is_not_associative() {
    let report = merge_laws!(|a: &u8, b: &u8| a.midpoint(*b), any::<u8>() => commutative, idempotent);
    assert!(report.associative.is_err());
}

#[test]
#[should_panic(expected = "the merge function is not idempotent, as was claimed")]
fn a_false_claim_fails_the_test() {
    merge_laws!(summed_quantities, carts() => idempotent);
}

#[test]
fn a_merge_that_panics_breaks_the_law() {
    let report = merge_laws(|a: &u8, b: &u8| a.checked_sub(*b).expect("the greater first"), any::<u8>());
    assert!(report.commutative.expect_err("it panics").reason.contains("the greater first"));
}
