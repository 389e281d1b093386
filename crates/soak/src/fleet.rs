//! The masters of a run, their broker, and what is remembered of both.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::clock::VersionVector;
use archipelago_testkit::history::{SessionScope, check_session};
use futures::future::{join_all, try_join_all};
use rand::{RngExt, rngs::StdRng};
use tokio::{sync::OwnedRwLockWriteGuard, task::AbortHandle};

use crate::{
    actions,
    broker::{Broker, Servers},
    failure::{Failure, Outcome},
    fault::Kind as _,
    island::Island,
    ledger::{Epoch, Findings, Ledger},
    load::{self, Load},
    options::{Fault, Options},
    progress::Progress,
    protocol::{Actor, MasterOptions, Request, Status},
    report::Report,
    scene::{Node as _, Scene, Since, WRITES_BEFORE_FAULT},
    stage::millis,
};

/// How often a state that cannot be awaited is looked at.
const POLL: Duration = Duration::from_millis(20);

/// While it lives, writers of one or all masters wait.
#[derive(Debug)]
pub(crate) struct Held {
    _gates: Vec<OwnedRwLockWriteGuard<()>>,
}

/// A master with its writers.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) island: Arc<Island>,
    keeps_to_itself: Arc<AtomicBool>,
    writers: Vec<AbortHandle>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.writers.iter().for_each(AbortHandle::abort);
    }
}

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) options: Options,
    pub(crate) seed: u64,
    pub(crate) random: StdRng,
    pub(crate) members: Vec<Member>,
    pub(crate) broker: Broker,
    pub(crate) namespace: String,
    pub(crate) load: Arc<Load>,
    pub(crate) report: Arc<Mutex<Report>>,
    pub(crate) progress: Arc<Progress>,
    home: PathBuf,
    writers_made: u64,
    folders_made: u64,
}

impl Fleet {
    /// Starts the server, the masters and the load.
    pub(crate) async fn start(
        options: Options,
        seed: u64,
        random: StdRng,
        home: PathBuf,
        report: Arc<Mutex<Report>>,
        progress: Arc<Progress>,
        load: Arc<Load>,
    ) -> Outcome<Fleet> {
        let broker = Broker::start(Servers::clustered(options.cluster)).await?;
        let mut fleet = Fleet {
            options,
            seed,
            random,
            members: Vec::new(),
            broker,
            namespace: "soak".to_owned(),
            load,
            report,
            progress,
            home,
            writers_made: 0,
            folders_made: 0,
        };
        for number in 1..=fleet.options.masters {
            let name = format!("m{number}");
            let folder = fleet.new_folder(&name);
            fleet.add(name.clone(), name, folder).await?;
        }
        Ok(fleet)
    }

    /// A folder that no master has had.
    pub(crate) fn new_folder(&mut self, name: &str) -> PathBuf {
        self.folders_made += 1;
        self.home.join(format!("{name}-{}", self.folders_made))
    }

    /// Starts a master and its writers.
    pub(crate) async fn add(&mut self, label: String, name: String, folder: PathBuf) -> Outcome<Arc<Island>> {
        let way = self.broker.way().await?;
        let options = MasterOptions {
            name,
            namespace: self.namespace.clone(),
            folder,
            servers: way.urls(),
            replicas: self.broker.replicas(),
            heartbeat_ms: self.options.heartbeat_ms,
        };
        let island = Arc::new(Island::start(label, options, way).await?);
        let keeps_to_itself = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for _ in 0..self.options.writers {
            self.writers_made += 1;
            let (load, number) = (self.load.clone(), self.writers_made);
            writers.push(load::spawn(load, island.clone(), keeps_to_itself.clone(), self.seed, number));
        }
        self.members.push(Member { island: island.clone(), keeps_to_itself, writers });
        self.load.reads_from(self.islands());
        Ok(island)
    }

    /// Parts with a master, which is not asked any more.
    pub(crate) fn dismiss(&mut self, at: usize) -> Member {
        let gone = self.members.swap_remove(at);
        self.load.reads_from(self.islands());
        gone
    }

    pub(crate) fn islands(&self) -> Vec<Arc<Island>> {
        self.members.iter().map(|member| member.island.clone()).collect()
    }

    /// One of them, by chance.
    pub(crate) fn pick(&mut self) -> usize {
        self.random.random_range(0..self.members.len())
    }

    /// One of the others.
    pub(crate) fn pick_other(&mut self, than: usize) -> usize {
        (than + self.random.random_range(1..self.members.len())) % self.members.len()
    }

    pub(crate) fn heartbeats(&self, count: u32) -> Duration {
        Duration::from_millis(self.options.heartbeat_ms) * count
    }

    /// How long masters may take to agree.
    pub(crate) fn settle_deadline(&self) -> Duration {
        Duration::from_secs(self.options.settle_s)
    }

    /// How many masters were killed so far.
    pub(crate) fn kills(&self) -> u64 {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).kills
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets the load go on for a moment that chance decides.
    pub(crate) async fn work(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.random.random_range(ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Waits until the load has come to [`WRITES_BEFORE_FAULT`] acknowledged writes.
    async fn loaded(&self) -> Outcome {
        let acknowledged = || self.load.ledger(|ledger| ledger.counts.acknowledged);
        let wanted = acknowledged() + WRITES_BEFORE_FAULT;
        let what = "writes are acknowledged before a fault";
        self.until(what, self.settle_deadline(), async || Ok(acknowledged() >= wanted)).await
    }

    /// Holds off the load of one master; all that was under way is answered.
    pub(crate) async fn hold(&self, at: usize) -> Held {
        Held { _gates: vec![self.members[at].island.gate.clone().write_owned().await] }
    }

    pub(crate) async fn hold_all(&self) -> Held {
        let gates = self.members.iter().map(|member| member.island.gate.clone().write_owned());
        Held { _gates: join_all(gates).await }
    }

    /// Whether the writers of a master leave alone what others write to as well, but for CRDTs.
    pub(crate) fn keep_to_itself(&self, at: usize, keeps: bool) {
        self.members[at].keeps_to_itself.store(keeps, Ordering::Relaxed);
    }

    /// Waits until `wanted` holds.
    pub(crate) async fn until<F>(&self, what: &str, within: Duration, wanted: impl FnMut() -> F) -> Outcome
    where
        F: Future<Output = Outcome<bool>>,
    {
        self.until_among(&self.islands(), what, within, wanted).await
    }

    /// The same while only these masters can be asked how they are.
    pub(crate) async fn until_among<F>(
        &self,
        islands: &[Arc<Island>],
        what: &str,
        within: Duration,
        mut wanted: impl FnMut() -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome<bool>>,
    {
        let deadline = Instant::now() + within;
        while !wanted().await? {
            if let Some(trouble) = self.load.trouble() {
                return Err(Failure::Broken(trouble));
            }
            if Instant::now() >= deadline {
                let state = describe(islands).await;
                return Err(Failure::Late { what: what.to_owned(), within_s: within.as_secs(), state });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until these masters have the same vector and nothing to send. Call it while they take no writes.
    pub(crate) async fn agree(&self, islands: &[Arc<Island>], within: Duration) -> Outcome {
        self.until_among(islands, "all masters have the same vector", within, async || {
            let statuses = statuses(islands).await?;
            for (island, status) in islands.iter().zip(&statuses) {
                if let Some(reason) = &status.told.store_failed {
                    return Err(Failure::Broken(format!("{}: {reason}", island.label)));
                }
            }
            let equal = statuses.windows(2).all(|pair| pair[0].vector == pair[1].vector);
            Ok(equal && statuses.iter().all(|status| status.outbox == 0))
        })
        .await?;
        self.compare(islands).await
    }

    /// Equal vectors must mean equal digests.
    async fn compare(&self, islands: &[Arc<Island>]) -> Outcome {
        let digests = try_join_all(islands.iter().map(|island| island.digest())).await?;
        let seen: Vec<(&str, &VersionVector, &str)> = islands
            .iter()
            .zip(&digests)
            .map(|(island, (vector, digest))| (island.label.as_str(), vector, digest.as_str()))
            .collect();
        let differs =
            |pair: &[(&str, &VersionVector, &str)]| pair[0].1 == pair[1].1 && pair[0].2 != pair[1].2;
        if seen.windows(2).any(differs) {
            let labels: Vec<String> =
                seen.iter().map(|(label, _, digest)| format!("{label} {digest}")).collect();
            let example = format!("equal vectors and unequal digests: {}", labels.join(", "));
            self.count(|report| report.diverged(example.clone()));
            return Err(Failure::Wrong(example));
        }
        Ok(())
    }

    /// Waits until all masters agree, compares what they hold with what they acknowledged in this epoch, and begins the
    /// next one. The load is held off meanwhile.
    pub(crate) async fn check(&mut self, what: &str) -> Outcome {
        self.check_as(what, Actor::Master).await
    }

    /// As [`check`](Self::check); says under whose name CRDTs are changed in the epoch that begins.
    pub(crate) async fn check_as(&mut self, what: &str, actor: Actor) -> Outcome {
        let began = Instant::now();
        let _held = self.hold_all().await;
        self.progress.show(&format!("{what}: waiting until all masters agree"));
        self.agree(&self.islands(), self.settle_deadline()).await?;
        let settle_ms = millis(began.elapsed());
        self.count(|report| report.settle_ms_max = report.settle_ms_max.max(settle_ms));
        self.progress.show(&format!("{what}: comparing"));
        self.verify(|epoch, current| epoch == current).await?;
        let counts = self.load.ledger(|ledger| ledger.counts);
        self.load.begin_epoch(actor);
        self.progress
            .say(&format!("{what}: agreed after {settle_ms} ms; {} acknowledged", counts.acknowledged));
        Ok(())
    }

    /// Compares all that is remembered with what the masters hold, and what sessions saw with what they must.
    pub(crate) async fn verify_all(&self) -> Outcome {
        let _held = self.hold_all().await;
        self.agree(&self.islands(), self.settle_deadline()).await?;
        self.verify(|_, _| true).await?;
        self.verify_sessions()
    }

    /// Each session reads what it wrote, and never less than it has read.
    fn verify_sessions(&self) -> Outcome {
        let Err(violations) = check_session(&self.load.sessions.history(), SessionScope::Key) else {
            return Ok(());
        };
        self.count(|report| {
            for violation in &violations {
                report.session_violations += 1;
                report.tell(violation.to_string());
            }
        });
        Err(Failure::Wrong(violations.to_string()))
    }

    async fn verify(&self, is_meant: impl Fn(u64, u64) -> bool) -> Outcome {
        // Taken out while they are judged, as nobody writes.
        let epochs = self.load.ledger(Ledger::take_epochs);
        let current = epochs.back().map_or(0, |epoch| epoch.number);
        let mut outcome = Ok(Findings::default());
        for epoch in epochs.iter().filter(|epoch| is_meant(epoch.number, current)) {
            outcome = match outcome {
                Ok(findings) => self.judge(epoch, findings).await,
                failed => failed,
            };
        }
        self.load.ledger(|ledger| ledger.put_epochs(epochs));
        let findings = outcome?;
        if findings.is_clean() {
            return Ok(());
        }
        let told = findings.examples.join("\n");
        let summary = format!("{} lost, {} duplicated:\n{told}", findings.lost, findings.duplicated);
        self.count(|report| report.find(findings));
        Err(Failure::Wrong(summary))
    }

    async fn judge(&self, epoch: &Epoch, mut findings: Findings) -> Outcome<Findings> {
        let registers: Vec<String> = epoch.registers.keys().cloned().collect();
        let tallies: Vec<String> = epoch.tallies.keys().cloned().collect();
        for island in self.islands() {
            let (vector, _) = island.digest().await?;
            epoch.judge_vector(&vector, &island.label, &mut findings);
            let held = island.registers(&registers).await?;
            for ((id, register), held) in epoch.registers.iter().zip(&held) {
                register.judge(id, &island.label, held.as_ref(), &mut findings);
            }
            let held = island.crdts(&tallies).await?;
            for ((id, tally), held) in epoch.tallies.iter().zip(&held) {
                tally.judge(id, &island.label, held.as_ref(), &mut findings);
            }
        }
        Ok(findings)
    }

    /// Waits until none of these masters has a tombstone. Call it while they take no writes.
    pub(crate) async fn no_tombstones(&self, islands: &[Arc<Island>], within: Duration) -> Outcome {
        self.until_among(islands, "no master has a tombstone", within, async || {
            let statuses = statuses(islands).await?;
            Ok(statuses.iter().all(|status| status.tombstones == 0))
        })
        .await
    }

    /// Whether an entity under `prefix` has a value anywhere: then a removal was lost.
    pub(crate) async fn none_visible(&self, islands: &[Arc<Island>], prefix: &str) -> Outcome {
        for island in islands {
            let visible = island.visible(prefix, 1_000).await?;
            if visible > 0 {
                let mut findings = Findings::default();
                for _ in 0..visible {
                    findings.lost(|| {
                        format!("entities under {prefix:?} were removed and are visible on {}", island.label)
                    });
                }
                let example = format!("{visible} entities under {prefix:?} are back on {}", island.label);
                self.count(|report| report.find(findings));
                return Err(Failure::Wrong(example));
            }
        }
        Ok(())
    }

    /// Waits until a master has nothing to send.
    pub(crate) async fn drained(&self, island: &Arc<Island>) -> Outcome {
        let what = format!("{} has nothing to send", island.label);
        self.until(&what, self.settle_deadline(), async || Ok(island.status().await?.outbox == 0)).await
    }

    /// Ends all masters in good order.
    pub(crate) async fn close(&self) {
        let _held = self.hold_all().await;
        join_all(self.islands().iter().map(|island| island.close())).await;
    }

    pub(crate) async fn retire(&self, by: usize, name: &str) -> Outcome {
        self.members[by].island.tell(Request::Retire { name: name.to_owned() }).await
    }
}

pub(crate) async fn statuses(islands: &[Arc<Island>]) -> Outcome<Vec<Status>> {
    try_join_all(islands.iter().map(|island| island.status())).await
}

/// What each master says of itself, for a person who must find out what went wrong.
async fn describe(islands: &[Arc<Island>]) -> String {
    let mut lines = Vec::new();
    for island in islands {
        let status = tokio::time::timeout(Duration::from_secs(5), island.status()).await;
        let told = match status {
            Ok(Ok(status)) => serde_json::to_string(&status).unwrap_or_default(),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        let reclaimable = tokio::time::timeout(Duration::from_secs(5), island.reclaimable()).await;
        let held_back = match reclaimable {
            Ok(Ok(report)) => serde_json::to_string(&report).unwrap_or_default(),
            _ => String::new(),
        };
        lines.push(format!("  {}: {told} {held_back}", island.label));
    }
    lines.join("\n")
}

impl Scene for Fleet {
    type Fault = Fault;
    type Node = Island;

    async fn begin(&mut self) -> Outcome {
        self.check("start").await
    }

    async fn bring(&mut self, fault: Fault, what: &str) -> Outcome {
        self.loaded().await?;
        actions::act(fault, what, self).await?;
        self.count(|report| {
            report.rounds += 1;
            *report.faults.entry(fault.name()).or_default() += 1;
        });
        Ok(())
    }

    async fn finish(&mut self) -> Outcome {
        self.progress.show("end: comparing all that is remembered");
        self.verify_all().await?;
        self.close().await;
        Ok(())
    }

    fn show(&self, what: &str) {
        self.progress.show(what);
    }

    fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    fn streams(&self) -> Vec<String> {
        vec![format!("ARCHIPELAGO_{}", self.namespace)]
    }

    fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    fn nodes(&self) -> Vec<Arc<Island>> {
        self.islands()
    }

    async fn work(&mut self, ms: std::ops::Range<u64>) {
        Fleet::work(self, ms).await;
    }

    /// All masters are equal.
    async fn enthrone(&mut self, _: &Arc<Island>) -> Outcome {
        Ok(())
    }

    /// Masters need no broker to take writes.
    async fn serves(&mut self, _: &'static str, _: u64) -> Outcome {
        Ok(())
    }

    async fn recovers(&mut self, _: &'static str, _: u64, what: &str, _: Since) -> Outcome {
        self.check(what).await
    }
}
