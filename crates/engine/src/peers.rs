//! What is known of other replicas, from what they say of themselves.

use std::collections::BTreeMap;

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::Heartbeat;

use crate::{Engine, Notice};

/// The latest that was heard of each other replica, by name: a new incarnation takes the place of the old one.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<String, Peer>);

/// What is known of another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The latest heartbeat.
    pub heartbeat: Heartbeat,
    /// When it was heard, by this replica's clock.
    pub heard_unix_ms: u64,
    /// Its state differs from this replica's although it has applied the same writes.
    pub diverged: bool,
    /// Of each origin of which the peer has applied more than this replica: how much this replica had applied, and since
    /// when it has been no more.
    pub(crate) lags: BTreeMap<ReplicaId, (u64, u64)>,
}

impl Peers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.0.values()
    }

    fn get(&self, replica: &ReplicaId) -> Option<&Peer> {
        self.0.get(replica.name()).filter(|peer| peer.heartbeat.replica == *replica)
    }

    /// Remembers the peer; beyond `replicas_max`, whoever was silent for longest is forgotten.
    fn insert(&mut self, peer: Peer, replicas_max: usize) {
        self.0.insert(peer.heartbeat.replica.name().to_owned(), peer);
        if self.0.len() > replicas_max {
            let silent =
                self.0.iter().min_by_key(|(_, peer)| peer.heard_unix_ms).map(|(name, _)| name.clone());
            silent.and_then(|name| self.0.remove(&name));
        }
    }
}

/// True if `heartbeat` is not older than what is known.
fn is_news(known: Option<&Peer>, heartbeat: &Heartbeat) -> bool {
    known.is_none_or(|Peer { heartbeat: known, .. }| {
        let (old, new) = (known.replica.incarnation(), heartbeat.replica.incarnation());
        // Sessions have no order: whichever speaks last is taken for the later one.
        new > old || new == old && (known.session != heartbeat.session || known.beat < heartbeat.beat)
    })
}

impl Engine {
    /// What this replica says of itself now. Ask after the effects of [`flush`](Engine::flush) are carried out: what is
    /// said of the state must be stored.
    pub fn heartbeat(&mut self, now_unix_ms: u64) -> Heartbeat {
        self.beats += 1;
        Heartbeat {
            namespace: self.config.namespace.clone(),
            replica: self.config.replica.clone(),
            session: self.config.session,
            beat: self.beats,
            hlc: self.clock.last().max(Hlc::new(now_unix_ms, 0)),
            vector: self.vector.clone(),
            strategies: self.config.strategies.fingerprint(),
            digest: self.digest().root(),
        }
    }

    /// Takes in what another replica says of itself.
    ///
    /// A writer of this replica's name that has written more than this replica fences it; other strategies than this
    /// replica's, and another state after the same writes, are [notices](Notice), each once until it changes.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now_unix_ms: u64) {
        let own = &self.config.replica;
        if heartbeat.namespace != self.config.namespace || heartbeat.replica == *own {
            return;
        }
        let name = heartbeat.replica.name();
        if name == own.name() || !is_news(self.peers.0.get(name), &heartbeat) {
            return;
        }
        let own_elsewhere = heartbeat.vector.get(own);
        if own_elsewhere > self.vector.get(own) {
            self.fence(Dot::new(own.clone(), own_elsewhere));
        }
        let known = self.peers.get(&heartbeat.replica);
        let ours = self.config.strategies.fingerprint();
        let mismatched = heartbeat.strategies != ours;
        if mismatched && known.is_none_or(|known| known.heartbeat.strategies != heartbeat.strategies) {
            let (replica, theirs) = (heartbeat.replica.clone(), heartbeat.strategies);
            self.notices.push(Notice::StrategyMismatch { replica, ours, theirs });
        }
        let was_diverged = known.is_some_and(|known| known.diverged);
        // Only of the same writes, by the same rules, is the same state to be expected.
        let diverged = match heartbeat.vector == self.vector && !mismatched {
            true => heartbeat.digest != self.digest().root(),
            false => was_diverged,
        };
        if diverged && !was_diverged {
            self.notices.push(Notice::Diverged { replica: heartbeat.replica.clone() });
        }
        let mut lags = self.lags(&heartbeat, known, now_unix_ms);
        let patience_ms = u64::try_from(self.config.repair_after.as_millis()).unwrap_or(u64::MAX);
        if lags.values().any(|(_, since)| now_unix_ms.saturating_sub(*since) >= patience_ms) {
            self.repair_from = Some(heartbeat.replica.clone());
            // Asked for once; should nothing come of it, the patience begins anew.
            lags.values_mut().for_each(|(_, since)| *since = now_unix_ms);
        }
        let peer = Peer { heartbeat, heard_unix_ms: now_unix_ms, diverged, lags };
        self.peers.insert(peer, self.config.limits.replicas_max);
    }

    /// What the peer has applied and this replica lacks, although nothing of it is on its way here.
    fn lags(
        &self,
        heartbeat: &Heartbeat,
        known: Option<&Peer>,
        now_unix_ms: u64,
    ) -> BTreeMap<ReplicaId, (u64, u64)> {
        let mut lags = BTreeMap::new();
        for (origin, theirs) in heartbeat.vector.iter().filter(|(origin, _)| **origin != self.config.replica)
        {
            let ours = self.vector.get(origin);
            // An event that waits for its time, or for one of another origin, is not lacking.
            if theirs > ours && !self.buffer.holds(origin, ours + 1) {
                let since = known.and_then(|known| known.lags.get(origin)).filter(|(had, _)| *had == ours);
                lags.insert(origin.clone(), *since.unwrap_or(&(ours, now_unix_ms)));
            }
        }
        lags
    }

    /// What is known of other replicas, in order of name.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }
}
