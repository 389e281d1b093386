//! What clients were refused for: counted, and told in the log once, and from then on now and then.

use std::{
    array,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::problem::ProblemType;

/// How long nothing more of the same kind is told after it was told: whoever is refused often must not fill the log.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// Why a client was refused, or cut off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal { $($(#[doc = $doc])+ $variant,)+ }

        impl Refusal {
            pub(crate) const ALL: &'static [Refusal] = &[$(Refusal::$variant),+];

            /// The kind as a word, for logs and measures.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name),+ }
            }
        }
    };
}

refusals! {
    /// It sent no token, or one that nobody has.
    Unauthorized = "unauthorized";
    /// The role of its token is not enough, or it is a page of another site.
    Forbidden = "forbidden";
    /// A body, or a value in it, was over a limit.
    TooLarge = "too-large";
    /// A request with its body took too long.
    RequestTimeout = "request-timeout";
    /// All streams are taken.
    Busy = "busy";
    /// It did not shake hands as TLS wants it, or not in time.
    Handshake = "handshake";
    /// It did not send the head of its first request in time.
    SlowHead = "slow-head";
    /// What it sent is no HTTP, or its head is over a limit.
    WrongHead = "wrong-head";
    /// It takes nothing of what is sent to it.
    Stalled = "stalled";
    /// It had asked for nothing when another one needed its place.
    CrowdedOut = "crowded-out";
    /// The system accepts no more connections.
    NotAccepted = "not-accepted";
}

impl Refusal {
    /// What a problem is a sign of, if it may be one of an attack.
    pub(crate) fn of(problem: ProblemType) -> Option<Refusal> {
        match problem {
            ProblemType::Unauthorized => Some(Refusal::Unauthorized),
            ProblemType::Forbidden => Some(Refusal::Forbidden),
            ProblemType::TooLarge => Some(Refusal::TooLarge),
            ProblemType::RequestTimeout => Some(Refusal::RequestTimeout),
            ProblemType::Busy => Some(Refusal::Busy),
            _ => None,
        }
    }
}

/// The refusals of a node, by kind. A handle.
#[derive(Clone, Debug)]
pub(crate) struct Refusals(Arc<[Mutex<Tally>; Refusal::ALL.len()]>);

#[derive(Debug, Default)]
struct Tally {
    total: u64,
    /// How many were not told yet.
    untold: u64,
    told_at: Option<Instant>,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals(Arc::new(array::from_fn(|_| Mutex::default())))
    }
}

impl Refusals {
    /// Counts it, and tells it unless one of its kind was told a moment ago.
    pub(crate) fn note(&self, refusal: Refusal, peer: Option<SocketAddr>) {
        let mut tally = self.0[refusal as usize].lock().unwrap_or_else(PoisonError::into_inner);
        (tally.total, tally.untold) = (tally.total + 1, tally.untold + 1);
        let now = Instant::now();
        if tally.told_at.is_some_and(|told_at| now.duration_since(told_at) < TELL_INTERVAL) {
            return;
        }
        let count = std::mem::take(&mut tally.untold);
        tally.told_at = Some(now);
        drop(tally);
        let peer = peer.map(tracing::field::display);
        tracing::warn!(
            reason = refusal.name(),
            count,
            peer,
            "a client was refused; others for the same reason are counted, and told once a minute"
        );
    }

    /// How many there were of each kind.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let total = |tally: &Mutex<Tally>| tally.lock().unwrap_or_else(PoisonError::into_inner).total;
        Refusal::ALL.iter().map(move |refusal| (*refusal, total(&self.0[*refusal as usize])))
    }
}
