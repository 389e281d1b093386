use archipelago_testkit::history::{
    Consistency, History, KvOp, KvRegister,
    KvResult::{Conflict, Refused, Written},
    LinearizabilityError, Model, check_linearizable, check_model,
};

use crate::{MISSING, value};

fn read() -> KvOp {
    KvOp::read("x")
}

fn upsert(value: &str) -> KvOp {
    KvOp::upsert("x", value)
}

#[track_caller]
fn is_legal(history: &History) {
    check_linearizable(history).unwrap_or_else(|error| panic!("{error}"));
}

#[track_caller]
fn is_illegal(history: &History) -> String {
    let error = check_linearizable(history).expect_err("there is no legal order");
    assert!(matches!(error, LinearizabilityError::Violated(_)), "{error}");
    error.to_string()
}

#[test]
fn nothing_at_all_is_linearizable() {
    is_legal(&History::new());
}

#[test]
fn a_read_sees_what_was_acknowledged_before_it() {
    let written = History::new().ok(1, 0..=1, upsert("a"), Written(1)).ok(1, 2..=3, upsert("b"), Written(2));
    is_legal(&written.clone().ok(2, 4..=5, read(), value("b", 2)));
    is_illegal(&written.clone().ok(2, 4..=5, read(), value("a", 1)));
    is_illegal(&written.clone().ok(2, 4..=5, read(), value("b", 1)));
    is_illegal(&written.ok(2, 4..=5, read(), MISSING));
}

#[test]
fn concurrent_operations_may_come_in_any_order_but_in_one() {
    let written = History::new().ok(1, 0..=9, upsert("a"), Written(1)).ok(2, 0..=9, upsert("b"), Written(2));
    is_legal(&written.clone().ok(3, 1..=2, read(), value("a", 1)).ok(3, 3..=4, read(), value("b", 2)));
    is_legal(&written.clone().ok(3, 1..=2, read(), MISSING));
    is_illegal(&written.ok(3, 1..=2, read(), value("b", 2)).ok(3, 3..=4, read(), value("a", 1)));
}

#[test]
fn versions_grow_in_the_order_of_the_writes() {
    is_illegal(&History::new().ok(1, 0..=1, upsert("a"), Written(2)).ok(1, 2..=3, upsert("b"), Written(1)));
    is_legal(&History::new().ok(1, 0..=1, upsert("a"), Written(2)).ok(1, 1..=3, upsert("b"), Written(1)));
}

#[test]
fn operations_that_touch_in_one_instant_overlap() {
    is_legal(&History::new().ok(1, 0..=5, upsert("a"), Written(1)).ok(2, 5..=6, read(), MISSING));
    is_illegal(&History::new().ok(1, 0..=4, upsert("a"), Written(1)).ok(2, 5..=6, read(), MISSING));
}

#[test]
fn an_unknown_write_may_take_effect_long_after_or_never_but_once() {
    let written = History::new().unknown(1, 0, upsert("a")).ok(2, 1..=2, upsert("b"), Written(1));
    is_legal(&written.clone().ok(2, 90..=91, read(), value("b", 1)));
    let late = written.ok(2, 80..=81, read(), value("b", 1)).ok(2, 90..=91, read(), value("a", 2));
    is_legal(&late);
    let overwritten = late.ok(2, 92..=93, upsert("c"), Written(3));
    is_illegal(&overwritten.ok(2, 94..=95, read(), value("a", 4)));
}

#[test]
fn an_unknown_write_has_no_effect_before_it_is_asked_for() {
    is_illegal(&History::new().ok(2, 0..=1, read(), value("a", 1)).unknown(1, 5, upsert("a")));
}

#[test]
fn a_failed_write_has_no_effect() {
    is_illegal(&History::new().failed(1, 0..=1, upsert("a")).ok(2, 2..=3, read(), value("a", 1)));
}

#[test]
fn an_unknown_write_that_nobody_reads_may_still_be_why_a_condition_fails() {
    let written = History::new().ok(1, 0..=1, upsert("a"), Written(1));
    let conflicts = written.ok(1, 8..=9, upsert("c").expecting(1), Conflict);
    is_illegal(&conflicts);
    is_legal(&conflicts.unknown(2, 2, upsert("b")));

    let refused = History::new().ok(1, 8..=9, KvOp::create("x", "c"), Refused);
    is_illegal(&refused);
    is_legal(&refused.unknown(2, 2, upsert("b")));

    let updated = History::new().ok(1, 8..=9, KvOp::update("x", "c"), Written(7));
    is_illegal(&updated);
    is_legal(&updated.unknown(2, 2, upsert("b")));
}

#[test]
fn an_unknown_write_may_be_needed_by_another_unknown_one() {
    let history = History::new().unknown(2, 0, KvOp::update("x", "b")).ok(1, 8..=9, read(), value("b", 2));
    is_illegal(&history);
    is_legal(&history.clone().unknown(3, 1, KvOp::create("x", "a")));
    is_illegal(&history.unknown(3, 1, KvOp::delete("x")));
}

#[test]
fn unknown_writes_need_versions_of_their_own() {
    let two = History::new()
        .ok(1, 0..=1, upsert("a"), Written(5))
        .unknown(2, 2, KvOp::delete("x"))
        .unknown(2, 2, KvOp::create("x", "b"))
        .ok(1, 3..=4, read(), MISSING);
    is_illegal(&two.clone().ok(1, 5..=6, read(), value("b", 6)));
    is_legal(&two.ok(1, 5..=6, read(), value("b", 7)));
}

#[test]
fn a_conflict_rules_out_a_version() {
    let conflicted = History::new().ok(1, 0..=1, upsert("a"), Written(5)).unknown(2, 2, upsert("b")).ok(
        1,
        3..=4,
        read(),
        value("b", 6),
    );
    is_illegal(&conflicted.clone().ok(1, 5..=6, upsert("c").expecting(6), Conflict));
    is_legal(&conflicted.ok(1, 5..=6, upsert("c").expecting(7), Conflict));
}

#[test]
fn conflicts_narrow_what_the_version_of_an_unknown_write_may_be() {
    let state = |history: &[(KvOp, Option<u64>)]| {
        let step = |state, (op, version): &(KvOp, Option<u64>)| {
            let result = version.map_or(Conflict, Written);
            let result = if op.expected().is_none() && version.is_none() { None } else { Some(&result) };
            KvRegister.step(&state, op, result).expect("it is legal")
        };
        history.iter().fold(KvRegister.initial(), step)
    };
    let conflict = |version| (upsert("c").expecting(version), None);
    let unknown = [(upsert("a"), Some(5)), (upsert("b"), None)];
    let narrowed = |versions: &[u64]| {
        let conflicts = versions.iter().map(|version| conflict(*version));
        state(&unknown.iter().cloned().chain(conflicts).collect::<Vec<_>>())
    };
    let reads = |ruled_out: &[u64], version| {
        KvRegister.step(&narrowed(ruled_out), &read(), Some(&value("b", version))).is_some()
    };
    let legal = |ruled_out: &[u64]| (5..10).filter(|version| reads(ruled_out, *version)).collect::<Vec<_>>();
    assert_eq!(legal(&[]), [6, 7, 8, 9]);
    assert_eq!(legal(&[7]), [6, 8, 9]);
    assert_eq!(legal(&[7, 6]), [8, 9]);
    assert_eq!(legal(&[3, 6]), [7, 8, 9]);
    assert_eq!(narrowed(&[3, 6]), narrowed(&[6]));
    assert!(KvRegister.covers(&narrowed(&[]), &narrowed(&[7])));
    assert!(!KvRegister.covers(&narrowed(&[7]), &narrowed(&[])));
    assert!(KvRegister.covers(&narrowed(&[7]), &narrowed(&[6, 7])));
}

#[test]
fn the_unknown_write_that_is_needed_later_is_not_used_up_by_what_another_one_could_explain() {
    let history = History::new()
        .unknown(2, 0, upsert("u"))
        .unknown(3, 1, KvOp::create("x", "c"))
        .ok(1, 2..=3, KvOp::create("x", "d"), Refused)
        .ok(1, 4..=5, upsert("z"), Written(5))
        .ok(1, 6..=7, upsert("e").expecting(5), Conflict);
    is_legal(&history);
    is_illegal(&history.ok(1, 8..=9, upsert("f"), Written(7)).ok(
        1,
        10..=11,
        upsert("g").expecting(7),
        Conflict,
    ));
}

#[test]
fn creates_updates_and_deletes_tell_whether_the_key_exists() {
    let history = History::new()
        .ok(1, 0..=1, KvOp::update("x", "a"), Refused)
        .ok(1, 2..=3, KvOp::delete("x"), Refused)
        .ok(1, 4..=5, KvOp::create("x", "b"), Written(1))
        .ok(1, 6..=7, KvOp::create("x", "c"), Refused)
        .ok(1, 8..=9, KvOp::update("x", "d").expecting(1), Written(3))
        .ok(1, 10..=11, KvOp::delete("x").expecting(1), Conflict)
        .ok(1, 12..=13, KvOp::delete("x").expecting(3), Written(4))
        .ok(1, 14..=15, read(), MISSING)
        .ok(1, 16..=17, upsert("e").expecting(0), Written(5));
    is_legal(&history);
    is_illegal(&history.clone().ok(1, 18..=19, KvOp::create("x", "f"), Written(6)));
    is_illegal(&history.clone().ok(1, 18..=19, KvOp::update("x", "f"), Refused));
    is_illegal(&history.ok(1, 18..=19, read(), value("d", 3)));
}

#[test]
fn reads_that_promise_less_are_not_looked_at() {
    let written = History::new().ok(1, 0..=1, upsert("a"), Written(1));
    is_legal(&written.ok(1, 2..=3, KvOp::read_at(Consistency::Eventual, "x"), MISSING));
}

#[test]
fn an_answer_that_does_not_fit_the_question_is_illegal() {
    is_illegal(&History::new().ok(1, 0..=1, upsert("a"), MISSING));
    is_illegal(&History::new().ok(1, 0..=1, read(), Written(1)));
    is_illegal(&History::new().ok(1, 0..=1, upsert("a"), Conflict));
}

#[test]
fn the_report_names_the_key_the_order_so_far_and_what_cannot_come_next() {
    let history = History::new()
        .ok(1, 0..=1, KvOp::upsert("y", "fine"), Written(1))
        .ok(1, 2..=3, upsert("a"), Written(2))
        .unknown(2, 4, upsert("b"))
        .ok(3, 5..=6, read(), value("b", 3))
        .ok(3, 7..=8, read(), value("a", 2));
    let report = r#""x" is not linearizable: 2 of its 3 operations have a legal order
it ends with
  process 1: upsert x = "a" -> written as version 2 (2 to 3 ns)
  process 2: upsert x = "b" -> unknown (from 4 ns)
  process 3: read x -> "b" at version 3 (5 to 6 ns)
the state is then "b" at version 3, and none of these can come next:
  process 3: read x -> "a" at version 2 (7 to 8 ns)"#;
    assert_eq!(is_illegal(&history), report);
}

#[test]
fn what_would_take_too_long_is_undecided_and_a_violation_elsewhere_is_told_first() {
    let history = (0..9)
        .fold(History::new(), |history, n| history.ok(n, n..=99, upsert(&n.to_string()), Written(n + 1)));
    let error = check_model(&KvRegister, &history, 10).expect_err("the limit is low");
    assert!(
        matches!(&error, LinearizabilityError::Undecided { part, states_max: 10 } if part == "x"),
        "{error}"
    );
    let history = history.ok(1, 100..=101, KvOp::read("y"), value("b", 3));
    let error = check_model(&KvRegister, &history, 10).expect_err("y was never written");
    assert!(matches!(&error, LinearizabilityError::Violated(stuck) if stuck.part == "y"), "{error}");
}

/// Adds to a number and tells the sum; unknown additions commute, and do not overwrite each other.
struct Counter;

impl Model for Counter {
    type Op = u64;
    type Result = u64;
    type State = u64;

    fn part<'o>(&self, _op: &'o u64) -> Option<&'o str> {
        Some("counter")
    }

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, op: &u64, result: Option<&u64>) -> Option<u64> {
        let sum = state + op;
        result.is_none_or(|result| *result == sum).then_some(sum)
    }
}

#[test]
fn a_model_of_your_own_is_checked_with_unknown_operations_that_do_not_overwrite() {
    let history = History::new().ok(1, 0..=1, 1, 1).unknown(2, 0, 10).unknown(3, 0, 100).ok(1, 2..=3, 1, 112);
    assert!(check_model(&Counter, &history, 1000).is_ok());
    assert!(check_model(&Counter, &history.clone().ok(1, 4..=5, 1, 113), 1000).is_ok());
    assert!(check_model(&Counter, &history.ok(1, 4..=5, 1, 123), 1000).is_err());
    let twice = History::new().unknown(2, 0, 10).ok(1, 0..=1, 1, 21);
    assert!(check_model(&Counter, &twice, 1000).is_err());
    assert!(check_model(&Counter, &twice.unknown(2, 0, 10), 1000).is_ok());
}

#[test]
fn an_unknown_operation_that_would_have_to_happen_twice_is_never_legal_whatever_the_limit() {
    let others = [100, 1_000, 10_000, 100_000];
    let unknown =
        others.iter().fold(History::new().unknown(2, 0, 10), |history, n| history.unknown(2, 1, *n));
    let history = unknown.ok(1, 2..=3, 1, 11).ok(1, 4..=5, 1, 22);
    for states_max in 0..1_000 {
        assert!(check_model(&Counter, &history, states_max).is_err(), "with {states_max} states");
    }
    let error = check_model(&Counter, &history, 1_000_000).unwrap_err();
    assert!(matches!(error, LinearizabilityError::Violated(_)), "{error}");
}

/// A text to which letters are appended, and which is read by asking for nothing to be appended.
struct Text;

impl Model for Text {
    type Op = &'static str;
    type Result = &'static str;
    type State = String;

    fn part<'o>(&self, _op: &'o &'static str) -> Option<&'o str> {
        Some("text")
    }

    fn initial(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, op: &&'static str, result: Option<&&'static str>) -> Option<String> {
        let is_it = !op.is_empty() || result.is_none_or(|result| result == state);
        is_it.then(|| format!("{state}{op}"))
    }
}

#[test]
fn an_unknown_operation_that_nobody_needs_at_once_may_be_needed_before_another_one() {
    let appended = History::new().unknown(1, 0, "a").ok(2, 1..=2, "b", "");
    for (text, is_legal) in [("ab", true), ("ba", true), ("b", true), ("a", false), ("aab", false)] {
        let history = appended.clone().ok(2, 3..=4, "", text);
        assert_eq!(check_model(&Text, &history, 1000).is_ok(), is_legal, "{text}");
    }
}
