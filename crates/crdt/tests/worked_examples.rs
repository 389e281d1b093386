//! The worked examples of CRDTs, as they are written.

use archipelago_crdt::{Crdt, GCounter, GSet, LwwRegister, PnCounter};

#[test]
fn counts_of_five_and_three_make_eight_on_both_sides() {
    let (mut us, mut eu) = (GCounter::new(), GCounter::new());
    us.increment("us", 5).unwrap();
    eu.increment("eu", 3).unwrap();
    let before = us.clone();
    us.merge(&eu);
    eu.merge(&before);
    assert_eq!((us.value(), eu.value()), (8, 8));
    assert_eq!(us, eu);
}

#[test]
fn a_count_of_ten_less_three_merged_with_five_less_two_makes_ten() {
    let (mut us, mut eu) = (PnCounter::new(), PnCounter::new());
    us.increment("us", 10).unwrap();
    us.decrement("us", 3).unwrap();
    eu.increment("eu", 5).unwrap();
    eu.decrement("eu", 2).unwrap();
    us.merge(&eu);
    assert_eq!(us.value(), 10);
}

#[test]
fn merging_grow_only_sets_is_union() {
    let mut us = GSet::from_iter(["a", "b"]);
    us.merge(&GSet::from_iter(["b", "c"]));
    assert_eq!(us.iter().copied().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn of_two_registers_the_later_timestamp_wins_on_both_sides() {
    let (mut us, mut eu) = (LwwRegister::new("Alice", 1000), LwwRegister::new("Bob", 2000));
    let before = us.clone();
    us.merge(&eu);
    eu.merge(&before);
    assert_eq!((us.value(), eu.value()), (Some(&"Bob"), Some(&"Bob")));
    assert_eq!(us.stamp(), Some(&2000));
}
