use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{Comparison, Held, bucket_of};
use archipelago_proto::{EntityId, StateAbout, StateAnswer, StateTold};
use tokio::time::Instant;

use super::{DiffError, side::Sides};
use crate::MultiMasterManager;

/// How many entities one [`Diff`] looks at closely.
pub const DIFF_ENTITIES_MAX: usize = 10_000;
/// How long a comparison, or a mending, may take in all.
const TIMEOUT: Duration = Duration::from_secs(300);
/// For how long writes on their way are waited for.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait before looking again at what is on its way.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
/// How many entities are looked at closely at a time.
const CLOSE_ENTITIES: usize = 64;

/// In what two masters differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diff {
    /// The other master.
    pub master_id: ReplicaId,
    /// What this master had applied in the end.
    pub vector_here: VersionVector,
    /// What the other one had applied in the end.
    pub vector_there: VersionVector,
    /// Writes were on their way between the two in the end. What is in `entities` is a difference all the same.
    pub vectors_differ: bool,
    /// The buckets of the digest in which the differences are, in order.
    pub buckets: Vec<u8>,
    /// The entities in which they differ, in order of id.
    pub entities: Vec<Difference>,
    /// Entities of which nothing can be said: one side has a write that the other had not applied within 3 s.
    pub in_flight: Vec<EntityId>,
    /// More than [`DIFF_ENTITIES_MAX`] entities seemed to differ; the others were not looked at. Mend these, and look again.
    pub is_truncated: bool,
}

/// An entity in which two masters differ although each has applied every write that the other holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The entity.
    pub entity_id: EntityId,
    /// Its bucket in the digest.
    pub bucket: u8,
    /// What this master has stored.
    pub here: Held,
    /// What the other one has.
    pub there: Held,
}

impl Diff {
    /// True if nothing differs, and nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.in_flight.is_empty()
    }
}

impl MultiMasterManager {
    /// In what this master and the other one of this name differ: what is stored on both sides is read again and compared,
    /// bucket by bucket and then entity by entity. Nothing changes, except that damage which the reading finds is told as by
    /// [`scrub`](Self::scrub), on both sides.
    ///
    /// Writes may go on. An entity counts as different once each side has applied every write that the other holds of it;
    /// those that change too quickly for that are in [`in_flight`](Diff::in_flight). Removals that are kept only until
    /// everyone knows of them are not compared.
    ///
    /// # Errors
    /// [`DiffError`].
    pub async fn diff(&self, master: &str) -> Result<Diff, DiffError> {
        within_time(compare(&Sides::find(self, master).await?)).await
    }
}

pub(super) async fn within_time<T>(work: impl Future<Output = Result<T, DiffError>>) -> Result<T, DiffError> {
    let outcome = tokio::time::timeout(TIMEOUT, work).await;
    outcome.map_err(|_| DiffError::Timeout { timeout: TIMEOUT })?
}

pub(super) async fn compare(sides: &Sides<'_>) -> Result<Diff, DiffError> {
    let [(ours, unreadable_here), (theirs, unreadable_there)] = sides.buckets().await?;
    if ours.len() != theirs.len() {
        return Err(DiffError::Stranger);
    }
    let differing = (0..=u8::MAX).zip(ours.iter().zip(&theirs)).filter(|(_, (ours, theirs))| ours != theirs);
    let mut buckets: BTreeSet<u8> = differing.map(|(bucket, _)| bucket).collect();
    buckets.extend(unreadable_here.into_iter().chain(unreadable_there));
    let (suspects, is_truncated) = suspects(sides, buckets.into_iter().collect()).await?;
    let mut diff = look_closely(sides, suspects).await?;
    diff.is_truncated = is_truncated;
    Ok(diff)
}

/// The entities whose digests differ, be it because of writes on their way; and whether there are more.
async fn suspects(sides: &Sides<'_>, buckets: Vec<u8>) -> Result<(Vec<EntityId>, bool), DiffError> {
    let mut suspects = Vec::new();
    let mut after = None;
    while !buckets.is_empty() {
        let about = StateAbout::Digests { buckets: buckets.clone(), after: after.clone() };
        let StateTold::Digests { entities, next } = sides.there(about).await?.told else {
            return Err(DiffError::Stranger);
        };
        let mut theirs: BTreeMap<EntityId, Option<u128>> = entities.into_iter().collect();
        let mut suspect = BTreeSet::new();
        for (entity, digest) in digests_here(sides, &buckets, after.as_ref(), next.as_ref()).await? {
            let held = theirs.remove(&entity);
            if held != Some(digest) || digest.is_none() {
                suspect.insert(entity);
            }
        }
        suspect.extend(theirs.into_keys());
        suspects.extend(suspect);
        if suspects.len() > DIFF_ENTITIES_MAX {
            suspects.truncate(DIFF_ENTITIES_MAX);
            return Ok((suspects, true));
        }
        match next {
            // Whoever does not get on would be asked for ever.
            Some(next) if after.as_ref().is_some_and(|after| next <= *after) => {
                return Err(DiffError::Stranger);
            }
            None => break,
            next => after = next,
        }
    }
    Ok((suspects, false))
}

/// The digests of the entities here that are behind `after`, up to `last`.
async fn digests_here(
    sides: &Sides<'_>,
    buckets: &[u8],
    after: Option<&EntityId>,
    last: Option<&EntityId>,
) -> Result<Vec<(EntityId, Option<u128>)>, DiffError> {
    let mut digests = Vec::new();
    let mut after = after.cloned();
    loop {
        let about = StateAbout::Digests { buckets: buckets.to_vec(), after };
        let StateTold::Digests { entities, next } = sides.here(about).await?.told else {
            return Err(DiffError::Stranger);
        };
        let is_within = |entity: &EntityId| last.is_none_or(|last| entity <= last);
        digests.extend(entities.into_iter().filter(|(entity, _)| is_within(entity)));
        match next {
            Some(next) if is_within(&next) => after = Some(next),
            _ => return Ok(digests),
        }
    }
}

/// Compares the suspects until nothing of them is on its way any more, or that takes too long.
async fn look_closely(sides: &Sides<'_>, suspects: Vec<EntityId>) -> Result<Diff, DiffError> {
    let mut diff = Diff {
        master_id: sides.there.clone(),
        vector_here: VersionVector::new(),
        vector_there: VersionVector::new(),
        vectors_differ: false,
        buckets: Vec::new(),
        entities: Vec::new(),
        in_flight: Vec::new(),
        is_truncated: false,
    };
    for (entity_id, comparison) in settle::<Comparison>(sides, suspects).await? {
        match comparison {
            Comparison::Same => {}
            Comparison::InFlight => diff.in_flight.push(entity_id),
            Comparison::Differs { here, there } => {
                let bucket = bucket_of(&entity_id);
                diff.entities.push(Difference { entity_id, bucket, here, there });
            }
        }
    }
    diff.in_flight.sort();
    diff.entities.sort_by(|one, other| one.entity_id.cmp(&other.entity_id));
    let buckets: BTreeSet<u8> = diff.entities.iter().map(|difference| difference.bucket).collect();
    diff.buckets = buckets.into_iter().collect();
    let nothing = || StateAbout::Records { entities: Vec::new() };
    diff.vector_here = sides.here(nothing()).await?.vector;
    diff.vector_there = sides.there(nothing()).await?.vector;
    diff.vectors_differ = diff.vector_here != diff.vector_there;
    Ok(diff)
}

/// An outcome that may be another one when the writes on their way have arrived.
pub(super) trait Outcome: Sized + Send {
    /// That of each entity of which the other master told what it holds.
    fn of_each(
        sides: &Sides<'_>,
        theirs: StateAnswer,
    ) -> impl Future<Output = Result<Vec<(EntityId, Self)>, DiffError>> + Send;

    fn is_in_flight(&self) -> bool;
}

impl Outcome for Comparison {
    async fn of_each(
        sides: &Sides<'_>,
        theirs: StateAnswer,
    ) -> Result<Vec<(EntityId, Comparison)>, DiffError> {
        sides.compare(theirs).await
    }

    fn is_in_flight(&self) -> bool {
        *self == Comparison::InFlight
    }
}

/// The outcome of each of the entities, some at a time, and again of those that are on their way.
pub(super) async fn settle<T: Outcome>(
    sides: &Sides<'_>,
    entities: Vec<EntityId>,
) -> Result<Vec<(EntityId, T)>, DiffError> {
    let mut settled = Vec::with_capacity(entities.len());
    let mut left = entities;
    let mut deadline = None;
    loop {
        let mut in_flight = Vec::new();
        let mut rest = &left[..];
        while !rest.is_empty() {
            let theirs = sides.held_there(&rest[..rest.len().min(CLOSE_ENTITIES)]).await?;
            let done = T::of_each(sides, theirs).await?;
            if done.is_empty() || done.len() > rest.len() {
                return Err(DiffError::Stranger);
            }
            rest = &rest[done.len()..];
            for (entity, outcome) in done {
                if outcome.is_in_flight() { &mut in_flight } else { &mut settled }.push((entity, outcome));
            }
        }
        let until = *deadline.get_or_insert_with(|| Instant::now() + SETTLE_TIMEOUT);
        if in_flight.is_empty() || Instant::now() >= until {
            settled.extend(in_flight);
            return Ok(settled);
        }
        left = in_flight.into_iter().map(|(entity, _)| entity).collect();
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}
