//! Measurements of masters, each with a baseline in the same run.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the flags |
//! | `group` | masters in this process, and those who write there |
//! | `jetstream` | the baseline: a message a write, the plain way |
//! | `cost` | what this process used |
//! | `report` | from a measurement to the exit status |
//! | `fjall` | the baseline of local writes: the same bytes, straight into the database |
//! | `replicate` | `bench replicate`: until every master has all |
//! | `lag` | `bench lag`: until others show what was acknowledged |
//! | `local` | `bench local`: writes to one master alone |
//! | `catch_up` | `bench catch-up`: until a master that had nothing has all |
//! | `scale` | `bench scale`: how what an event costs grows |
//! | `redis` | `bench redis`: the same as `replicate`, against Redis and its replica |

mod catch_up;
mod cost;
mod fjall;
mod group;
mod jetstream;
mod lag;
mod local;
mod options;
mod redis;
mod replicate;
mod report;
mod scale;

pub(crate) use catch_up::run as catch_up;
pub(crate) use group::Noise;
pub(crate) use jetstream::{ACKS_MAX, Plain};
pub(crate) use lag::run as lag;
pub(crate) use local::run as local;
pub(crate) use options::{CatchUp, Lag, Local, Redis, Replicate, Scale, Writing};
pub(crate) use redis::run as redis;
pub(crate) use replicate::run as replicate;
pub(crate) use scale::run as scale;

/// How many times `theirs` goes into `ours`, to two digits; nothing if there is nothing to compare with.
pub(crate) fn ratio(ours: f64, theirs: f64) -> Option<f64> {
    (ours > 0.0 && theirs > 0.0).then(|| (ours / theirs * 100.0).round() / 100.0)
}

/// A ratio as it is shown first.
pub(crate) fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"))
}
