//! The work of the checker on large histories, counted in states; the time is printed.

use std::time::Instant;

use archipelago_testkit::{
    history::{History, KvResult, LinearizabilityError, Outcome, check_linearizable},
    proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    },
};

use crate::simulated::{Size, plans, simulate};

fn history(size: Size, operations: usize) -> History {
    let plans = plans(size, operations..operations + 1).new_tree(&mut TestRunner::deterministic());
    simulate(&plans.expect("every plan is allowed").current()).0
}

#[test]
fn twenty_thousand_operations_with_unknown_ones_take_few_states() {
    let history = history(Size { processes: 8, keys: 50, unknown_percent: 5 }, 20_000);
    let start = Instant::now();
    let sum = check_linearizable(&history).unwrap();
    println!("50 keys: {:?}, {sum:?}", start.elapsed());
    assert_eq!(sum.parts, 50);
    assert!(sum.states < 40 * 20_000, "{sum:?}");
}

#[test]
fn one_key_with_hundreds_of_unknown_writes_is_decided() {
    let history = history(Size { processes: 8, keys: 1, unknown_percent: 5 }, 5_000);
    let start = Instant::now();
    let sum = check_linearizable(&history).unwrap();
    println!("one key: {:?}, {sum:?}", start.elapsed());
    let mut operations = history.operations().to_vec();
    let reads =
        (0..operations.len()).filter(|place| matches!(operations[*place].result(), Some(KvResult::Value(_))));
    let last = reads.max_by_key(|place| operations[*place].invoked_ns).expect("some are read");
    if let Outcome::Ok { result, .. } = &mut operations[last].outcome {
        *result = crate::value("never written", 1);
    }
    let start = Instant::now();
    let error = check_linearizable(&operations.into()).unwrap_err();
    println!("one key, spoilt at the end: {:?}, {error}", start.elapsed());
    assert!(matches!(error, LinearizabilityError::Violated(_)), "{error}");
}
