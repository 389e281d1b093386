//! Where masters disagree although they have applied the same writes, and how that is mended.
//!
//! The engine reads again what is stored, a little at each heartbeat interval, and so finds what changed behind its back;
//! heartbeats then show other masters that the digests differ, and all are alarmed
//! ([`Diverged`](crate::Notification::Diverged), [`Damaged`](crate::Notification::Damaged)).
//! [`diff`](crate::MultiMasterManager::diff) says in what they differ, [`repair_from`](crate::MultiMasterManager::repair_from)
//! mends it. `docs/OPERATIONS.md` says how to go about it.
//!
//! | module | noun |
//! |---|---|
//! | `scrub` | a whole reading at once |
//! | `side` | this or another master, as both are asked |
//! | `diff` | [`Diff`]: the buckets and entities in which two masters differ |
//! | `survey` | [`Survey`]: the same with all masters that are heard, and what most of them hold |
//! | `mending` | [`Mended`]: what was taken from another master |
//! | `error` | [`DiffError`] |

mod diff;
mod error;
mod mending;
mod scrub;
mod side;
mod survey;

pub use diff::{DIFF_ENTITIES_MAX, Diff, Difference};
pub use error::DiffError;
pub use mending::Mended;
pub use survey::{Disagreement, Survey};
