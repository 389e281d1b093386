//! What the checkers of recorded histories accept, and what they find.

mod acknowledged;
mod brute_force;
mod generated;
mod linearizable;
mod performance;
mod recorder;
mod session;
mod simulated;
mod staleness;
mod terms;

use archipelago_testkit::history::KvResult;

fn value(value: &str, version: u64) -> KvResult {
    KvResult::Value(Some((value.into(), version)))
}

const MISSING: KvResult = KvResult::Value(None);
