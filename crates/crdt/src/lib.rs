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
//! All merge in any order, late and repeatedly; what else they require of the order of operations is in the third
//! column. *Own state*: an actor updates only its own, current state, which has all that it did before, under its
//! own id; see [`Crdt`]. *Stamps*: a write has a greater stamp than what it replaces, which an HLC gives.
//!
//! | type | value | requires | of concurrent operations | paper |
//! |---|---|---|---|---|
//! | [`GCounter`] | a sum that only grows | own state | all count | Shapiro 3.1.1 |
//! | [`PnCounter`] | a sum that grows and shrinks | own state | all count | Shapiro 3.1.3 |
//! | [`BoundedCounter`] | a sum that never falls below zero | own state | all count, within the actors' rights | Balegas III |
//! | [`MaxRegister`] | the greatest value given | nothing | the greater wins | Shapiro 2.3 |
//! | [`MinRegister`] | the least value given | nothing | the lesser wins | Shapiro 2.3 |
//! | [`LwwRegister`] | one value | stamps | the greater stamp wins | Shapiro 3.2.1 |
//! | [`MvRegister`] | the values no write has replaced | own state | all writes stay; a write wins over a clear | Shapiro 3.2.2, Almeida 7.3.3 |
//! | [`EwFlag`] | on or off, at first off | own state | enabling wins | Almeida 7.3.1 |
//! | [`DwFlag`] | on or off, at first on | own state | disabling wins | Almeida 7.3.1 |
//! | [`GSet`] | a set that only grows | nothing | all stay | Shapiro 3.3.1 |
//! | [`TwoPhaseSet`] | a set; removed is removed for ever | remove what was seen | removing wins | Shapiro 3.3.2 |
//! | [`OrSet`] | a set, without tombstones | own state | adding wins | Bieniusa, Almeida 7.3.2 |
//! | [`RwSet`] | a set; removals are kept until stable | own state | removing wins | Almeida 7.3.2 |
//! | [`LwwMap`] | values by key; removals are kept | stamps | for each key the greater stamp wins | Shapiro 3.2.1, 3.3.3 |
//! | [`OrMap`] | CRDTs by key, without tombstones | own state | an update wins over a removal, which takes what it saw | Almeida 7.3.4 |
//! | [`List`] | items in order; removals are kept until stable | own state | all insertions stay, runs unmixed; removing wins | Weidner |
//! | `Text`, with the feature `text` | text that many edit at once | own state | all insertions stay, runs typed forwards unmixed; removing wins | Nicolaescu |
//!
//! Papers: Shapiro, Preguiça, Baquero, Zawirski, *A comprehensive study of convergent and commutative replicated
//! data types*, INRIA RR-7506, 2011; Almeida, Shoker, Baquero, *Delta state replicated data types*, J. Parallel
//! Distrib. Comput. 111, 2018; Bieniusa et al., *An optimized conflict-free replicated set*, INRIA RR-8083, 2012;
//! Balegas et al., *Extending eventually consistent cloud databases for enforcing numeric invariants*, SRDS 2015;
//! Weidner, Kleppmann, *The art of the Fugue*, 2023; Nicolaescu, Jahns, Derntl, Klamma, *Near real-time peer-to-peer
//! shared editing on extensible data types*, GROUP 2016.
//!
//! # Fields of plain structs
//!
//! In MessagePack, and every other format that people do not read, a CRDT says of which [`Kind`] it is: it is the
//! extension value of type [`EXTENSION_TYPE`] with version, kind and state in it. So a record can be a plain struct,
//! and the replication engine, which sees bytes alone, joins its CRDTs field by field, through [`dynamic`]:
//!
//! ```
//! use archipelago_clock::ReplicaId;
//! use archipelago_crdt::{OrSet, PnCounter, Value, dynamic};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Post {
//!     title: String,
//!     views: PnCounter,
//!     tags: OrSet<String>,
//! }
//!
//! let us: ReplicaId = "us@0000000000000001".parse()?;
//! let mut post = Post { title: "Islands".into(), views: PnCounter::new(), tags: OrSet::new() };
//! post.views.increment(us.clone(), 3)?;
//! post.tags.insert(us, "travel".to_owned())?;
//!
//! let bytes = rmp_serde::to_vec_named(&post)?;
//! let record: Value = rmp_serde::from_slice(&bytes)?; // knows neither `Post` nor `String`
//! assert_eq!(record.get("views").unwrap().kind(), "crdt:pn-counter");
//! assert_eq!(record.readable().to_string(), r#"{"tags":["travel"],"title":"Islands","views":3}"#);
//! # let views = rmp_serde::to_vec_named(&post.views)?;
//! assert_eq!(dynamic::join(&views, &views)?, views);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In JSON a typed CRDT is its bare state, as described on each type. The table of kinds and their codes is on
//! [`Kind`]; what the engine needs of element types, on [`dynamic`]. A CRDT of one's own has no kind: it is a value
//! like any other to the engine.
//!
//! # Map
//!
//! | module | noun |
//! |---|---|
//! | `crdt` | [`Crdt`]: what can be merged, the laws, and the legal orders of operations |
//! | `delta_crdt` | [`DeltaCrdt`]: what can send its news alone |
//! | `gcounter`, `pncounter`, `bounded_counter`, `max_register`, `min_register`, `lww_register`, `lww_map`, `gset`, `two_phase_set` | one type each, with its tests |
//! | `causal` | [`Causal`]: a store of dots with the context of those that were seen |
//! | `dot_store` | [`DotStore`]: how stores join; `dot_set`, `dot_fun`, `dot_map` are the three of the paper |
//! | `ew_flag`, `dw_flag`, `mv_register`, `or_set`, `rw_set`, `or_map`, `list` | one causal type each |
//! | `text` | the states of texts, joined without a feature; `Text` on yrs, behind it |
//! | `nested` | [`Nested`]: what can be a value of an [`OrMap`]; `contributions`: what has no dots of its own, there |
//! | `value` | [`Value`]: the dynamic value, its order, encoding and conversions; [`value!`] |
//! | `kind` | [`Kind`]: which type a CRDT is of; `extension`, `state`: how encodings say it |
//! | [`dynamic`] | [`DynamicCrdt`](dynamic::DynamicCrdt): a CRDT whose type is known only at run time |
//! | [`encoding`] | strict decoding for types built on these |
//! | `error` | why updates are refused |
//!
//! # Invariants
//!
//! - Every state a type can be in obeys the laws of [`Crdt`], whatever its history; merging cannot fail.
//! - Equal states of one type have equal encodings: ordered maps and sets only, no zero entries, one form for each value.
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
pub mod dynamic;
pub mod encoding;
mod error;
mod ew_flag;
#[cfg(test)]
mod executions;
mod extension;
mod gcounter;
mod gset;
mod kind;
#[cfg(test)]
mod laws;
mod list;
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
mod state;
mod text;
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
pub use error::{CounterError, ListError, RegisterError, TwoPhaseError};
pub use ew_flag::{EwFlag, EwFlagDots};
pub use extension::EXTENSION_TYPE;
pub use gcounter::GCounter;
pub use gset::GSet;
pub use kind::Kind;
pub use list::{List, ListDots};
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
#[cfg(feature = "text")]
pub use text::{Text, TextError};
pub use two_phase_set::TwoPhaseSet;
pub use value::{MAX_DEPTH, Value};
