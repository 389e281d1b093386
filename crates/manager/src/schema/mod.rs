//! Schemas of applications: which form a value is in, and how older forms are lifted to the one that this program knows.
//!
//! A value says its form itself: a map of version `n` > 1 has the field `$schema:n`, its *mark*; a value without a mark
//! has version 1. Marks are fields that are only ever added, and the greatest counts. So under field merge and CRDT
//! merge, where programs of several versions may mark one record without knowing of each other, what any of them lifted
//! never passes for older again. A single field with a number in it would: there the later write wins, also if it says 2 and
//! the other fields are in form 3 by then.
//!
//! Values are lifted when they are read, and what is stored is written by writes only: a replica that reads changes no
//! digest, and replicas that know different versions hold the same state.
//!
//! | file | noun |
//! |---|---|
//! | `upcast` | [`Schema`]: a version and the upcasters that lead to it |
//! | `table` | which schema holds for which entities |
//! | `mark` | the version that a value carries |
//! | `lifted` | a stored value as this program sees it |
//! | `overlay` | what a program changed, laid over what it does not know |
//! | `writing` | a write in the form of this program, or why it is refused |

mod lifted;
mod mark;
mod overlay;
mod table;
mod upcast;
mod writing;

pub(crate) use lifted::Lifted;
pub use mark::SCHEMA_FIELD_PREFIX;
pub(crate) use mark::may_be_marked;
pub(crate) use table::SchemaTable;
pub use upcast::{LiftError, Schema, UpcastError};
pub(crate) use writing::{LooksAt, Writing};
