//! `simulate`: replicas broken by seeds, a failing seed made small, mistakes made on purpose. docs/SIMULATION.md tells more.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments |
//! | `subject` | what is simulated: engines, or whole managers |
//! | `sweep` | many seeds on many threads |
//! | `replay` | one seed, or the case of a file, with its trace |
//! | `report` | what a sweep came to |
//! | `kept` | failing seeds made small and kept as files |
//! | `mutants` | every deliberate mistake, and what it took to catch it |
//! | `rebuild` | this program again, with the mistakes in it |
//! | `command` | the command that runs something again |
//! | `progress`, `interrupt` | what a person is told meanwhile, and how one ends it |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod command;
mod interrupt;
mod kept;
#[cfg(feature = "mutations")]
mod mutants;
mod options;
mod progress;
#[cfg(not(feature = "mutations"))]
mod rebuild;
mod replay;
mod report;
mod subject;
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use crate::{interrupt::Interrupt, options::Options, subject::Subject};

/// A simulation makes and drops small things all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options {
        options if options.list => list(),
        options if options.mutations => mutations(options),
        options => match (&options.replay, options.seed) {
            (Some(file), _) => replay::file(file),
            (None, Some(seed)) => replay::seed(&options.subject(), seed),
            (None, None) => report::of(options),
        },
    };
    done.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}

/// What a part of the program comes to; `Err` holds the message for the person who ran it.
type Done = Result<ExitCode, String>;

fn list() -> Done {
    for subject in Subject::all() {
        println!("{:<16} {}", subject.name(), subject.what());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "mutations")]
fn mutations(options: &Options) -> Done {
    mutants::run(options, &Interrupt::listen())
}

#[cfg(not(feature = "mutations"))]
fn mutations(_: &Options) -> Done {
    rebuild::with_mutations(&Interrupt::listen())
}

/// A panic is told as a violation, by the seed that it is of.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
