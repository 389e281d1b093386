//! What is known of other replicas, from what they say of themselves.

use std::collections::BTreeMap;

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::{ENVELOPE_VERSION, Heartbeat, LogPlace};

use crate::{Engine, Notice, mutated};

/// After how long a silent replica makes room for a later incarnation of its name.
pub(crate) const SUCCESSION_MS: u64 = 30_000;
/// How many heartbeats of another session of the own identity are more than a late echo of a dead one.
const TWIN_BEATS: u64 = 3;
/// By what factor another replica is given more time if it lacks removals that are forgotten here, and this one such that are
/// forgotten there.
const MUTUAL_PATIENCE: u64 = 8;

/// The latest that was heard of each other replica.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<ReplicaId, Peer>);

/// Another session that speaks under the identity or the name of this replica.
#[derive(Debug)]
pub(crate) struct Twin {
    session: u64,
    last_beat: u64,
    beats: u64,
    is_told: bool,
}

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

    pub(crate) fn get(&self, replica: &ReplicaId) -> Option<&Peer> {
        self.0.get(replica)
    }

    /// Remembers the peer in the place of silent earlier incarnations of its name; beyond `replicas_max`, whoever was
    /// silent for longest is forgotten.
    fn insert(&mut self, peer: Peer, replicas_max: usize) {
        let (replica, now) = (peer.heartbeat.replica.clone(), peer.heard_unix_ms);
        self.0.retain(|other, known| {
            other.name() != replica.name() || now.saturating_sub(known.heard_unix_ms) < SUCCESSION_MS
        });
        self.0.insert(replica, peer);
        if self.0.len() > replicas_max {
            let silent = self.0.iter().min_by_key(|(_, peer)| peer.heard_unix_ms).map(|(id, _)| id.clone());
            silent.and_then(|id| self.0.remove(&id));
        }
    }
}

/// True if `heartbeat` is not older than what is known.
fn is_news(known: Option<&Peer>, heartbeat: &Heartbeat) -> bool {
    // Sessions have no order: whichever speaks last is taken for the later one.
    known.is_none_or(|known| {
        known.heartbeat.session != heartbeat.session || known.heartbeat.beat < heartbeat.beat
    })
}

impl Engine {
    /// What this replica says of itself now, at `place` in the log. Ask after the effects of [`flush`](Engine::flush) are
    /// carried out: what is said of the state must be stored.
    pub fn heartbeat(&mut self, place: Option<LogPlace>, now_unix_ms: u64) -> Heartbeat {
        self.beats += 1;
        self.tell_floor(now_unix_ms);
        Heartbeat {
            namespace: self.config.namespace.clone(),
            replica: self.config.replica.clone(),
            session: self.config.session,
            beat: self.beats,
            hlc: self.clock.last().max(Hlc::new(now_unix_ms, 0)),
            vector: self.vector.clone(),
            strategies: self.fingerprint,
            digest: self.digest().root(),
            members: self.members.iter().cloned().collect(),
            floor: self.floor().clone(),
            place,
            reads: (ENVELOPE_VERSION, ENVELOPE_VERSION),
        }
    }

    /// Takes in what another replica says of itself.
    ///
    /// A writer of this replica's name that has written more than this replica fences it; other strategies than this
    /// replica's, and another state after the same writes, are [notices](Notice), each once until it changes.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now_unix_ms: u64) {
        if heartbeat.namespace != self.config.namespace || self.is_own_or_twin(&heartbeat) {
            return;
        }
        if !is_news(self.peers.get(&heartbeat.replica), &heartbeat) {
            return;
        }
        self.join_members(&heartbeat.members, now_unix_ms);
        self.is_alone = false;
        let own = &self.config.replica;
        let own_elsewhere = heartbeat.vector.get(own);
        if own_elsewhere > self.vector.get(own) {
            self.fence(Dot::new(own.clone(), own_elsewhere));
        }
        let known = self.peers.get(&heartbeat.replica);
        let ours = self.fingerprint;
        let mismatched = heartbeat.strategies != ours;
        if mismatched && known.is_none_or(|known| known.heartbeat.strategies != heartbeat.strategies) {
            let (replica, theirs) = (heartbeat.replica.clone(), heartbeat.strategies);
            self.notices.push(Notice::StrategyMismatch { replica, ours, theirs });
        }
        let reads = heartbeat.reads;
        let cannot_read = !(reads.0..=reads.1).contains(&ENVELOPE_VERSION);
        if cannot_read && known.is_none_or(|known| known.heartbeat.reads != reads) {
            self.notices.push(Notice::FormatMismatch { replica: heartbeat.replica.clone(), reads });
        }
        let was_diverged = known.is_some_and(|known| known.diverged);
        // Only of the same writes, by the same rules, is the same state to be expected.
        let is_telling = heartbeat.vector == self.vector && !mismatched;
        let diverged = if is_telling { heartbeat.digest != self.digest().root() } else { was_diverged };
        if is_telling && !diverged {
            self.alone_until = self.session_start;
        }
        // On an old copy of its store this replica may have written as much again before it heard of anyone.
        let is_suspect = is_telling && self.alone_until > self.session_start;
        if diverged && !was_diverged && !is_suspect {
            self.notices.push(Notice::Diverged { replica: heartbeat.replica.clone() });
        }
        let mut lags = self.lags(&heartbeat, known, now_unix_ms);
        if is_suspect {
            self.fence(Dot::new(self.config.replica.clone(), self.alone_until));
        }
        let patience_ms = u64::try_from(self.config.repair_after.as_millis()).unwrap_or(u64::MAX);
        // Whoever lacks removals that are forgotten here cannot give anything before it has caught up. If that is so of both,
        // and for long, neither ever will.
        let is_able = heartbeat.vector.dominates(self.reclaimed()) || mutated!(TakeFromBehind);
        let is_mutual = !self.vector.dominates(&heartbeat.floor);
        let patience_ms = if is_able { patience_ms } else { patience_ms.saturating_mul(MUTUAL_PATIENCE) };
        if (is_able || is_mutual)
            && lags.values().any(|(_, since)| now_unix_ms.saturating_sub(*since) >= patience_ms)
        {
            let giver = (heartbeat.replica.clone(), heartbeat.session);
            self.repair_from.get_or_insert(giver);
            // Asked for once; should nothing come of it, the patience begins anew.
            lags.values_mut().for_each(|(_, since)| *since = now_unix_ms);
        }
        self.heard_to_have(&heartbeat.replica, &heartbeat.vector);
        if self.vector.dominates(&heartbeat.vector) {
            // Should the log have been lost before it brought a floor, it comes this way.
            self.raise_floor(&heartbeat.floor);
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

    /// Whether the heartbeat comes from this replica itself, or from another session of its identity. The latter fences
    /// both. Another replica of the same name is a notice, and a peer like others.
    fn is_own_or_twin(&mut self, heartbeat: &Heartbeat) -> bool {
        let own = &self.config.replica;
        if heartbeat.session == self.config.session || heartbeat.replica.name() != own.name() {
            return heartbeat.replica == *own;
        }
        let (session, last_beat) = (heartbeat.session, heartbeat.beat);
        match &mut self.twin {
            Some(twin) if twin.session == session => {
                twin.beats += u64::from(last_beat > twin.last_beat);
                twin.last_beat = twin.last_beat.max(last_beat);
            }
            twin => *twin = Some(Twin { session, last_beat, beats: 1, is_told: false }),
        }
        let Some(twin) = self.twin.as_mut().filter(|twin| twin.beats >= TWIN_BEATS) else {
            return heartbeat.replica == *own;
        };
        // A later incarnation of the name, too, may have parted from a copy of this store.
        let parted = heartbeat.replica.incarnation() > own.incarnation() && !self.is_exclusive;
        if heartbeat.replica == *own || parted {
            let last = heartbeat.vector.get(&self.config.replica);
            self.fence_beside_twin(Dot::new(self.config.replica.clone(), last));
        } else if !twin.is_told {
            twin.is_told = true;
            self.notices.push(Notice::NameShared { other: heartbeat.replica.clone() });
        }
        heartbeat.replica == self.config.replica
    }

    /// What is known of other replicas, in order.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }
}
