//! Replicas on one thread and a clock of its own, broken again and again: one seed decides everything.

mod agenda;
mod broker;
mod case;
pub(crate) mod checkers;
mod dice;
mod disk;
mod island;
pub(crate) mod ledger;
pub(crate) mod network;
mod outcome;
mod plan;
pub(crate) mod scenario;
mod tally;
mod trace;
mod turn;
pub(crate) mod view;
pub(crate) mod wall_clock;
mod weather;
pub(crate) mod world;

pub use case::{Act, Author, Case, Durability, Edit, Fault, Settings, Step};
pub use dice::Dice;
pub use ledger::{Deed, Entry, Fate, Ledger};
pub use outcome::{Outcome, Violation};
pub use scenario::{Detail, Scenario};
pub use tally::{Injected, Tally};
pub use turn::Turn;
pub use view::{IslandView, Verdict};
pub use weather::Weather;
