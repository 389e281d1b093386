//! Replicas on one thread and a clock of its own, broken again and again: one seed decides everything.
//!
//! ```
//! use archipelago_testkit::simulation::{Detail, Scenario};
//!
//! let mixed = Scenario::named("mixed").unwrap();
//! let case = mixed.case(7);
//! let outcome = mixed.run(&case, Detail::Traced);
//! outcome.assert_sound();
//! assert_eq!(mixed.run(&case, Detail::Traced).trace, outcome.trace);
//! ```
//!
//! The engines are those of production, which do no I/O. Everything around them is simulated: processes, disks, clocks, the
//! network and the broker. A [`Ledger`] knows every write as its author does, and checkers hold the replicas against it
//! while things break and in the end. The program `simulate` runs seeds by the million; [`Simulation`] does so with data,
//! strategies and invariants of one's own. docs/SIMULATION.md tells every fault and every checker.
//!
//! | module | noun |
//! |---|---|
//! | `scenario`, `weather` | [`Scenario`]: what is simulated; [`Weather`]: how often what breaks |
//! | `case`, `plan` | [`Case`]: all that decides a run; how it is drawn from a seed |
//! | `world` | the replicas and everything that happens to them, in order of time |
//! | `island`, `disk`, `wall_clock` | one machine: its process, what it has stored, what its clock shows |
//! | `network`, `broker` | what lies between the machines |
//! | `agenda`, `dice` | what is to happen, in order of time; [`Dice`]: the only source of chance |
//! | `ledger`, `view` | [`Ledger`]: what was written; [`IslandView`], [`Verdict`]: what is shown in the end |
//! | `checkers` | what must hold, one property a file |
//! | `turn`, `builder` | [`Simulation`]: one's own data; [`Turn`]: what a client of it does |
//! | `outcome`, `tally`, `survey`, `trace` | what became of a run, and of many |
//! | `minimise`, `regression` | a failing case made small, and kept as a file |
//!
//! Invariants:
//! - A case decides everything: nothing depends on the machine, the process, the time or the order of a hash map.
//! - Leaving out a step changes as little as possible of what the others do: chance is keyed by what it is for.

mod agenda;
mod broker;
mod builder;
mod case;
pub(crate) mod checkers;
mod dice;
mod disk;
mod island;
pub(crate) mod ledger;
mod minimise;
pub(crate) mod network;
mod outcome;
mod plan;
mod regression;
pub(crate) mod scenario;
mod survey;
mod tally;
mod trace;
mod turn;
pub(crate) mod view;
pub(crate) mod wall_clock;
mod weather;
pub(crate) mod world;

pub use builder::{Simulation, SimulationBuilder};
pub use case::{Act, Author, Case, Durability, Edit, Fault, Settings, Step};
pub use dice::Dice;
pub use ledger::{Deed, Entry, Fate, Ledger};
pub use minimise::{Minimised, RUNS_MAX};
pub use outcome::{Outcome, Violation};
pub use regression::{Regression, RegressionError};
pub use scenario::{Detail, Scenario};
pub use survey::{FAILING_MAX, Survey};
pub use tally::{Injected, Tally};
pub use turn::Turn;
pub use view::{IslandView, Verdict};
pub use weather::Weather;
