use std::{sync::Arc, time::Duration};

use archipelago_clock::ReplicaId;
use archipelago_engine::Round;
use archipelago_pipeline::Pipeline;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    RepairError, Wanted,
    fetch::Fetch,
    peer::Peer,
    staging::{Slot, Staged, StagingError},
};
use crate::{Notification, metrics, replica::Command, shared::Shared, snapshot::Joiner};

/// How often what is staged is looked at without anyone asking.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);
/// From how many staged pieces on their giver is preferred to another one.
const PREFERRED_PIECES_MIN: u64 = 16;
/// How often it is asked instead of another one with nothing coming from it.
const INSTEAD_MAX: usize = 3;
/// How often a fetch may run into the limit of bytes with nothing added before it begins anew: what this master lacks may
/// have become less.
const FULL_MAX: usize = 32;

/// What is whole and cannot be taken in yet is left alone for this many times as long as it took to read it back.
const REST_FACTOR: u32 = 10;

/// Brings what this master lacks from the state of another one, when the engine asks for it: one repair at a time.
///
/// At most one fetch is staged. If it is from another master than the engine names, it gives way, unless it has
/// [`PREFERRED_PIECES_MIN`] pieces or more: then its giver is asked instead, in the session that it had, until it has
/// failed [`INSTEAD_MAX`] times with nothing added. (In another session it is there when the engine names it.) A later
/// incarnation of the same name replaces the master whose pieces these are, which gives nothing any more.
pub(crate) struct Repairer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    /// Weak, or the owner of the engine would never see the last handle go.
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) wanted: mpsc::Receiver<Wanted>,
    pub(crate) bytes_max: usize,
    /// Where more than a little comes from.
    pub(crate) joiner: Joiner,
}

/// What is remembered from one repair to the next. The rest is in the store.
#[derive(Debug, Default)]
struct Memory {
    /// How often the giver of what is staged was asked instead of the one that the engine named.
    instead: usize,
    /// How often nothing could be added for the limit of bytes.
    full: usize,
    /// What is staged cannot be taken in yet, and is not tried again before.
    rests_until: Option<Instant>,
}

impl Repairer {
    /// Runs until the owner of the engine is gone.
    pub(crate) async fn run(mut self) {
        let mut memory = Memory::default();
        let mut tidying = tokio::time::interval(TIDY_INTERVAL);
        tidying.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wanted = tokio::select! {
                biased;
                // Seldom, so that it keeps nothing waiting.
                _ = tidying.tick() => None,
                wanted = self.wanted.recv() => match wanted {
                    Some(wanted) => Some(wanted),
                    None => return,
                },
            };
            // What is left then comes from the log, or is asked for once a heartbeat shows that it is lacking.
            if let Some(wanted) = &wanted
                && self.joiner.is_for(wanted.lacks)
                && self.joiner.join().await
            {
                while self.wanted.try_recv().is_ok() {}
                continue;
            }
            if memory.rests_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            let Some(wanted) = wanted else {
                if let Err(error) = self.tidy(&mut memory).await {
                    tracing::warn!(%error, "what is staged of a repair stays so for now");
                }
                continue;
            };
            let Some(mut giver) = wanted.from else { continue };
            match self.repair(&mut giver, &mut memory).await {
                // Whatever was wanted meanwhile was wanted before this was taken in.
                Ok(()) => while self.wanted.try_recv().is_ok() {},
                Err(RepairError::Closed) => return,
                Err(error) => {
                    let (from, _) = giver;
                    tracing::warn!(%from, %error, "the repair came to nothing; it is tried again if need be");
                    self.shared.notify(Notification::RepairFailed { from, reason: error.to_string() });
                }
            }
        }
    }

    /// Repairs from this giver, or from the one that is asked instead, which is told.
    async fn repair(&self, giver: &mut (ReplicaId, u64), memory: &mut Memory) -> Result<(), RepairError> {
        let staged = self.choose(giver, memory).await?;
        let (from, session) = (&giver.0, giver.1);
        let peer = Peer { replica: from, session, pipeline: &*self.pipeline, shared: &self.shared };
        let fetch = Fetch { shared: &self.shared, peer, bytes_max: self.bytes_max as u64 };
        let staged = staged.unwrap_or_else(|| fetch.begin());
        let (started, had) = (Instant::now(), staged.bytes());
        tracing::info!(%from, had, "another master has what the log does not bring; repairing from its state");
        let fetched = fetch.run(staged).await;
        self.remember(&fetched, had, memory).await?;
        let entities = self.take(fetched?, memory).await?;
        let elapsed = started.elapsed();
        self.shared.telemetry.repair.record(elapsed);
        tracing::info!(%from, entities, ?elapsed, "repaired");
        Ok(())
    }

    /// What is staged of this giver, or of the one that is asked instead.
    async fn choose(
        &self,
        giver: &mut (ReplicaId, u64),
        memory: &mut Memory,
    ) -> Result<Option<Staged<Round>>, StagingError> {
        let Some(staged) = Staged::get(&self.shared, Slot::Repair).await? else { return Ok(None) };
        let of: Option<ReplicaId> = staged.id().parse().ok();
        match of {
            Some(of) if of == giver.0 => return Ok(Some(staged)),
            Some(of) if is_preferred(&staged, &of, &giver.0) && memory.instead < INSTEAD_MAX => {
                memory.instead += 1;
                *giver = (of, staged.session());
                return Ok(Some(staged));
            }
            _ => {}
        }
        staged.remove().await?;
        memory.instead = 0;
        Ok(None)
    }

    /// Notes what became of a fetch that had `had` bytes staged before.
    async fn remember(
        &self,
        fetched: &Result<Staged<Round>, RepairError>,
        had: u64,
        memory: &mut Memory,
    ) -> Result<(), RepairError> {
        let bytes = metrics::value(&self.shared.counters.repair_bytes_staged);
        if bytes != had {
            *memory = Memory::default();
        } else if let Err(RepairError::Staging(StagingError::TooLarge { .. })) = fetched {
            memory.full += 1;
            if memory.full >= FULL_MAX {
                memory.full = 0;
                if let Some(staged) = Staged::<Round>::get(&self.shared, Slot::Repair).await? {
                    staged.remove().await?;
                }
            }
        }
        Ok(())
    }

    /// Hands over what is whole, and forgets what is of no use: after a crash, and when the log has brought it meanwhile.
    async fn tidy(&self, memory: &mut Memory) -> Result<(), RepairError> {
        self.joiner.tidy().await?;
        let Some(staged) = Staged::<Round>::get(&self.shared, Slot::Repair).await? else { return Ok(()) };
        let is_known = self.shared.vector.borrow().dominates(staged.vector());
        if is_known {
            staged.remove().await?;
        } else if staged.place().is_whole {
            self.take(staged, memory).await?;
        }
        Ok(())
    }

    /// Gives all of it to the owner of the engine, and tells of it. What cannot be taken in now but may be later stays
    /// staged.
    async fn take(&self, staged: Staged<Round>, memory: &mut Memory) -> Result<u64, RepairError> {
        let started = Instant::now();
        let fetched = match staged.fetched().await {
            Err(error) if error.is_damage() => {
                staged.remove().await?;
                return Err(error.into());
            }
            fetched => fetched?,
        };
        let from = fetched.giver.replica.clone();
        let commands = self.commands.upgrade().ok_or(RepairError::Closed)?;
        let (reply, taken) = oneshot::channel();
        commands
            .send(Command::Take { fetched: Box::new(fetched), reply })
            .await
            .map_err(|_| RepairError::Closed)?;
        let entities = match taken.await.map_err(|_| RepairError::Closed)? {
            Ok(entities) => entities,
            Err(error) => {
                match error.may_pass() {
                    true => memory.rests_until = Some(Instant::now() + REST_FACTOR * started.elapsed()),
                    false => staged.remove().await?,
                }
                return Err(error.into());
            }
        };
        staged.remove().await?;
        metrics::add(&self.shared.counters.repairs, 1);
        self.shared.notify(Notification::Repaired { from, entities });
        Ok(entities)
    }
}

/// Whether what is staged is worth more than a fetch from `wanted`, of which nothing is.
fn is_preferred(staged: &Staged<Round>, of: &ReplicaId, wanted: &ReplicaId) -> bool {
    staged.pieces() >= PREFERRED_PIECES_MIN && of.name() != wanted.name()
}
