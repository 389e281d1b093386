//! What this replica says to others, gives them, and takes from them.

use std::time::Duration;

use archipelago_clock::ReplicaId;
use archipelago_engine::{DeltaError, Peer};
use archipelago_proto::{DeltaPiece, DeltaRequest, Heartbeat, LogPlace, Member, MemberState};
use archipelago_store::{Batch, Durability};

use super::{Captured, Inspection, Replica, Session};
use crate::{
    LinkState, NotTaken, PeerView, peer,
    repair::{Fetched, PIECE_BYTES_TARGET},
    snapshot::Neighbourhood,
};

impl Replica {
    /// `None` if the store failed; then there is no answer.
    pub(super) fn give(&mut self, request: &DeltaRequest) -> Option<DeltaPiece> {
        if self.failed.is_some() {
            return None;
        }
        let bytes_max = usize::try_from(request.bytes_max).unwrap_or(usize::MAX).min(PIECE_BYTES_TARGET);
        let now = self.clock.now_unix_ms();
        let records = self.shared.stored();
        let delta = self.engine.delta_since(&request.since, request.from.as_ref(), bytes_max, now, &records);
        match delta {
            Ok(delta) => Some(DeltaPiece {
                namespace: self.shared.namespace.clone(),
                replica: self.shared.replica(),
                session: self.engine.config().session,
                vector: delta.vector,
                entities: delta.entities,
                next: delta.next,
                floor: self.engine.reclaimed().clone(),
                told_floor: self.engine.floor().clone(),
                members: self.engine.members().cloned().collect(),
                held: self.engine.held(),
            }),
            Err(error) => {
                self.fail(error.to_string());
                None
            }
        }
    }

    /// With what holds at the same moment.
    fn captured(&self, piece: DeltaPiece) -> Captured {
        Captured {
            piece,
            digest: self.engine.digest().root(),
            place: self.place(),
            now_unix_ms: self.clock.now_unix_ms(),
        }
    }

    pub(super) fn take(&mut self, fetched: Fetched) -> Result<u64, NotTaken> {
        if let Some(reason) = &self.failed {
            return Err(NotTaken::StoreFailed { reason: reason.clone() });
        }
        if !self.engine.vector().dominates(&fetched.since) {
            return Err(NotTaken::Receded);
        }
        let now = self.clock.now_unix_ms();
        let records = self.shared.stored();
        let taken = self.engine.handle_delta(fetched.giver, fetched.entities, now, &records);
        taken.map(|entities| entities as u64).map_err(|error| match error {
            DeltaError::Fenced { dot } => NotTaken::Fenced { dot },
            DeltaError::GiverBehind { giver } => NotTaken::GiverBehind { giver },
            DeltaError::Incomplete => NotTaken::Incomplete,
            DeltaError::Ahead { entity, due_unix_ms } => {
                let ahead = Duration::from_millis(due_unix_ms.saturating_sub(now));
                NotTaken::Ahead { entity: entity.to_string(), ahead }
            }
            DeltaError::NeedsNewerBuild { entity } => {
                NotTaken::NeedsNewerBuild { entity: entity.to_string() }
            }
            error => {
                self.fail(error.to_string());
                NotTaken::StoreFailed { reason: error.to_string() }
            }
        })
    }

    pub(super) fn hear(&mut self, heartbeat: Heartbeat) {
        let own = self.shared.replica();
        if heartbeat.replica != own && heartbeat.namespace == self.shared.namespace {
            let (peer, has) = (heartbeat.replica.clone(), heartbeat.vector.get(&own));
            let knows_left = |member: &Member| member.replica == own && member.state == MemberState::Left;
            let is_left = heartbeat.members.iter().any(knows_left);
            self.shared.spread.send_if_modified(|spread| {
                let changes = spread.is_left != is_left;
                spread.is_left |= is_left;
                spread.peers.insert(peer, has) != Some(has) || changes
            });
        }
        self.engine.handle_heartbeat(heartbeat, self.clock.now_unix_ms());
    }

    /// Brings to the disk what is stored, whatever crash writes are to survive: others will count on what they hear, and
    /// what they hear of must not be forgotten here, or another write would get its name.
    pub(super) async fn sync(&mut self) {
        let store = self.shared.store.clone();
        if self.failed.is_some()
            || self.synced == *self.engine.vector()
            || store.strongest_durability() == Durability::Memory
        {
            return;
        }
        let synced = self.shared.tasks.blocking(move || store.commit(Batch::new(), Durability::Fsync)).await;
        match synced {
            Ok(Ok(())) => self.synced.clone_from(self.engine.vector()),
            Ok(Err(error)) => self.fail(error.to_string()),
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// What others asked for, now that all of it is stored.
    pub(super) async fn answer(&mut self) {
        if !(self.beats.is_empty() && self.gives.is_empty() && self.captures.is_empty()) {
            self.sync().await;
        }
        for reply in self.inspections.drain(..).filter(|_| self.failed.is_none()) {
            let (vector, digest) = (self.engine.vector().clone(), self.engine.digest().clone());
            let _ = reply.send(Inspection { vector, digest });
        }
        for (request, reply) in std::mem::take(&mut self.gives) {
            if let Some(piece) = self.give(&request) {
                let _ = reply.send(piece);
            }
        }
        for (request, reply) in std::mem::take(&mut self.captures) {
            if let Some(piece) = self.give(&request) {
                let _ = reply.send(self.captured(piece));
            }
        }
        for reply in std::mem::take(&mut self.beats) {
            if self.failed.is_none() {
                let place = self.place();
                let _ = reply.send(self.engine.heartbeat(place, self.clock.now_unix_ms()));
            }
        }
    }

    fn place(&self) -> Option<LogPlace> {
        let created_unix_ns = self.log.as_ref()?.created_unix_ns;
        Some(LogPlace { created_unix_ns, sequence: self.engine.checkpoint() })
    }

    pub(super) fn leave(&mut self, is_done: bool, reply: tokio::sync::oneshot::Sender<()>) {
        if let Err(error) = self.engine.leave(is_done, self.clock.now_unix_ms()) {
            tracing::error!(%error, "this master cannot say that it leaves");
        }
        let _ = reply.send(());
    }

    /// Keeps this master among the members.
    pub(super) fn announce(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.engine.announce(self.clock.now_unix_ms())
        {
            tracing::error!(%error, "this master cannot say that it is a member");
        }
    }

    /// About how many writes of another master are lacking here; the greatest number if all of its state is.
    pub(super) fn lacks(&self, peer: &ReplicaId) -> u64 {
        let own = self.engine.vector();
        let Some(peer) = self.engine.peers().find(|known| known.heartbeat.replica == *peer) else { return 0 };
        match own.is_empty() || !own.dominates(&peer.heartbeat.floor) {
            true => u64::MAX,
            false => peer::lacks(own, &peer.heartbeat.vector),
        }
    }

    pub(super) fn active_peers(&self, now_unix_ms: u64) -> u64 {
        self.audible_peers(now_unix_ms).count() as u64
    }

    fn audible_peers(&self, now_unix_ms: u64) -> impl Iterator<Item = &Peer> {
        let silence_max = u64::try_from(self.silence_max.as_millis()).unwrap_or(u64::MAX);
        let is_audible = move |peer: &&Peer| now_unix_ms.saturating_sub(peer.heard_unix_ms) <= silence_max;
        self.engine.peers().filter(is_audible)
    }

    pub(super) fn neighbourhood(&self) -> Neighbourhood {
        let own = self.shared.replica();
        let is_active = |replica: &ReplicaId| {
            self.engine
                .members()
                .any(|member| member.replica == *replica && member.state == MemberState::Active)
        };
        // Without a pipeline nobody is a member of anything.
        let is_candidate = is_active(&own) || *self.shared.link.borrow() == LinkState::Absent;
        let mut others = self.audible_peers(self.clock.now_unix_ms()).map(|peer| &peer.heartbeat.replica);
        let is_first = is_candidate && !others.any(|other| is_active(other) && *other < own);
        Neighbourhood { is_first, trimmable: self.trimmable(&own) }
    }

    /// Up to where every awaited member is done with the log.
    fn trimmable(&self, own: &ReplicaId) -> Result<LogPlace, String> {
        let mut least = self.place().ok_or("this master has not read the log yet")?;
        for (member, _) in self.engine.reclaimable().awaited {
            if member == *own {
                continue;
            }
            let peer = self.engine.peers().find(|peer| peer.heartbeat.replica == member);
            let place = peer.and_then(|peer| peer.heartbeat.place);
            let place = place.filter(|place| place.created_unix_ns == least.created_unix_ns);
            let place = place.ok_or_else(|| format!("it is not known how far {member} has read it"))?;
            least.sequence = least.sequence.min(place.sequence);
        }
        Ok(least)
    }

    pub(super) fn sessions(&self) -> Vec<Session> {
        let now = self.clock.now_unix_ms();
        let session = |peer: &Peer| Session {
            replica: peer.heartbeat.replica.clone(),
            session: peer.heartbeat.session,
            strategies: peer.heartbeat.strategies,
            silent_ms: now.saturating_sub(peer.heard_unix_ms),
        };
        self.engine.peers().map(session).collect()
    }

    pub(super) fn peers(&self) -> Vec<PeerView> {
        let (vector, strategies) = (self.engine.vector(), self.shared.strategies.fingerprint());
        let now = self.clock.now_unix_ms();
        self.engine.peers().map(|peer| PeerView::new(peer, vector, strategies, now)).collect()
    }
}
