//! What changes in a master, for those who follow it from wherever they were: [`Feed`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use archipelago_clock::{Dot, ReplicaId, VersionVector};
use archipelago_proto::EntityId;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    EntityView, MultiMasterManager, ReadError, SessionToken,
    replica::Command,
    shared::{HeldTombstones, Shared},
};

/// How many live writes are looked up at a time.
const PAGE_DOTS: usize = 256;

/// How long a feed waits for a master to get what its reader has seen elsewhere, before it begins anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one pass over what is live keeps removals from being forgotten. A reader that is slower has to begin anew, if any
/// were.
const HOLD: Duration = Duration::from_secs(60);

/// What a [`Feed`] gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FeedChange {
    /// The reader has to forget what it has: what it had seen may have been removed, and the removals forgotten here.
    /// Everything that there is follows.
    Reset,
    /// An entity changed, and is now so. Of changes that come faster than they are read, only the last is given. An entity may
    /// come again unchanged.
    Entity {
        /// The entity; without a value if it was removed.
        entity: Box<EntityView>,
        /// From where to go on, once this is dealt with.
        token: SessionToken,
    },
}

/// The changes of a master since a token, and then those that come: made by [`MultiMasterManager::feed`].
///
/// It keeps no state in the master and needs none: whoever comes back with the token of the last change that it dealt
/// with, to this master or another one, goes on there. It goes by what is live, through the index of live writes, and not
/// through the log, so it also gives what came by repair, import or snapshot, and its cost follows the difference.
#[derive(Debug)]
pub struct Feed {
    master: MultiMasterManager,
    /// What the reader has seen.
    seen: SessionToken,
    round: Option<Round>,
}

/// One pass over all that was live in the vector of one moment and not seen before.
#[derive(Debug)]
struct Round {
    since: VersionVector,
    upper: VersionVector,
    origins: VecDeque<ReplicaId>,
    page: VecDeque<(Dot, EntityId)>,
    /// No removal goes while the round looks for it, up to a time.
    held: Option<HeldTombstones<Arc<Shared>>>,
    held_until: Instant,
    /// Below what removals may have been gone when it began.
    reclaimed: VersionVector,
}

impl MultiMasterManager {
    /// The changes since `token`, and then those that come. From the [default](SessionToken::default) token on, that is
    /// everything there is.
    pub fn feed(&self, token: &SessionToken) -> Feed {
        Feed { master: self.clone(), seen: token.clone(), round: None }
    }
}

impl Feed {
    /// From where to go on, once all that was given is dealt with.
    pub fn token(&self) -> &SessionToken {
        &self.seen
    }

    /// The next change, once there is one. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails or the manager is closed.
    pub async fn next(&mut self) -> Result<FeedChange, ReadError> {
        loop {
            if self.round.is_none() && !self.begin().await? {
                return Ok(self.reset());
            }
            let Some((dot, id)) = self.next_dot()? else {
                if !self.end().await? {
                    return Ok(self.reset());
                }
                continue;
            };
            let entity = self.master.entity(&id).await?;
            // From here on nothing is awaited: whoever gave up before finds the same next time.
            let Some(round) = &mut self.round else { continue };
            round.page.pop_front();
            self.seen.vector_mut().raise(dot.actor.clone(), dot.sequence);
            if let Some(entity) = entity.filter(|entity| !round.comes_again(entity, &dot)) {
                return Ok(FeedChange::Entity { entity: Box::new(entity), token: self.seen.clone() });
            }
        }
    }

    /// Waits until there is something to look for. False if the reader has to forget what it has.
    async fn begin(&mut self) -> Result<bool, ReadError> {
        let shared = self.master.shared_handle();
        let mut vector = shared.vector.subscribe();
        let deadline = Instant::now() + PATIENCE;
        let upper = loop {
            let known = vector.borrow_and_update().clone();
            let covers = known.dominates(self.seen.vector());
            if covers && known != *self.seen.vector() {
                break known;
            }
            tokio::select! {
                biased;
                changed = vector.changed() => changed.map_err(|_| ReadError::Closed)?,
                () = self.master.running.stop.cancelled() => return Err(ReadError::Closed),
                () = tokio::time::sleep_until(deadline), if !covers => return Ok(false),
            }
        };
        let held = HeldTombstones::new(shared);
        // What may be gone from here on does not grow: from now on they are held.
        let reclaimed = self.reclaimed().await?;
        if !self.seen.vector().is_empty() && !self.seen.vector().dominates(&reclaimed) {
            return Ok(false);
        }
        let origins = upper.iter().map(|(origin, _)| origin.clone()).collect();
        self.round = Some(Round {
            since: self.seen.vector().clone(),
            upper,
            origins,
            page: VecDeque::new(),
            held: Some(held),
            held_until: Instant::now() + HOLD,
            reclaimed,
        });
        Ok(true)
    }

    /// Ends the round. False if removals may be gone that it was to find.
    async fn end(&mut self) -> Result<bool, ReadError> {
        let is_held = self.round.as_ref().is_some_and(|round| round.held.is_some());
        let reclaimed = if is_held { None } else { Some(self.reclaimed().await?) };
        let Some(round) = self.round.take() else { return Ok(true) };
        self.seen.vector_mut().merge(&round.upper);
        Ok(reclaimed.is_none_or(|reclaimed| reclaimed == round.reclaimed))
    }

    async fn reclaimed(&self) -> Result<VersionVector, ReadError> {
        let (reply, reclaimed) = oneshot::channel();
        self.master.send(Command::Reclaimed { reply }).await.ok_or(ReadError::Closed)?;
        reclaimed.await.map_err(|_| ReadError::Closed)
    }

    fn reset(&mut self) -> FeedChange {
        (self.seen, self.round) = (SessionToken::default(), None);
        FeedChange::Reset
    }

    /// The next live write that was not seen; `None` if there is none left in the round.
    fn next_dot(&mut self) -> Result<Option<(Dot, EntityId)>, ReadError> {
        let Some(round) = &mut self.round else { return Ok(None) };
        if Instant::now() > round.held_until {
            round.held = None;
        }
        loop {
            if let Some(next) = round.page.front() {
                return Ok(Some(next.clone()));
            }
            let Some(origin) = round.origins.front() else { return Ok(None) };
            let (after, last) = (self.seen.vector().get(origin), round.upper.get(origin));
            let shared = self.master.shared();
            let number = shared.replicas().number(origin);
            let dots = match number {
                Some(number) if after < last => {
                    let stored = shared.stored();
                    let dots = stored.live.dots(stored.store, number, after, PAGE_DOTS);
                    dots.map_err(|error| ReadError::Index { reason: error.to_string() })?
                }
                _ => Vec::new(),
            };
            let found = dots.into_iter().filter(|(sequence, _)| *sequence <= last);
            round.page = found.map(|(sequence, id)| (Dot::new(origin.clone(), sequence), id)).collect();
            if round.page.is_empty() {
                self.seen.vector_mut().raise(origin.clone(), last);
                round.origins.pop_front();
            }
        }
    }
}

impl Round {
    /// Whether the entity has another live write that this round comes to later.
    fn comes_again(&self, entity: &EntityView, dot: &Dot) -> bool {
        let mut live = entity.versions.iter().map(|version| &version.dot);
        live.any(|other| other > dot && self.upper.contains(other) && !self.since.contains(other))
    }
}
