//! Conflict strategies: what becomes of a record when two writes did not know of each other.
//!
//! ```
//! use archipelago_conflict::{Candidate, ConflictResolver, Resolution, Strategy};
//! use archipelago_crdt::value;
//!
//! let us = Candidate::new(value!({ "name": "Alice", "email": "alice@example.com" }), 1000, "us");
//! let eu = Candidate::new(value!({ "name": "Alicia", "phone": "555-0100" }), 2000, "eu");
//!
//! let lww = ConflictResolver::new(Strategy::Lww).resolve(&us, &eu);
//! assert_eq!(lww.value, eu.value);
//! assert_eq!(lww.resolution, Resolution::Remote);
//!
//! let merged = ConflictResolver::new(Strategy::FieldMerge).resolve(&us, &eu);
//! let all = value!({ "name": "Alicia", "email": "alice@example.com", "phone": "555-0100" });
//! assert_eq!(merged.value, all);
//! assert_eq!(merged.resolution, Resolution::Merged);
//! ```
//!
//! | module | noun |
//! |---|---|
//! | `conflict_strategy` | [`ConflictStrategy`]: what a strategy is, [`Family`]: what of a conflict is stored |
//! | `strategy` | [`Strategy`]: the built-in ones and their names |
//! | `custom` | [`Custom`]: a function of the application |
//! | `sibling` | [`Sibling`], [`Reading`]: concurrent versions, and what a reader sees of them |
//! | `table` | [`StrategyTable`]: which strategy holds for which entities |
//! | `stamp` | [`Stamp`]: the total order of writes that decides every winner |
//! | `stamped_record` | [`StampedRecord`]: the state of field merge, a CRDT; [`Content`]: a value or its removal |
//! | `resolver` | [`ConflictResolver`]: two versions in, one out, for use on its own |
//! | `candidate`, `resolved` | [`Candidate`], [`CandidateStamp`]: what goes in; [`Resolved`], [`Resolution`]: what comes out |
//!
//! # Invariants
//!
//! - No strategy's outcome depends on the order, grouping or repetition of what it is given, nor on which side is
//!   local, but for the one exception that [`ConflictResolver`] states. Whatever can break that with a plausible rule
//!   has a test named after it.
//! - Winners are picked by stamps, in one total order, and by value where misuse gave two writes one stamp.
//! - A record that field merge made carries a stamp for each field; the stamp of the whole is not enough.
//! - No clock, randomness, thread or I/O: stamps come in as arguments.

mod candidate;
mod conflict_strategy;
mod content;
mod custom;
mod resolved;
mod resolver;
mod sibling;
mod stamp;
mod stamped_record;
mod strategy;
mod table;

pub use candidate::{Candidate, CandidateStamp};
pub use conflict_strategy::{Attention, ConflictStrategy, Family, Join};
pub use content::Content;
pub use custom::Custom;
pub use resolved::{Resolution, Resolved};
pub use resolver::ConflictResolver;
pub use sibling::{Reading, Sibling};
pub use stamp::Stamp;
pub use stamped_record::StampedRecord;
pub use strategy::{ParseStrategyError, Strategy};
pub use table::StrategyTable;
