//! State-based and delta CRDTs, and the dynamic [`Value`] that replicated records are made of.
//!
//! A CRDT is a value that many replicas update without asking one another, and whose states merge to the same
//! result everywhere, in whatever order and however often they arrive:
//!
//! ```
//! use archipelago_crdt::{Crdt, DeltaCrdt, GCounter, PnCounter};
//!
//! let mut us = GCounter::new();
//! let mut eu = GCounter::new();
//! us.increment("us", 5)?;
//! let delta = eu.increment("eu", 3)?;
//!
//! us.merge_delta(&delta); // or the whole state: `us.merge(&eu)`
//! eu.merge(&us);
//! assert_eq!(us.value(), 8);
//! assert_eq!(us, eu);
//! # Ok::<(), archipelago_crdt::CounterError>(())
//! ```
//!
//! # Types
//!
//! | type | value | join | paper |
//! |---|---|---|---|
//! | [`GCounter`] | a sum that only grows | greater count of each actor | Shapiro et al. 2011, 3.1.1 |
//! | [`PnCounter`] | a sum that grows and shrinks | two [`GCounter`]s | Shapiro et al. 2011, 3.1.3 |
//! | [`GSet`] | a set that only grows | union | Shapiro et al. 2011, 3.3.1 |
//! | [`LwwRegister`] | one value | greatest (stamp, value) | Shapiro et al. 2011, 3.2.1 |
//!
//! Papers: Shapiro, Preguiça, Baquero, Zawirski, *A comprehensive study of convergent and commutative replicated
//! data types*, INRIA RR-7506, 2011; Almeida, Shoker, Baquero, *Delta state replicated data types*, J. Parallel
//! Distrib. Comput. 111, 2018.
//!
//! # Map
//!
//! | module | noun |
//! |---|---|
//! | `crdt` | [`Crdt`]: what can be merged, the laws, and the legal orders of operations |
//! | `delta_crdt` | [`DeltaCrdt`]: what can send its news alone |
//! | `gcounter`, `pncounter`, `gset`, `lww_register` | one type each, with its tests |
//! | `value` | [`Value`]: the dynamic value, its order, encoding and conversions; [`value!`] |
//! | [`encoding`] | strict decoding for types built on these |
//! | `error` | [`CounterError`], [`RegisterError`] |
//!
//! # Invariants
//!
//! - Every state a type can be in obeys the laws of [`Crdt`], whatever its history; merging cannot fail.
//! - Equal states have equal encodings: ordered maps and sets only, no zero entries, one form for each value.
//! - A mutator that returns an error has changed nothing. Nothing wraps and nothing is silently cut off.
//! - No clock, randomness, thread or I/O: stamps and actor ids come in as arguments.

mod bounded_counter;
mod causal;
mod contributions;
mod crdt;
mod delta_crdt;
mod dot_fun;
mod dot_map;
mod dot_set;
mod dot_store;
mod dw_flag;
pub mod encoding;
mod error;
mod ew_flag;
#[cfg(test)]
mod executions;
mod gcounter;
mod gset;
#[cfg(test)]
mod laws;
mod lww_map;
mod lww_register;
mod max_register;
mod min_register;
mod mv_register;
mod nested;
mod or_map;
mod or_set;
mod pncounter;
mod rw_set;
mod two_phase_set;
mod value;

pub use archipelago_clock::MintError;
pub use bounded_counter::BoundedCounter;
pub use causal::Causal;
pub use contributions::Contributions;
pub use crdt::Crdt;
pub use delta_crdt::DeltaCrdt;
pub use dot_set::DotSet;
pub use dot_store::DotStore;
pub use dw_flag::{DwFlag, DwFlagDots};
pub use error::{CounterError, RegisterError, TwoPhaseError};
pub use ew_flag::{EwFlag, EwFlagDots};
pub use gcounter::GCounter;
pub use gset::GSet;
pub use lww_map::LwwMap;
pub use lww_register::LwwRegister;
pub use max_register::MaxRegister;
pub use min_register::MinRegister;
pub use mv_register::{MvRegister, MvRegisterDots};
pub use nested::{MapValue, Nested};
pub use or_map::{OrMap, OrMapDots};
pub use or_set::{OrSet, OrSetDots};
pub use pncounter::PnCounter;
pub use rw_set::{RwSet, RwSetDots};
pub use two_phase_set::TwoPhaseSet;
pub use value::{MAX_DEPTH, Value};
