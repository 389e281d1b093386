//! The worked examples of clocks, as they are written.

use archipelago_clock::{ClockOrdering, VectorClock};

fn clock(json: &str) -> VectorClock<String> {
    serde_json::from_str(json).expect("a clock in JSON")
}

#[test]
fn each_incremented_alone_is_concurrent() {
    assert_eq!(
        clock(r#"{"usa":1,"eu":0}"#).compare(&clock(r#"{"usa":0,"eu":1}"#)),
        ClockOrdering::Concurrent
    );
}

#[test]
fn what_saw_less_is_before() {
    let (less, more) = (clock(r#"{"usa":1,"eu":0}"#), clock(r#"{"usa":1,"eu":1}"#));
    assert_eq!(less.compare(&more), ClockOrdering::Before);
    assert_eq!(more.compare(&less), ClockOrdering::After);
}

#[test]
fn merge_is_the_entrywise_maximum() {
    let mut merged = clock(r#"{"usa":1,"eu":0}"#);
    merged.merge(&clock(r#"{"usa":0,"eu":1}"#));
    assert_eq!(merged, clock(r#"{"usa":1,"eu":1}"#));
}
