use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::PipelineError;

/// The shortest time after which a lease may expire: brokers count no finer.
pub const LEASE_TTL_MIN: Duration = Duration::from_millis(100);

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEntry {
    /// The fencing token: that of a later holder, and of a later renewal, is greater.
    pub revision: u64,
    /// What the holder says of itself. Anyone who may take the lease can have written it: decode it with limits.
    pub value: Bytes,
}

/// The right to lead one namespace: held by one at a time, until it is given up or was not renewed for
/// [`ttl`](Self::ttl).
///
/// Revisions grow with each change, for as long as the broker keeps what it knows of the lease. A broker that lost it
/// begins at 1 again: who uses them as fencing tokens compares them with what the log says.
///
/// The holder counts its own time, on a clock that does not jump, from the moment *before* it called
/// [`acquire`](Self::acquire) or [`renew`](Self::renew): the broker's count begins later, and so ends later. The broker
/// may be late with the expiry. It is early only if its servers' clocks differ and another of them takes over, or if one is
/// set forward: who may not be wrong about it [renews](Self::renew) instead of counting.
///
/// # Errors
/// [`PipelineError::Unavailable`]: nothing was changed. [`PipelineError::AckTimeout`]: a change may or may not have been
/// made, and may even be made after the call; who must know [looks](Self::look), and finds its own value or that of
/// another. Both are worth retrying. The deadline is half of [`ttl`](Self::ttl), unless that of the pipeline is shorter.
/// [`PipelineError::Misconfigured`]: someone else uses another `ttl`.
#[async_trait]
pub trait Lease: Debug + Send + Sync {
    /// After how long a lease that was not renewed expires by itself.
    fn ttl(&self) -> Duration;

    /// Who holds it, as the leader among the broker's servers says; `None` if nobody does. It may have changed since, and
    /// a server that was cut off may not know yet that it leads no more: only [`renew`](Self::renew) proves that one holds
    /// it.
    ///
    /// # Errors
    /// As of the trait.
    async fn look(&self) -> Result<Option<LeaseEntry>, PipelineError>;

    /// Takes the lease if nobody holds it, or if it still stands at the revision `over`, which is for that of a holder who
    /// was not seen to renew it for [`ttl`](Self::ttl). Gives its revision, or `None` if somebody else holds it.
    ///
    /// # Errors
    /// As of the trait.
    async fn acquire(&self, value: Bytes, over: Option<u64>) -> Result<Option<u64>, PipelineError>;

    /// Holds the lease for another [`ttl`](Self::ttl), if it still stands at `revision`, and gives its new revision: proof
    /// that at some moment between the call and its return it was still the caller's. `None`: it is lost.
    ///
    /// `None` also comes after a renewal of one's own of which the answer was lost; [`look`](Self::look) tells the two
    /// apart.
    ///
    /// # Errors
    /// As of the trait.
    async fn renew(&self, revision: u64, value: Bytes) -> Result<Option<u64>, PipelineError>;

    /// Gives the lease up, if it still stands at `revision`; who watches learns of it at once. Otherwise does nothing.
    ///
    /// # Errors
    /// As of the trait.
    async fn release(&self, revision: u64) -> Result<(), PipelineError>;

    /// Tells who holds it, now and after every change.
    ///
    /// # Errors
    /// As of the trait.
    async fn watch(&self) -> Result<Box<dyn LeaseWatch>, PipelineError>;
}

/// A running watch of a lease.
#[async_trait]
pub trait LeaseWatch: Send {
    /// Who holds it, if that is not what was told before: at first the current state, then the newest one. What was only
    /// for a moment may be left out. `None`: nobody holds it. Of an expiry it may be told later than a
    /// [`look`](Lease::look) would, by a fraction of the time to live.
    ///
    /// A passing failure (reconnect, restarted broker) is mended inside. Cancel safe: dropping the future before it is
    /// ready loses nothing.
    ///
    /// # Errors
    /// [`PipelineError::Closed`], and no other; it ends the watch.
    async fn next(&mut self) -> Result<Option<LeaseEntry>, PipelineError>;
}

/// Checks that a lease may expire after `ttl`. For implementations of [`Pipeline`](crate::Pipeline).
///
/// # Errors
///
/// [`PipelineError::Misconfigured`].
pub fn check_lease_ttl(ttl: Duration) -> Result<(), PipelineError> {
    if ttl >= LEASE_TTL_MIN {
        return Ok(());
    }
    let reason = format!("a lease cannot expire after {ttl:?}; let it last {LEASE_TTL_MIN:?} or longer");
    Err(PipelineError::Misconfigured { reason })
}

/// The lease is made for another time to live, and held. For implementations of [`Pipeline`](crate::Pipeline).
pub fn lease_ttl_differs(name: &str, found: Duration, wanted: Duration) -> PipelineError {
    PipelineError::Misconfigured {
        reason: format!(
            "the lease {name:?} expires after {found:?} and not after {wanted:?}; give all replicas of the \
             namespace the same time, or stop those that hold the lease with the other one"
        ),
    }
}
