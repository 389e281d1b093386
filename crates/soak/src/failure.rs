//! What ends a run before its time.

use std::fmt::Display;

/// Why a run cannot go on, or must not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A master, the server or the disk did not do what it must.
    #[error("{0}")]
    Broken(String),
    /// Masters hold other than what they acknowledged. The report has the counts.
    #[error("{0}")]
    Wrong(String),
    /// What must come to pass did not in time.
    #[error("not within {within_s} s: {what}\n{state}")]
    Late {
        what: String,
        within_s: u64,
        /// What each master says of itself.
        state: String,
    },
    #[error("interrupted")]
    Interrupted,
}

/// What a step comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// For `map_err`: something beside the masters failed.
    pub(crate) fn broken<E: Display>(doing: &str) -> impl FnOnce(E) -> Failure {
        let doing = doing.to_owned();
        move |error| Failure::Broken(format!("cannot {doing}: {error}"))
    }
}
