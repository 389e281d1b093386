use archipelago_clock::ReplicaId;
use archipelago_engine::{Mend, Unmended};
use archipelago_proto::{EntityId, StateAnswer};

use super::{
    DiffError,
    diff::{Outcome, compare, settle, within_time},
    side::Sides,
};
use crate::{MultiMasterManager, Notification};

/// What a repair from another master did, each list in order of id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mended {
    /// The other master.
    pub from: ReplicaId,
    /// What this master held too much of was removed there, and is removed here as well now.
    pub joined: Vec<EntityId>,
    /// What the other master holds took the place of what was stored here.
    pub replaced: Vec<EntityId>,
    /// What was left as it is, and why.
    pub left: Vec<(EntityId, Unmended)>,
    /// More than [`DIFF_ENTITIES_MAX`](crate::DIFF_ENTITIES_MAX) entities seemed to differ; repair again for the others.
    pub is_truncated: bool,
}

impl Outcome for Mend {
    async fn of_each(sides: &Sides<'_>, theirs: StateAnswer) -> Result<Vec<(EntityId, Mend)>, DiffError> {
        sides.mend(theirs).await
    }

    fn is_in_flight(&self) -> bool {
        *self == Mend::Left(Unmended::InFlight)
    }
}

impl MultiMasterManager {
    /// Takes over what the other master of this name holds of the entities in which the two [differ](Self::diff), also where
    /// what is stored here cannot be understood any more. Only this master changes, and no event is made: whoever has two
    /// masters with the same state, and one with another, calls this on the one, and names one of the two.
    ///
    /// Nothing that only this master has is lost: an entity in which it has a write that the other has not applied is left
    /// as it is, and so is one that was damaged there, or that was removed here and not there. See
    /// [`Unmended`](archipelago_engine::Unmended). A [`Mended`](Notification::Mended) tells of it. The alarm ends on both
    /// sides with the next heartbeat at equal vectors.
    ///
    /// # Errors
    /// [`DiffError`]; what was mended before stays so.
    pub async fn repair_from(&self, master: &str) -> Result<Mended, DiffError> {
        let sides = Sides::find(self, master).await?;
        within_time(mend(&sides)).await
    }
}

async fn mend(sides: &Sides<'_>) -> Result<Mended, DiffError> {
    let diff = compare(sides).await?;
    let mut mended = Mended {
        from: sides.there.clone(),
        joined: Vec::new(),
        replaced: Vec::new(),
        left: diff.in_flight.into_iter().map(|entity| (entity, Unmended::InFlight)).collect(),
        is_truncated: diff.is_truncated,
    };
    let differing = diff.entities.into_iter().map(|difference| difference.entity_id).collect();
    for (entity, mend) in settle::<Mend>(sides, differing).await? {
        match mend {
            Mend::Same => {}
            Mend::Joined => mended.joined.push(entity),
            Mend::Left(why) => mended.left.push((entity, why)),
            // There is nothing else so far that could have been done.
            _ => mended.replaced.push(entity),
        }
    }
    mended.joined.sort();
    mended.replaced.sort();
    mended.left.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (joined, replaced, left) = (mended.joined.len(), mended.replaced.len(), mended.left.len());
    tracing::warn!(from = %mended.from, joined, replaced, left, "mended from another master");
    sides.master.shared().notify(Notification::Mended {
        from: mended.from.clone(),
        joined: joined as u64,
        replaced: replaced as u64,
        left: left as u64,
    });
    Ok(mended)
}
