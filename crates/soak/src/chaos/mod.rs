//! `soak chaos`: runs of both modes, on one server and on a cluster, and the sums of what came out.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments, and the faults there are |
//! | `run` | one run after the other, each from nothing |
//! | `report` | the sums, and what each run came to |

pub(crate) mod options;
mod report;
pub(crate) mod run;
