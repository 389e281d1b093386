use archipelago_testkit::history::{
    Consistency::{BoundedStaleness, Eventual, Session},
    History, KvOp,
    KvResult::Written,
    check_staleness,
};

use crate::{MISSING, value};

const BOUND: u64 = 100;

fn read() -> KvOp {
    KvOp::read_at(BoundedStaleness { bound_ns: BOUND }, "x")
}

fn written() -> History {
    History::new().ok(1, 0..=10, KvOp::upsert("x", "a"), Written(1)).ok(
        1,
        20..=30,
        KvOp::upsert("x", "b"),
        Written(2),
    )
}

#[track_caller]
fn is_fresh(history: &History) {
    check_staleness(history).unwrap_or_else(|error| panic!("{error}"));
}

#[track_caller]
fn is_too_old(history: &History) {
    assert_eq!(check_staleness(history).expect_err("it is too old").iter().count(), 1);
}

#[test]
fn a_read_is_as_old_as_its_bound_allows_counted_from_its_invocation() {
    is_fresh(&written().ok(2, 130..=500, read(), value("a", 1)));
    is_too_old(&written().ok(2, 131..=500, read(), value("a", 1)));
    is_fresh(&written().ok(2, 131..=500, read(), value("b", 2)));
    is_fresh(&written().ok(2, 131..=500, read(), value("c", 3)));
    is_fresh(&written().ok(2, 90..=95, read(), MISSING));
    is_too_old(&written().ok(2, 131..=500, read(), MISSING));
}

#[test]
fn a_linearizable_read_has_no_bound_and_other_reads_have_none_to_keep() {
    is_too_old(&written().ok(2, 31..=40, KvOp::read("x"), value("a", 1)));
    is_fresh(&written().ok(2, 30..=40, KvOp::read("x"), value("a", 1)));
    is_fresh(&written().ok(2, 900..=901, KvOp::read_at(Eventual, "x"), MISSING));
    is_fresh(&written().ok(2, 900..=901, KvOp::read_at(Session, "x"), MISSING));
}

#[test]
fn the_greatest_version_counts_not_the_one_that_was_acknowledged_last() {
    let history = History::new().ok(1, 0..=10, KvOp::upsert("x", "b"), Written(2)).ok(
        2,
        0..=20,
        KvOp::upsert("x", "a"),
        Written(1),
    );
    is_too_old(&history.clone().ok(3, 200..=201, read(), value("a", 1)));
    is_fresh(&history.ok(3, 200..=201, read(), value("b", 2)));
}

#[test]
fn only_what_was_acknowledged_is_required() {
    is_fresh(&written().unknown(1, 40, KvOp::upsert("x", "c")).ok(2, 900..=901, read(), value("b", 2)));
}

#[test]
fn a_key_may_be_missing_after_a_delete_that_was_asked_for_in_time() {
    is_fresh(&written().ok(1, 40..=50, KvOp::delete("x"), Written(3)).ok(2, 900..=901, read(), MISSING));
    is_fresh(&written().ok(1, 901..=950, KvOp::delete("x"), Written(3)).ok(2, 900..=901, read(), MISSING));
    is_fresh(&written().unknown(1, 40, KvOp::delete("x")).ok(2, 900..=901, read(), MISSING));
    is_too_old(&written().unknown(1, 902, KvOp::delete("x")).ok(2, 900..=901, read(), MISSING));
    is_too_old(&written().ok(1, 40..=50, KvOp::delete("x"), Written(3)).ok(
        2,
        900..=901,
        read(),
        value("b", 2),
    ));
}

#[test]
fn the_report_names_the_read_and_what_it_should_have_seen() {
    let history = written().ok(2, 200..=201, read(), value("a", 1));
    let expected = r#"process 2: read x (at most 100 ns old) -> "a" at version 1 (200 to 201 ns): but 100 ns before it was asked for, this was acknowledged: process 1: upsert x = "b" -> written as version 2 (20 to 30 ns)"#;
    assert_eq!(check_staleness(&history).unwrap_err().to_string(), expected);
}
