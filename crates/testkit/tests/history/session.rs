use archipelago_testkit::history::{
    Consistency::{self, Eventual, Session},
    History, KvOp,
    KvResult::Written,
    SessionScope, SessionViolation, check_session,
};

use crate::{MISSING, value};

fn read(key: &str, consistency: Consistency) -> KvOp {
    KvOp::read_at(consistency, key)
}

fn violations(history: &History, scope: SessionScope) -> Vec<SessionViolation> {
    check_session(history, scope).map_or_else(|found| found.iter().cloned().collect(), |()| vec![])
}

#[track_caller]
fn holds(history: &History) {
    assert_eq!(violations(history, SessionScope::Key), []);
}

#[track_caller]
fn goes_back(history: &History) {
    let found = violations(history, SessionScope::Key);
    assert!(matches!(found[..], [SessionViolation::MonotonicReads { .. }]), "{found:?}");
}

#[track_caller]
fn misses_its_write(history: &History) {
    let found = violations(history, SessionScope::Key);
    assert!(matches!(found[..], [SessionViolation::ReadYourWrites { .. }]), "{found:?}");
}

#[test]
fn a_process_reads_its_own_writes_or_later_ones() {
    let written = History::new().ok(1, 0..=1, KvOp::upsert("x", "a"), Written(5));
    holds(&written.clone().ok(1, 2..=3, read("x", Session), value("a", 5)));
    holds(&written.clone().ok(1, 2..=3, read("x", Session), value("b", 6)));
    misses_its_write(&written.clone().ok(1, 2..=3, read("x", Session), value("0", 4)));
    misses_its_write(&written.ok(1, 2..=3, read("x", Session), MISSING));
}

#[test]
fn reads_of_a_process_never_go_back() {
    let seen = History::new().ok(1, 0..=1, read("x", Session), value("b", 6));
    holds(&seen.clone().ok(1, 2..=3, read("x", Session), value("b", 6)));
    goes_back(&seen.clone().ok(1, 2..=3, read("x", Session), value("a", 5)));
    goes_back(&seen.ok(1, 2..=3, read("x", Session), MISSING));
}

#[test]
fn other_processes_other_keys_and_reads_without_a_session_may_see_less() {
    let seen = History::new().ok(1, 0..=1, read("x", Session), value("b", 6));
    holds(&seen.clone().ok(2, 2..=3, read("x", Session), value("a", 5)));
    holds(&seen.clone().ok(1, 2..=3, read("y", Session), value("a", 5)));
    holds(&seen.ok(1, 2..=3, read("x", Eventual), value("a", 5)));
    let unpromised = History::new().ok(1, 0..=1, read("x", Eventual), value("b", 6));
    holds(&unpromised.ok(1, 2..=3, read("x", Session), value("a", 5)));
}

#[test]
fn what_overlaps_or_is_unknown_need_not_be_seen() {
    let seen = History::new().ok(1, 0..=9, read("x", Session), value("b", 6));
    holds(&seen.ok(1, 9..=10, read("x", Session), value("a", 5)));
    let unknown = History::new().unknown(1, 0, KvOp::upsert("x", "b"));
    holds(&unknown.ok(1, 2..=3, read("x", Session), MISSING));
}

#[test]
fn a_key_may_go_missing_by_a_delete_and_what_was_before_does_not_come_back() {
    let seen = History::new().ok(1, 0..=1, read("x", Session), value("a", 5));
    for history in [
        seen.clone().ok(2, 0..=1, KvOp::delete("x"), Written(6)),
        seen.clone().unknown(2, 0, KvOp::delete("x")),
    ] {
        let gone = history.ok(1, 2..=3, read("x", Session), MISSING);
        holds(&gone);
        holds(&gone.clone().ok(1, 4..=5, read("x", Session), MISSING));
        holds(&gone.clone().ok(1, 4..=5, read("x", Session), value("b", 7)));
        goes_back(&gone.ok(1, 4..=5, read("x", Session), value("a", 5)));
    }
    let too_late = seen.clone().ok(1, 2..=3, read("x", Session), MISSING).unknown(2, 9, KvOp::delete("x"));
    goes_back(&too_late);
    let earlier = seen.ok(2, 0..=1, KvOp::delete("x"), Written(4));
    goes_back(&earlier.ok(1, 2..=3, read("x", Session), MISSING));
}

#[test]
fn a_process_that_removed_a_key_does_not_read_it() {
    let gone = History::new().ok(1, 0..=1, KvOp::delete("x"), Written(6));
    holds(&gone.clone().ok(1, 2..=3, read("x", Session), MISSING));
    misses_its_write(&gone.ok(1, 2..=3, read("x", Session), value("a", 5)));
}

#[test]
fn whoever_has_seen_an_index_of_the_log_has_seen_it_of_every_key() {
    let history = History::new()
        .ok(2, 0..=1, KvOp::upsert("x", "a"), Written(4))
        .ok(2, 2..=3, KvOp::upsert("x", "b"), Written(5))
        .ok(1, 4..=5, KvOp::upsert("y", "c"), Written(6))
        .ok(1, 6..=7, read("x", Session), value("a", 4));
    holds(&history);
    let found = violations(&history, SessionScope::Log);
    let [SessionViolation::ReadYourWrites { required: 5, .. }] = &found[..] else { panic!("{found:?}") };
    let newer = history.ok(2, 8..=9, KvOp::upsert("x", "d"), Written(7));
    assert_eq!(violations(&newer, SessionScope::Log), found, "what came after index 6 is not required");
}

#[test]
fn the_report_says_what_was_read_and_what_had_been_written() {
    let history = History::new().ok(1, 0..=1, KvOp::upsert("x", "a"), Written(5)).ok(
        1,
        2..=3,
        read("x", Session),
        value("0", 4),
    );
    let report = check_session(&history, SessionScope::Key).unwrap_err().to_string();
    let expected = r#"its own write is not read: process 1: read x (session) -> "0" at version 4 (2 to 3 ns): but before that, process 1: upsert x = "a" -> written as version 5 (0 to 1 ns); so it must see version 5"#;
    assert_eq!(report, expected);
}
