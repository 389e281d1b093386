use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::ReplicaId;
use archipelago_engine::{Held, bucket_of};
use archipelago_proto::EntityId;
use tokio::sync::oneshot;

use super::{Diff, DiffError};
use crate::{MemberView, MultiMasterManager, PeerView, replica::Command};

/// In what the masters differ, and with whom most agree.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// This master and all that answered, in order.
    pub masters: Vec<ReplicaId>,
    /// The entities that are not the same everywhere, in order of id.
    pub disagreements: Vec<Disagreement>,
    /// The comparison with each of the others that answered.
    pub diffs: Vec<Diff>,
    /// The masters that could not be compared with, and why. They count as masters that agree with nobody.
    pub unreached: Vec<(ReplicaId, DiffError)>,
}

/// An entity that is not the same on all masters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The entity.
    pub entity_id: EntityId,
    /// Its bucket in the digest.
    pub bucket: u8,
    /// What each master holds of it. Masters to which writes of it were on their way are left out.
    pub held: BTreeMap<ReplicaId, Held>,
    /// What more than half of all masters hold, those counted that were not reached; `None` if there is no such thing.
    pub majority: Option<Held>,
    /// Who holds something else: to be repaired from one of those who hold what most do. Empty without a majority.
    pub dissenters: Vec<ReplicaId>,
}

impl MultiMasterManager {
    /// [`diff`](Self::diff) with every master that is heard, and for each entity what most of them hold: who differs from it
    /// is to be [repaired](Self::repair_from) from one who does not. With two masters nobody can say who is right but you.
    ///
    /// Others that belong to the namespace, or wrote in it, and were not heard since this master was started are
    /// [unreached](Survey::unreached); ask again after a heartbeat interval or two.
    ///
    /// # Errors
    /// [`DiffError::Closed`] and [`DiffError::NoPipeline`]. Masters that cannot be compared with are named in the survey.
    pub async fn diff_all(&self) -> Result<Survey, DiffError> {
        if self.running.pipeline.is_none() {
            return Err(DiffError::NoPipeline);
        }
        let peers = self.peers().await.map_err(|_| DiffError::Closed)?;
        let members = self.members().await.map_err(|_| DiffError::Closed)?;
        let (reply, known) = oneshot::channel();
        self.send(Command::Reclaimable { reply }).await.ok_or(DiffError::Closed)?;
        let known = known.await.map_err(|_| DiffError::Closed)?;
        let expected = known.awaited.into_iter().map(|(master_id, _)| master_id);
        let (mut diffs, mut unreached) = (Vec::new(), Vec::new());
        for (name, master_id) in others(&self.master_id(), expected, peers, members) {
            match self.diff(&name).await {
                Ok(diff) => diffs.push(diff),
                Err(DiffError::Closed) => return Err(DiffError::Closed),
                Err(error) => unreached.push((master_id, error)),
            }
        }
        Ok(survey(self.master_id(), diffs, unreached))
    }
}

/// Whom to ask, by name: whoever is heard, unless it was given up, and whoever is expected.
fn others(
    own: &ReplicaId,
    expected: impl Iterator<Item = ReplicaId>,
    peers: Vec<PeerView>,
    members: Vec<MemberView>,
) -> BTreeMap<String, ReplicaId> {
    let is_gone = |peer: &ReplicaId| {
        members.iter().any(|member| member.master_id == *peer && !member.state.is_awaited())
    };
    let heard = peers.into_iter().map(|peer| peer.master_id).filter(|peer| !is_gone(peer));
    let others = expected.chain(heard).filter(|other| other.name() != own.name());
    others.map(|other| (other.name().to_owned(), other)).collect()
}

fn survey(own: ReplicaId, diffs: Vec<Diff>, unreached: Vec<(ReplicaId, DiffError)>) -> Survey {
    let mut masters: Vec<ReplicaId> = diffs.iter().map(|diff| diff.master_id.clone()).collect();
    masters.push(own.clone());
    masters.sort();
    let differing: BTreeSet<&EntityId> =
        diffs.iter().flat_map(|diff| &diff.entities).map(|difference| &difference.entity_id).collect();
    let disagreements =
        differing.into_iter().map(|entity| disagreement(entity, &own, &diffs, unreached.len())).collect();
    Survey { masters, disagreements, diffs, unreached }
}

fn disagreement(entity: &EntityId, own: &ReplicaId, diffs: &[Diff], unreached: usize) -> Disagreement {
    let of = |diff: &Diff| diff.entities.iter().find(|found| found.entity_id == *entity).cloned();
    let here = diffs.iter().find_map(of).map_or(Held::Nothing, |difference| difference.here);
    let mut held = BTreeMap::from([(own.clone(), here)]);
    for diff in diffs.iter().filter(|diff| !diff.in_flight.contains(entity)) {
        // Whoever does not differ from this master holds the same.
        let there = of(diff).map_or(here, |difference| difference.there);
        held.insert(diff.master_id.clone(), there);
    }
    let agreeing = |wanted: Held| held.values().filter(|held| **held == wanted).count();
    let masters = 1 + diffs.len() + unreached;
    let is_most = |wanted: &Held| *wanted != Held::Unreadable && 2 * agreeing(*wanted) > masters;
    let majority = held.values().copied().find(is_most);
    let dissents = |held: Held| majority.is_some_and(|majority| held != majority);
    let dissenters = held.iter().filter(|(_, held)| dissents(**held)).map(|(master, _)| master.clone());
    Disagreement {
        entity_id: entity.clone(),
        bucket: bucket_of(entity),
        dissenters: dissenters.collect(),
        majority,
        held,
    }
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Incarnation, VersionVector};

    use super::*;
    use crate::divergence::Difference;

    fn id(name: &str) -> ReplicaId {
        ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name")
    }

    fn diff(with: &str, entities: &[(Held, Held)], in_flight: bool) -> Diff {
        let difference = |(here, there): &(Held, Held)| Difference {
            entity_id: "x".into(),
            bucket: bucket_of(&"x".into()),
            here: *here,
            there: *there,
        };
        Diff {
            master_id: id(with),
            vector_here: VersionVector::new(),
            vector_there: VersionVector::new(),
            vectors_differ: in_flight,
            buckets: Vec::new(),
            entities: entities.iter().map(difference).collect(),
            in_flight: if in_flight { vec!["x".into()] } else { Vec::new() },
            is_truncated: false,
        }
    }

    fn majority(diffs: Vec<Diff>) -> (Option<Held>, Vec<String>) {
        majority_without(diffs, &[])
    }

    fn majority_without(diffs: Vec<Diff>, unreached: &[&str]) -> (Option<Held>, Vec<String>) {
        let unknown = |name: &&str| (id(name), DiffError::Unknown { name: (*name).to_owned() });
        let survey = survey(id("a"), diffs, unreached.iter().map(unknown).collect());
        let [disagreement] = &survey.disagreements[..] else { panic!("{survey:?}") };
        let names = disagreement.dissenters.iter().map(|master| master.name().to_owned()).collect();
        (disagreement.majority, names)
    }

    const ONE: Held = Held::Value(1);
    const TWO: Held = Held::Value(2);

    #[test]
    fn most_of_all_masters_decide_and_nobody_else() {
        let differs = |with, here, there| diff(with, &[(here, there)], false);
        assert_eq!(majority(vec![differs("b", ONE, TWO)]), (None, vec![]), "one against one");
        let here_is_odd = vec![differs("b", ONE, TWO), differs("c", ONE, TWO)];
        assert_eq!(majority(here_is_odd), (Some(TWO), vec!["a".into()]));
        let there_is_odd = vec![differs("b", ONE, Held::Unreadable), diff("c", &[], false)];
        assert_eq!(majority(there_is_odd), (Some(ONE), vec!["b".into()]));
        let all_differ = vec![differs("b", ONE, TWO), differs("c", ONE, Held::Nothing)];
        assert_eq!(majority(all_differ), (None, vec![]));
        let on_its_way = vec![differs("b", ONE, TWO), diff("c", &[], true)];
        assert_eq!(majority(on_its_way), (None, vec![]), "one of three is not known");
        let damaged = Held::Unreadable;
        let nobody_knows = vec![differs("b", damaged, ONE), differs("c", damaged, damaged)];
        assert_eq!(majority(nobody_knows), (None, vec![]));
        let two_of_three = || vec![differs("b", ONE, TWO), diff("c", &[], false)];
        assert_eq!(majority(two_of_three()), (Some(ONE), vec!["b".into()]));
        assert_eq!(majority_without(two_of_three(), &["d"]), (None, vec![]), "two of four are not most");
    }
}
