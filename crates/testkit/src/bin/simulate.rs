//! Runs the simulation by seeds.
#![allow(clippy::print_stdout, clippy::print_stderr)]
use archipelago_testkit::simulation::{Detail, Scenario, Tally};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).cloned();
    let seeds: u64 = get("--seeds").map_or(100, |s| s.parse().unwrap());
    let from: u64 = get("--from").map_or(0, |s| s.parse().unwrap());
    let name = get("--scenario").unwrap_or("mixed".into());
    let scenario = Scenario::named(&name).unwrap();
    if let Some(seed) = get("--seed") {
        let seed = seed.parse().unwrap();
        let outcome = scenario.run(&scenario.case(seed), Detail::Traced);
        println!("{:?}", scenario.case(seed).settings);
        for line in &outcome.trace {
            println!("{line}");
        }
        println!(
            "{:?} {:?} steps {} ms {}",
            outcome.violation, outcome.tally, outcome.steps, outcome.virtual_ms
        );
        return;
    }
    let next = AtomicU64::new(from);
    let sums = Mutex::new((0u64, 0u64, Tally::default(), Vec::new(), 0u64));
    let began = Instant::now();
    let threads: usize = get("--threads").map_or(2, |s| s.parse().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let case = scenario.case(seed);
                    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        scenario.run(&case, Detail::Untraced)
                    }));
                    let mut sums = sums.lock().unwrap();
                    match found {
                        Ok(outcome) => {
                            sums.0 += outcome.steps;
                            sums.1 += outcome.writes;
                            sums.4 += outcome.virtual_ms;
                            sums.2.add(&outcome.tally);
                            if let Some(violation) = outcome.violation {
                                sums.3.push((seed, violation.checker.to_string(), violation.detail));
                            }
                        }
                        Err(_) => sums.3.push((seed, "panic".into(), String::new())),
                    }
                }
            });
        }
    });
    let mut sums = sums.into_inner().unwrap();
    sums.3.sort();
    let mut by = std::collections::BTreeMap::<String, u64>::new();
    for (_, checker, _) in &sums.3 {
        *by.entry(checker.clone()).or_default() += 1;
    }
    for (seed, checker, detail) in sums.3.iter().take(40) {
        println!("{seed} {checker}: {}", detail.chars().take(220).collect::<String>());
    }
    for (fault, n) in &sums.2.faults {
        println!("  {fault}: {} / {}", n.injected, n.felt);
    }
    println!("{:?}", sums.2.effects);
    let elapsed = began.elapsed();
    println!(
        "{seeds} seeds, {} failures {by:?}, {} steps, {} writes, {:?} , {:.0} steps/s virtual {} s",
        sums.3.len(),
        sums.0,
        sums.1,
        elapsed,
        sums.0 as f64 / elapsed.as_secs_f64(),
        sums.4 / 1000
    );
}
