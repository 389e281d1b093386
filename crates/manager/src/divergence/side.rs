use std::{sync::Arc, time::Duration};

use archipelago_clock::{Dot, ReplicaId};
use archipelago_engine::{Comparison, Mend};
use archipelago_pipeline::Pipeline;
use archipelago_proto::{EntityId, HeldContent, Holding, StateAbout, StateAnswer, StateQuestion, StateTold};
use tokio::sync::oneshot;

use super::DiffError;
use crate::{
    MultiMasterManager,
    repair::{PIECE_BYTES_MAX, address},
    replica::{Command, Examine},
};

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question without an answer is asked again.
const ATTEMPTS_MAX: usize = 3;
/// How long to wait before asking again whether a reading is done.
const POLL: Duration = Duration::from_millis(20);

/// This master and another one, as they are compared.
pub(super) struct Sides<'a> {
    pub(super) master: &'a MultiMasterManager,
    pub(super) there: ReplicaId,
    session: u64,
    pipeline: Arc<dyn Pipeline>,
}

impl<'a> Sides<'a> {
    /// The other one is the last that was heard of this name.
    pub(super) async fn find(master: &'a MultiMasterManager, name: &str) -> Result<Self, DiffError> {
        let pipeline = master.running.pipeline.clone().ok_or(DiffError::NoPipeline)?;
        let (reply, peers) = oneshot::channel();
        master.send(Command::Sessions { reply }).await.ok_or(DiffError::Closed)?;
        let peers = peers.await.map_err(|_| DiffError::Closed)?;
        let of_name = peers.into_iter().filter(|peer| peer.replica.name() == name);
        let peer = of_name.min_by_key(|peer| peer.silent_ms);
        let peer = peer.ok_or_else(|| DiffError::Unknown { name: name.to_owned() })?;
        if peer.strategies != master.shared().strategies.fingerprint() {
            return Err(DiffError::StrategyMismatch { name: name.to_owned() });
        }
        Ok(Sides { master, there: peer.replica, session: peer.session, pipeline })
    }

    /// What this master tells of itself.
    pub(super) async fn here(&self, about: StateAbout) -> Result<StateAnswer, DiffError> {
        self.examine(|reply| Examine::Tell { about, reply }).await
    }

    /// What the other one tells.
    pub(super) async fn there(&self, about: StateAbout) -> Result<StateAnswer, DiffError> {
        let shared = self.master.shared();
        let question =
            StateQuestion { namespace: shared.namespace.clone(), replica: shared.replica(), about };
        let (address, question) = (address(self.session), question.encode());
        let mut attempts = 1;
        let message = loop {
            match self.pipeline.ask(&address, question.clone(), ANSWER_TIMEOUT).await {
                Err(error) if error.is_retryable() && attempts < ATTEMPTS_MAX => attempts += 1,
                answer => break answer?,
            }
        };
        let answer = StateAnswer::decode(message, &shared.limits, PIECE_BYTES_MAX)?;
        let is_of_peer = answer.replica.name() == self.there.name() && answer.session == self.session;
        if !is_of_peer || answer.namespace != shared.namespace {
            return Err(DiffError::Stranger);
        }
        Ok(answer)
    }

    /// The buckets of both, each after a reading of all that is stored there, and those with something unreadable.
    pub(super) async fn buckets(&self) -> Result<[(Vec<u128>, Vec<u8>); 2], DiffError> {
        let (mut here, mut there) = (None, None);
        // Both read at the same time, and are asked at about the same time in the end.
        loop {
            let told_here = self.here(StateAbout::Buckets { pass: here }).await?.told;
            let told_there = self.there(StateAbout::Buckets { pass: there }).await?.told;
            match (told_here, told_there) {
                (
                    StateTold::Buckets { buckets: ours, unreadable },
                    StateTold::Buckets { buckets: theirs, unreadable: unreadable_there },
                ) => return Ok([(ours, unreadable), (theirs, unreadable_there)]),
                (told_here, told_there) => {
                    for (pass, told) in [(&mut here, told_here), (&mut there, told_there)] {
                        if let StateTold::Scrubbing { pass: wanted } = told {
                            *pass = Some(wanted);
                        }
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the other one holds of the first of these entities, as many as fit into an answer.
    pub(super) async fn held_there(&self, entities: &[EntityId]) -> Result<StateAnswer, DiffError> {
        let asked = entities.iter().map(|entity| (entity.clone(), Vec::new())).collect();
        let ours = self.here(StateAbout::Records { entities: asked }).await?;
        let StateTold::Records { entities: ours } = ours.told else { return Err(DiffError::Stranger) };
        let asked: Vec<_> = ours.into_iter().map(|(entity, holding)| (entity, dots(&holding))).collect();
        let order: Vec<EntityId> = asked.iter().map(|(entity, _)| entity.clone()).collect();
        let answer = self.there(StateAbout::Records { entities: asked }).await?;
        match &answer.told {
            StateTold::Records { entities }
                if !entities.is_empty()
                    && entities.len() <= order.len()
                    && entities.iter().zip(&order).all(|((told, _), asked)| told == asked) =>
            {
                Ok(answer)
            }
            _ => Err(DiffError::Stranger),
        }
    }

    pub(super) async fn compare(
        &self,
        theirs: StateAnswer,
    ) -> Result<Vec<(EntityId, Comparison)>, DiffError> {
        self.examine(|reply| Examine::Compare { theirs: Box::new(theirs), reply }).await
    }

    pub(super) async fn mend(&self, theirs: StateAnswer) -> Result<Vec<(EntityId, Mend)>, DiffError> {
        self.examine(|reply| Examine::Mend { theirs: Box::new(theirs), reply }).await
    }

    async fn examine<R>(&self, examine: impl FnOnce(oneshot::Sender<R>) -> Examine) -> Result<R, DiffError> {
        let (reply, outcome) = oneshot::channel();
        self.master.send(Command::Examine(examine(reply))).await.ok_or(DiffError::Closed)?;
        outcome.await.map_err(|_| DiffError::Closed)
    }
}

/// The writes that are live in what is held, if their names can be.
fn dots(holding: &Holding) -> Vec<Dot> {
    let HeldContent::Record(record) = &holding.content else { return Vec::new() };
    let dots = record.versions.iter().map(|version| version.dot.clone());
    dots.filter(|dot| dot.sequence > 0).collect()
}
