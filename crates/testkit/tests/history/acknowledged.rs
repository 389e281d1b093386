use archipelago_testkit::history::{
    AcknowledgedViolation::{self, *},
    Consistency, History, KvOp,
    KvResult::{Conflict, Refused, Written},
    LogEntry, check_acknowledged,
};

use crate::{MISSING, value};

fn entry(index: u64, key: &str, value: &str) -> LogEntry {
    LogEntry { index, key: key.into(), value: Some(value.into()) }
}

fn removed(index: u64, key: &str) -> LogEntry {
    LogEntry { index, key: key.into(), value: None }
}

fn history() -> History {
    History::new()
        .ok(1, 0..=1, KvOp::upsert("x", "a"), Written(1))
        .ok(1, 2..=3, KvOp::upsert("y", "b"), Written(2))
        .failed(2, 0..=1, KvOp::upsert("x", "failed"))
        .ok(2, 2..=3, KvOp::create("x", "refused"), Refused)
        .ok(2, 4..=5, KvOp::upsert("x", "conflict").expecting(9), Conflict)
        .unknown(3, 0, KvOp::upsert("x", "unknown"))
        .ok(1, 6..=7, KvOp::delete("y"), Written(5))
        .unknown(3, 0, KvOp::delete("x"))
}

fn log() -> Vec<LogEntry> {
    vec![entry(1, "x", "a"), entry(2, "y", "b"), removed(5, "y")]
}

fn found(history: &History, log: &[LogEntry]) -> Vec<AcknowledgedViolation> {
    check_acknowledged(history, log).map_or_else(|found| found.iter().cloned().collect(), |_| vec![])
}

#[test]
fn a_log_with_what_was_acknowledged_and_some_of_what_is_unknown_is_right() {
    let sum = check_acknowledged(&history(), &log()).unwrap();
    assert_eq!((sum.acknowledged, sum.without_effect, sum.unknown), (3, 3, 2));
    let mut log = log();
    log.insert(2, entry(3, "x", "unknown"));
    log.push(removed(6, "x"));
    assert_eq!(found(&history(), &log), []);
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_log_is_lost() {
    for missing in 0..3 {
        let mut log = log();
        log.remove(missing);
        assert!(matches!(found(&history(), &log)[..], [Lost { .. }]));
    }
}

#[test]
fn a_write_that_is_in_the_log_twice_is_duplicated() {
    let again = [&log()[..], &[entry(6, "x", "a")]].concat();
    assert!(matches!(&found(&history(), &again)[..], [Duplicated { indexes, .. }] if *indexes == [1, 6]));
    let unknown = [&log()[..], &[entry(6, "x", "unknown"), entry(7, "x", "unknown")]].concat();
    assert!(matches!(&found(&history(), &unknown)[..], [Duplicated { indexes, .. }] if *indexes == [6, 7]));
}

#[test]
fn deletes_are_applied_where_they_were_acknowledged_and_unknown_ones_once() {
    let twice = [&log()[..], &[removed(6, "x"), removed(7, "x")]].concat();
    assert!(matches!(found(&history(), &twice)[..], [Invented { .. }]));
    let elsewhere = [&log()[..2], &[removed(6, "y")]].concat();
    assert!(matches!(found(&history(), &elsewhere)[..], [Lost { .. }, Invented { .. }]));
}

#[test]
fn what_failed_or_was_refused_is_never_applied() {
    for value in ["failed", "refused", "conflict"] {
        let log = [&log()[..], &[entry(6, "x", value)]].concat();
        assert!(matches!(found(&history(), &log)[..], [FailedApplied { index: 6, .. }]));
    }
}

#[test]
fn what_nobody_wrote_is_invented() {
    let log = [&log()[..], &[entry(6, "x", "b")]].concat();
    assert!(matches!(found(&history(), &log)[..], [Invented { .. }]));
}

#[test]
fn a_write_is_where_it_was_acknowledged() {
    let mut log = log();
    log[1].index = 3;
    assert!(matches!(found(&history(), &log)[..], [Moved { index: 3, .. }]));
}

#[test]
fn indexes_of_the_log_grow() {
    let mut log = log();
    log.insert(1, entry(1, "x", "unknown"));
    assert!(matches!(found(&history(), &log)[..], [IndexNotGrowing { .. }]));
}

#[test]
fn what_is_asked_for_later_has_a_greater_version_of_whichever_key() {
    let backwards = |second_ns| {
        let history = History::new().ok(1, 0..=5, KvOp::upsert("x", "a"), Written(2));
        history.ok(2, second_ns..=9, KvOp::upsert("y", "b"), Written(1))
    };
    let log = [entry(1, "y", "b"), entry(2, "x", "a")];
    assert!(matches!(found(&backwards(6), &log)[..], [OutOfOrder { .. }]));
    assert_eq!(found(&backwards(5), &log), []);
}

#[test]
fn whatever_is_read_is_in_the_log() {
    let read = |result| history().ok(9, 0..=1, KvOp::read_at(Consistency::Eventual, "x"), result);
    assert_eq!(found(&read(value("a", 1)), &log()), []);
    assert_eq!(found(&read(MISSING), &log()), []);
    for nothing in [value("a", 2), value("unknown", 3), value("b", 2)] {
        assert!(matches!(found(&read(nothing), &log())[..], [ReadOfNothing { .. }]));
    }
}

#[test]
fn writes_that_cannot_be_told_apart_are_named() {
    let history = history().unknown(4, 0, KvOp::upsert("x", "a"));
    assert!(matches!(found(&history, &log())[..], [Ambiguous { .. }]));
}

#[test]
fn the_report_tells_ten_and_counts_the_others() {
    let history = (1..=13).fold(History::new(), |history, n| {
        history.ok(n, n..=n, KvOp::upsert("x", n.to_string()), Written(n))
    });
    let report = check_acknowledged(&history, &[]).unwrap_err().to_string();
    let first =
        r#"an acknowledged write is lost: process 1: upsert x = "1" -> written as version 1 (1 to 1 ns)"#;
    assert_eq!(report.lines().next(), Some(first));
    assert_eq!(report.lines().last(), Some("and 3 more"));
    assert_eq!(report.lines().count(), 11);
}
