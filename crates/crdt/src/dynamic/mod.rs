//! CRDTs whose type is known only at run time: how the replication engine joins and compares fields of records
//! without knowing the types of the application.
//!
//! A CRDT in MessagePack is an extension value that says of which [`Kind`](crate::Kind) it is. Whoever holds such
//! bytes can tell that they are a CRDT ([`is_crdt`]), join them with others of their kind ([`join`]), and compute
//! what one state knows and another does not ([`delta`]):
//!
//! ```
//! use archipelago_clock::ReplicaId;
//! use archipelago_crdt::{OrSet, dynamic};
//!
//! let [us, eu]: [ReplicaId; 2] = ["us@0000000000000001".parse()?, "eu@0000000000000002".parse()?];
//! let mut tags: OrSet<String> = OrSet::new();
//! tags.insert(us, "red".to_owned())?;
//! let before = rmp_serde::to_vec_named(&tags)?;
//! tags.insert(eu, "blue".to_owned())?;
//! let after = rmp_serde::to_vec_named(&tags)?;
//!
//! let delta = dynamic::delta(&after, &before)?.expect("there is something new");
//! let joined = dynamic::join(&before, &delta)?;
//! assert_eq!(rmp_serde::from_slice::<OrSet<String>>(&joined)?, tags);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is understood
//!
//! Every kind of the table, with [`ReplicaId`](archipelago_clock::ReplicaId) as the actor, and with elements, keys,
//! items, values and stamps that are a [`Value`](crate::Value): whatever encodes to MessagePack with text as the keys
//! of maps. A CRDT as an element or value of another, such as a register of a counter, is a value like any other and
//! is not joined; maps of CRDTs are [`OrMap`](crate::OrMap)s.
//!
//! Texts are understood without the feature `text` as well, except that [`DynamicCrdt::value`] cannot show them then.
//!
//! # Order
//!
//! Values have the order of [`Value`](crate::Value), and sets are encoded in it. An encoding that a typed CRDT wrote
//! may have another order, if the order of its element type is another; [`normalize`] gives the one form of a state.
//!
//! The order decides a result in four places: what a [`MaxRegister`](crate::MaxRegister) and a
//! [`MinRegister`](crate::MinRegister) keep, and which stamp is the later in an [`LwwRegister`](crate::LwwRegister) and
//! an [`LwwMap`](crate::LwwMap). Numbers, texts, bools, and pairs and lists of them compare as values as they do as
//! types; and in stamps replica ids do. Structs and enums may not, nor replica ids elsewhere, so that a register of
//! such a type can prefer another value in the engine than when it is merged by its type. Replicas agree all the
//! same, since all of them merge dynamically.

mod bytes;
mod crdt;
mod error;
mod map;
mod readable;
mod stamp;
mod store;

pub use bytes::{delta, forget, is_crdt, join, kind_of, normalize};
pub(crate) use crdt::AnyKind;
pub use crdt::DynamicCrdt;
pub use error::{DynamicError, KindMismatch};

#[cfg(test)]
mod tests;
