use std::time::Duration;

/// When a node tries for the lease of the namespace, by its own monotonic clock alone.
///
/// A lease that is free is tried for after a short wait, which differs from node to node so that not all of them try at
/// once. One that is held is tried for once it was not renewed for as long as it lasts: compare-and-set on the revision
/// that was seen keeps that from taking it from a holder who did renew.
///
/// This decides who tries and when, not who may write: that is decided by the log, which takes entries only from whoever
/// knows its end (Gray and Cheriton, 1989, on leases; Kleppmann, 2016, on why they need fencing).
#[derive(Clone, Debug)]
pub struct Election {
    ttl: Duration,
    /// What was seen last: the revision, or that nobody holds the lease. Nothing before the first look.
    seen: Option<Option<u64>>,
    /// No attempt before. Since some moment that all durations here count from.
    not_before: Duration,
}

/// An attempt to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The revision to take over, of a holder that did not renew; `None` if the lease was free.
    pub over: Option<u64>,
}

impl Election {
    /// That of a node which has not looked yet, at `now`.
    pub fn new(ttl: Duration, now: Duration) -> Election {
        Election { ttl, seen: None, not_before: now + ttl }
    }

    /// The lease was seen at this revision, or free, at `now`. `delay` is how long this node lets others go first.
    pub fn handle_seen(&mut self, revision: Option<u64>, now: Duration, delay: Duration) {
        if self.seen == Some(revision) {
            return;
        }
        self.seen = Some(revision);
        self.not_before = now + delay + revision.map_or(Duration::ZERO, |_| self.ttl);
    }

    /// The attempt that is due at `now`, if one is.
    pub fn due(&self, now: Duration) -> Option<Attempt> {
        (now >= self.not_before).then_some(Attempt { over: self.seen.flatten() })
    }

    /// When the next attempt is due, unless something is seen before.
    pub fn due_at(&self) -> Duration {
        self.not_before
    }

    /// An attempt did not succeed: the next one is due after `pause`, or later if the lease was seen to be renewed since.
    pub fn handle_failed(&mut self, now: Duration, pause: Duration) {
        self.not_before = self.not_before.max(now + pause);
    }
}
