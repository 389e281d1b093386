//! This project and its rivals side by side: the same jobs, in the same run, in turns.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments |
//! | `measure` | rounds of turns, and the best of each library |
//! | `memory` | what a record costs, from the program `memory` |
//! | `report` | the results as a table and as JSON |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod measure;
mod memory;
mod options;
mod report;

use std::process::ExitCode;

use archipelago_benches::{contest::Contest, rivals};
use clap::Parser;

use crate::{options::Options, report::Report};

fn main() -> ExitCode {
    let options = Options::parse();
    if cfg!(debug_assertions) {
        eprintln!(
            "warning: built without optimisation, so the numbers mean nothing; use `cargo run --release`"
        );
    }
    match run(&options) {
        Ok(report) => {
            print!("{}", if options.json { report.json() } else { report.table() });
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report, String> {
    let mut contests = rivals::data_types(options.size());
    contests.extend(rivals::document_stores(options.size()));
    let names: Vec<String> =
        contests.iter().flat_map(|contest| &contest.cases).map(|case| case.name.clone()).collect();
    contests.retain(|contest| contest.cases.iter().any(|case| options.wants(&case.name)));
    let wants_memory = options.wants(memory::CASE);
    if contests.is_empty() && !wants_memory {
        return Err(format!(
            "no case begins with {:?}; there are:\n  {}\n  {}",
            options.only.as_deref().unwrap_or_default(),
            names.join("\n  "),
            memory::CASE
        ));
    }

    let mut results = Vec::new();
    let count = contests.len();
    for (number, Contest { cases, contenders }) in contests.into_iter().enumerate() {
        let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
        eprintln!("[{}/{count}] {}", number + 1, names.join(", "));
        let measured = measure::contest(Contest { cases, contenders }, &options.effort());
        results.extend(measured.into_iter().filter(|result| options.wants(&result.case.name)));
    }
    let memory = if wants_memory { Some(memory::measure(options.records())?) } else { None };
    Ok(Report { quick: options.quick, rounds: options.effort().rounds, results, memory })
}
