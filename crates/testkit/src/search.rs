//! The search for a minimal counterexample to a law.

use std::fmt::{self, Debug};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use thiserror::Error;

/// The shortest input that was found to break a law, and how it breaks it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}\n  with {input}")]
pub struct Counterexample {
    /// The input, as [`Debug`] prints it.
    pub input: String,
    /// What the law's function said of it.
    pub reason: String,
}

/// How often [`search`] begins anew once it knows that there is something to find.
const ROUNDS: usize = 32;

/// Looks for an input of `strategy` that breaks `law` and shrinks what it finds.
///
/// Shrinking moves one number at a time and can get stuck, as at `(21, 0)` where `(1, 0)` would do; so a law that is
/// broken is searched again from other inputs, and the shortest counterexample of all is shown.
///
/// The inputs are the same in each run, so that a report can be compared with an earlier one. The environment
/// variable `PROPTEST_CASES` sets their number, 256 by default.
///
/// # Errors
/// The minimal counterexample. A `law` that panics is broken too. A strategy that rejects too many of its own
/// inputs is reported in the same way, with an empty input.
pub fn search<S: Strategy, E: fmt::Display>(
    strategy: &S,
    law: impl Fn(&S::Value) -> Result<(), E>,
) -> Result<(), Counterexample>
where
    S::Value: Debug,
{
    let config = Config { failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let mut round = || found(runner.run(strategy, |input| broken(law(&input)))).err();
    let Some(first) = round() else { return Ok(()) };
    let others = (1..ROUNDS).filter_map(|_| round()).filter(|other| !other.input.is_empty());
    let shorter = |one: Counterexample, other: Counterexample| {
        let size = |found: &Counterexample| (found.input.len(), found.input.clone());
        if size(&other) < size(&one) { other } else { one }
    };
    Err(others.fold(first, shorter))
}

/// What a test made by [`crdt_laws!`](crate::crdt_laws) does: other inputs in each run, and before them those that
/// have once failed, which are kept in `proptest-regressions` beside `source_file`.
///
/// # Panics
/// With the minimal counterexample, if there is one.
#[track_caller]
pub fn assert_law<S: Strategy, E: fmt::Display>(
    source_file: &'static str,
    strategy: &S,
    law: impl Fn(&S::Value) -> Result<(), E>,
) where
    S::Value: Debug,
{
    let config = Config { source_file: Some(source_file), ..Config::default() };
    if let Err(counterexample) = found(TestRunner::new(config).run(strategy, |input| broken(law(&input)))) {
        panic!("{counterexample}");
    }
}

fn broken<E: fmt::Display>(outcome: Result<(), E>) -> Result<(), TestCaseError> {
    outcome.map_err(|reason| TestCaseError::fail(reason.to_string()))
}

fn found<T: Debug>(outcome: Result<(), TestError<T>>) -> Result<(), Counterexample> {
    outcome.map_err(|error| match error {
        TestError::Fail(reason, input) => {
            Counterexample { input: format!("{input:?}"), reason: reason.message().to_owned() }
        }
        TestError::Abort(reason) => {
            Counterexample { input: String::new(), reason: reason.message().to_owned() }
        }
    })
}
