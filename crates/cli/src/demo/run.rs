use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use archipelago::Value;
use futures::{TryStreamExt, stream};
use tokio::sync::watch;

use super::{
    DemoError, MASTERS,
    island::{CallError, Island, unexpected},
    ledger::{Ledger, Purpose},
    plan::{Edit, Plan, Stage},
    progress::{Phase, Progress},
    proof::Proof,
    protocol::{Answer, Conflict, Request, fingerprint},
    records::Record,
    report::CONFLICTS_SHOWN,
    watch::Watcher,
};

/// How many writes are under way at each master: they share its syncs.
const WRITERS: usize = 64;

/// How long a writer waits after a refusal that passes.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Which master is cut off, and which one is killed if it is a process.
const CUT_OFF: usize = 2;
const KILLED: usize = 1;

/// The phases of the demo, on masters that run.
pub(crate) struct Run<'a> {
    pub(crate) islands: &'a [Island],
    pub(crate) watcher: &'a Watcher,
    pub(crate) progress: &'a Progress,
    pub(crate) records: &'a [Record],
    pub(crate) plan: &'a Plan,
    pub(crate) strategy: archipelago::Strategy,
    /// Whether one master is killed.
    pub(crate) kill: bool,
    pub(crate) ledger: &'a Mutex<Ledger>,
}

/// What a run that came to its end has to show.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) proof: Proof,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) kills: u64,
}

impl Run<'_> {
    pub(crate) async fn run(&self) -> Result<Shown, DemoError> {
        self.load().await?;
        self.converge("settle").await?;
        self.edit("linked", Stage::Linked).await?;
        let kills = self.edit_while_cut().await?;
        self.heal().await?;
        self.edit("healed", Stage::Healed).await?;
        self.converge("converge").await?;
        let proof = self.prove().await?;
        let conflicts = self.conflicts().await?;
        Ok(Shown { proof, conflicts, kills })
    }

    /// A third of the records at each master.
    async fn load(&self) -> Result<(), DemoError> {
        let phase = self.progress.phase("load", "records", self.records.len() as u64);
        let loads = (0..self.islands.len()).map(|master| {
            let mine = (0..self.records.len()).filter(move |record| record % MASTERS.len() == master);
            let writes = mine.map(|record| Write { record, change: Change::Load });
            self.write_all(master, writes, &phase, None)
        });
        futures::future::try_join_all(loads).await?;
        phase.finish();
        Ok(())
    }

    /// All masters make their edits of one stage.
    async fn edit(&self, name: &'static str, stage: Stage) -> Result<(), DemoError> {
        let phase = self.progress.phase(name, "edits", self.plan.count(stage));
        let edits = (0..self.islands.len())
            .map(|master| self.write_all(master, self.edits(master, stage), &phase, None));
        futures::future::try_join_all(edits).await?;
        phase.finish();
        Ok(())
    }

    /// As [`edit`](Self::edit), with one master cut off and, if they are processes, another one killed in the middle.
    /// Gives how many were killed.
    async fn edit_while_cut(&self) -> Result<u64, DemoError> {
        self.islands[CUT_OFF].ask(Request::Cut).await?;
        let phase = self.progress.phase("cut", "edits", self.plan.count(Stage::Cut));
        phase.say(format!("cut: {} is cut off from the others, and all go on writing", MASTERS[CUT_OFF]));
        let acknowledged = watch::Sender::new(0);
        let edits = (0..self.islands.len()).map(|master| {
            let counter = (master == KILLED).then_some(&acknowledged);
            self.write_all(master, self.edits(master, Stage::Cut), &phase, counter)
        });
        let edits = futures::future::try_join_all(edits);
        let (_, killed) = futures::try_join!(edits, self.kill(&phase, acknowledged.subscribe()))?;
        phase.finish();
        Ok(u64::from(killed))
    }

    /// Kills one process in the middle of its writing and starts it again on its store.
    async fn kill(&self, phase: &Phase, mut acknowledged: watch::Receiver<usize>) -> Result<bool, DemoError> {
        if !self.kill {
            return Ok(false);
        }
        let half = self.plan.edits(KILLED, Stage::Cut).len() / 2;
        let reached = acknowledged.wait_for(|count| *count >= half).await.is_ok();
        let island = &self.islands[KILLED];
        if !reached || !island.kill().await {
            return Ok(false);
        }
        phase.say(format!("cut: {} was killed (SIGKILL) after {half} of its edits", island.name));
        island.restart().await?;
        phase.say(format!("cut: {} runs again on its store", island.name));
        Ok(true)
    }

    async fn heal(&self) -> Result<(), DemoError> {
        self.islands[CUT_OFF].ask(Request::Heal).await?;
        self.progress.say(format!("heal: {} is linked again", MASTERS[CUT_OFF]));
        Ok(())
    }

    /// Waits until all masters have all writes.
    async fn converge(&self, name: &'static str) -> Result<(), DemoError> {
        let expected = self.ledger().vector();
        let all: u64 = expected.iter().map(|(_, last)| last).sum();
        let phase = self.progress.phase(name, "events at each master", all);
        let converged = self.watcher.converged(&expected, |missing, seen| {
            let most = missing.iter().copied().max().unwrap_or(0);
            let lags = MASTERS.iter().zip(missing).map(|(name, events)| format!("{name} {events}"));
            let away = seen.iter().find_map(|seen| seen.status.as_ref()?.down.clone());
            let away = away.map(|reason| format!("; the pipeline is away: {reason}")).unwrap_or_default();
            let message = format!("missing at {}{away}", lags.collect::<Vec<_>>().join(", "));
            phase.reach(all.saturating_sub(most), &message);
        });
        converged.await?;
        phase.finish();
        Ok(())
    }

    async fn prove(&self) -> Result<Proof, DemoError> {
        let phase = self.progress.phase("proof", "acknowledged writes", self.ledger().all().len() as u64);
        // Nobody writes any more: the ledger is taken out, so that no lock is held meanwhile.
        let ledger = std::mem::take(&mut *self.ledger());
        let proof = Proof::gather(self.islands, self.records, &ledger, self.strategy).await;
        phase.reach(ledger.all().len() as u64, "");
        *self.ledger() = ledger;
        phase.finish();
        proof
    }

    /// A few conflicts, over different records where there are such.
    async fn conflicts(&self) -> Result<Vec<Conflict>, DemoError> {
        let mut shown: Vec<Conflict> = Vec::new();
        for island in self.islands {
            let conflicts = match island.ask(Request::Conflicts { count: 100 }).await? {
                Answer::Conflicts(conflicts) => conflicts,
                other => return Err(unexpected(&other).of(island.name)),
            };
            for conflict in conflicts {
                if shown.len() < CONFLICTS_SHOWN && shown.iter().all(|other| other.entity != conflict.entity)
                {
                    shown.push(conflict);
                }
            }
        }
        Ok(shown)
    }

    fn edits(&self, master: usize, stage: Stage) -> impl Iterator<Item = Write<'_>> {
        let edits = self.plan.edits(master, stage).iter();
        edits.map(|edit| Write { record: edit.record, change: Change::Edit(edit) })
    }

    /// Makes all writes at one master, many at once. `counter` is told how many were acknowledged.
    async fn write_all<'w>(
        &self,
        master: usize,
        writes: impl Iterator<Item = Write<'w>>,
        phase: &Phase,
        counter: Option<&watch::Sender<usize>>,
    ) -> Result<(), DemoError> {
        let writes = stream::iter(writes.map(Ok));
        let all = writes.try_for_each_concurrent(WRITERS, |write| async move {
            self.write(master, write).await?;
            phase.step();
            if let Some(counter) = counter {
                counter.send_modify(|count| *count += 1);
            }
            Ok(())
        });
        all.await
    }

    /// Makes one write, again if nobody knows whether it was made, and notes its acknowledgement.
    async fn write(&self, master: usize, write: Write<'_>) -> Result<(), DemoError> {
        let island = &self.islands[master];
        let Record { id, value } = &self.records[write.record];
        for attempt in 0.. {
            let (purpose, fields, request) = match &write.change {
                Change::Load => {
                    let fields = value.as_map().cloned().unwrap_or_default();
                    (Purpose::Load, fields, Request::Put { entity: id.clone(), value: value.clone() })
                }
                Change::Edit(edit) => {
                    let fields = edit.fields(attempt);
                    (Purpose::Edit, fields.clone(), Request::Patch { entity: id.clone(), fields })
                }
            };
            match island.write(request).await {
                Ok(written) => {
                    let fields = fields.iter().map(|(name, value)| (name.clone(), fingerprint(value)));
                    let mut ledger = self.ledger();
                    ledger.acknowledge(master, purpose, write.record, fields.collect(), written);
                    return Ok(());
                }
                Err(CallError::Killed) => self.ledger().counts[master].unacknowledged += 1,
                Err(CallError::Refused { retryable: true, .. }) => tokio::time::sleep(RETRY_INTERVAL).await,
                Err(error) => return Err(error.of(island.name)),
            }
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One write to make.
#[derive(Debug)]
struct Write<'a> {
    record: usize,
    change: Change<'a>,
}

#[derive(Debug)]
enum Change<'a> {
    Load,
    Edit(&'a Edit),
}

impl Edit {
    /// What to write; another attempt writes another value, so that it changes something in any case.
    fn fields(&self, attempt: u32) -> BTreeMap<String, Value> {
        let value = match attempt {
            0 => self.value.clone(),
            again => format!("{}, attempt {}", self.value, again + 1),
        };
        BTreeMap::from([(self.field.clone(), Value::from(value))])
    }
}
