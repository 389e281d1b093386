//! Managers, whole, against models of a few lines: random sequences of what users and networks do, and after each step the
//! managers show what the model says. What fails is made small.

mod leader;
mod masters;
mod wall;

use proptest::test_runner::Config;

/// How many sequences are run: `ARCHIPELAGO_STATE_MACHINE_CASES`, or so many.
fn cases(usual: u32) -> Config {
    let asked = std::env::var("ARCHIPELAGO_STATE_MACHINE_CASES");
    let cases = asked.map_or(usual, |cases| cases.parse().expect("a number of cases"));
    Config { cases, max_shrink_iters: 10_000, ..Config::default() }
}

/// One thread, and a clock that moves on when everybody waits.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}
