use std::time::Duration;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::Peer;

/// What a master knows of another one, from its latest heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView {
    /// The other master.
    pub master_id: ReplicaId,
    /// How long ago it was heard.
    pub silent_for: Duration,
    /// What it had applied then.
    pub vector: VersionVector,
    /// How many writes it had applied that this master has not.
    pub ahead_events: u64,
    /// How many writes this master has applied that it had not.
    pub behind_events: u64,
    /// By how many milliseconds its clock was ahead of this master's when it was heard; the way here is not known and
    /// counts as if the other were behind.
    pub clock_ahead_ms: i64,
    /// It resolves conflicts by the same rules as this master.
    pub same_strategies: bool,
    /// Its state differs from this master's although it has applied the same writes.
    pub diverged: bool,
}

impl PeerView {
    pub(crate) fn new(peer: &Peer, own: &VersionVector, strategies: u64, now_unix_ms: u64) -> Self {
        let heartbeat = &peer.heartbeat;
        let clock_ahead_ms = i128::from(heartbeat.hlc.unix_ms()) - i128::from(peer.heard_unix_ms);
        PeerView {
            master_id: heartbeat.replica.clone(),
            silent_for: Duration::from_millis(now_unix_ms.saturating_sub(peer.heard_unix_ms)),
            ahead_events: lacks(own, &heartbeat.vector),
            behind_events: lacks(&heartbeat.vector, own),
            vector: heartbeat.vector.clone(),
            clock_ahead_ms: i64::try_from(clock_ahead_ms).unwrap_or(i64::MAX),
            same_strategies: heartbeat.strategies == strategies,
            diverged: peer.diverged,
        }
    }
}

/// How many writes are in `of` that `vector` lacks.
pub(crate) fn lacks(vector: &VersionVector, of: &VersionVector) -> u64 {
    let lacking = of.iter().map(|(replica, sequence)| sequence.saturating_sub(vector.get(replica)));
    lacking.fold(0, u64::saturating_add)
}
