use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use archipelago::{NatsConfig, NatsPipeline};
use futures::future::{join_all, try_join_all};
use rand::{RngExt, rngs::StdRng};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    book::Book,
    clients::{self, Acknowledged, Clients},
    faults,
    member::{Leading, Member},
    options::{Fault, Options},
    protocol::{NodeOptions, Status, Told},
    report::Report,
    verdict::{self, Seen},
};
use crate::{
    broker::{Broker, Servers},
    failure::{Failure, Outcome},
    fault::Kind as _,
    progress::Progress,
    scene::{Node as _, Scene, Since, WRITES_BEFORE_FAULT},
    stage::millis,
};

/// How often a state that cannot be awaited is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a leader may take to say that it leads no more, in leases: it is sure of one at most.
const DEMOTION_LEASES_MAX: u32 = 4;

const NAMESPACE: &str = "soak";

/// The nodes, their broker, the clients, and what is remembered of all.
#[derive(Debug)]
pub(crate) struct Ensemble {
    // Dropped in this order: who writes, who is asked, who keeps the log.
    clients: Vec<AbortHandle>,
    pub(crate) scene: Arc<Clients>,
    pub(crate) broker: Broker,
    pub(crate) options: Options,
    pub(crate) random: StdRng,
    pub(crate) home: PathBuf,
    pub(crate) progress: Arc<Progress>,
    book: Book,
    report: Arc<Mutex<Report>>,
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.clients.iter().for_each(AbortHandle::abort);
    }
}

impl Ensemble {
    /// Starts the broker, the nodes and the load.
    pub(crate) async fn start(
        options: Options,
        seed: u64,
        random: StdRng,
        home: PathBuf,
        report: Arc<Mutex<Report>>,
        progress: Arc<Progress>,
    ) -> Outcome<Ensemble> {
        let broker = Broker::start(Servers::clustered(options.cluster)).await?;
        let leading = watch::Sender::<Leading>::default();
        let mut members = Vec::new();
        for number in 1..=options.nodes {
            let way = broker.way().await?;
            let name = format!("n{number}");
            let node = NodeOptions {
                folder: home.join(&name),
                name,
                namespace: NAMESPACE.to_owned(),
                servers: way.urls(),
                replicas: broker.replicas(),
                lease_ms: options.lease_ms,
            };
            members.push(Arc::new(Member::start(members.len(), node, way, leading.clone()).await?));
        }
        let scene = Arc::new(Clients::new(members, leading));
        let clients =
            (1..=options.clients).map(|number| clients::spawn(scene.clone(), seed, number)).collect();
        let book = Book::default();
        Ok(Ensemble { clients, scene, broker, options, random, home, progress, book, report })
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The names of the streams of the log and of the lease.
    pub(crate) fn streams() -> [String; 2] {
        [format!("ARCHIPELAGO_{NAMESPACE}"), format!("KV_archipelago_{NAMESPACE}_lease")]
    }

    /// Lets the load go on for a moment that chance decides.
    pub(crate) async fn work(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.random.random_range(ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Who leads, once somebody surely does: it has told so, and no one of a newer term.
    pub(crate) fn leader(&self) -> (Arc<Member>, Leading) {
        let leading = *self.scene.leading.borrow();
        (self.scene.members[leading.at].clone(), leading)
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(self.options.settle_s)
    }

    /// Waits until the load has come to [`WRITES_BEFORE_FAULT`] acknowledged writes.
    async fn loaded(&self) -> Outcome {
        let mut acknowledged = self.scene.acknowledged.subscribe();
        let wanted = acknowledged.borrow().number + WRITES_BEFORE_FAULT;
        let seen = acknowledged.wait_for(|seen| seen.number >= wanted);
        match tokio::time::timeout(self.deadline(), seen).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.late("writes are acknowledged before a fault", self.deadline()).await),
        }
    }

    /// Waits for the acknowledgement of a write that was asked for after `since_ns`, in a term greater than `term`, and
    /// counts how long that took.
    pub(crate) async fn served(&self, fault: &str, since_ns: u64, term: Option<u64>) -> Outcome {
        let mut acknowledged = self.scene.acknowledged.subscribe();
        let is_it =
            |seen: &Acknowledged| seen.invoked_ns > since_ns && term.is_none_or(|term| seen.term > term);
        let seen = tokio::time::timeout(self.deadline(), acknowledged.wait_for(is_it)).await;
        let seen = match seen {
            Ok(Ok(seen)) => *seen,
            _ => return Err(self.late("a write is acknowledged again", self.deadline()).await),
        };
        let ms = seen.completed_ns.saturating_sub(since_ns) / 1_000_000;
        self.count(|report| report.failover_ms.entry(fault.to_owned()).or_default().add(ms));
        Ok(())
    }

    /// Waits until a node has told that it leads no more, and counts how long that took.
    pub(crate) async fn demoted(&self, fault: &str, member: &Member, since_ns: u64, term: u64) -> Outcome {
        let heard = async || {
            let told = member.told();
            let demoted_at = told.iter().find_map(|told| match told {
                Told::Demoted { term: demoted, at_ns, .. } if *demoted == term => Some(*at_ns),
                _ => None,
            });
            Ok(demoted_at.map(|at_ns| at_ns.saturating_sub(since_ns) / 1_000_000))
        };
        let what = format!("{} tells that it does not lead in term {term} any more", member.name());
        let within = Duration::from_millis(self.options.lease_ms) * DEMOTION_LEASES_MAX;
        let ms = self.until(&what, within, heard).await?;
        self.count(|report| report.demoted_ms.entry(fault.to_owned()).or_default().add(ms));
        Ok(())
    }

    async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(self.late(what, within).await);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// With what each node says of itself, for a person who must find out what went wrong.
    async fn late(&self, what: &str, within: Duration) -> Failure {
        let describe = async |member: &Arc<Member>| {
            let status = match member.status().await {
                Ok(status) => serde_json::to_string(&status).unwrap_or_default(),
                Err(failure) => failure.to_string(),
            };
            let told = member.told();
            let last = &told[told.len().saturating_sub(6)..];
            format!("  {}: {status} {}", member.name(), serde_json::to_string(last).unwrap_or_default())
        };
        let states = join_all(self.scene.members.iter().map(describe)).await;
        Failure::Late { what: what.to_owned(), within_s: within.as_secs(), state: states.join("\n") }
    }

    /// Holds the load off until all nodes have the same history and state, and one of them leads; reads the log; and begins
    /// the next epoch.
    pub(crate) async fn settle(&mut self, what: &str, since: Since) -> Outcome {
        let began = Instant::now();
        let gate = self.scene.gate.clone();
        let _held = gate.write().await;
        self.progress.show(&format!("{what}: waiting until all nodes agree"));
        let statuses = self.agree().await?;
        let settle_ms = millis(began.elapsed());
        self.count(|report| report.settle_ms_max = report.settle_ms_max.max(settle_ms));
        let config = NatsConfig::new(self.broker.urls(), NAMESPACE).replicas(self.broker.replicas());
        let reading = async {
            loop {
                let read =
                    async { self.book.read(&NatsPipeline::connect(config.clone()).await?, since).await };
                match read.await {
                    // The servers may still be electing who answers for the stream.
                    Err(error) if error.is_retryable() => tokio::time::sleep(POLL).await,
                    read => break read,
                }
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(self.options.settle_s), reading).await;
        read.map_err(|_| Failure::Broken("the log cannot be read to its end".into()))?
            .map_err(Failure::broken("read the log"))?;
        let (index, last) = (statuses[0].index, self.book.last_index());
        if last < index {
            let finding = format!("{what}: all nodes have entry {index}, and the log ends at {last}");
            self.count(|report| {
                report.log_violations += 1;
                report.find(finding.clone());
            });
            return Err(Failure::Wrong(finding));
        }
        self.hear();
        self.scene.epoch.fetch_add(1, Ordering::Relaxed);
        self.progress.say(&format!("{what}: agreed after {settle_ms} ms at entry {index}"));
        match self.book.findings.first() {
            Some(finding) => Err(Failure::Wrong(finding.clone())),
            None => Ok(()),
        }
    }

    /// Waits until all nodes have the same history, one of them leading.
    async fn agree(&self) -> Outcome<Vec<Status>> {
        let members = &self.scene.members;
        self.until("all nodes have the same history, and one of them leads", self.deadline(), async || {
            let statuses = try_join_all(members.iter().map(|member| member.status())).await?;
            let leaders = statuses.iter().filter(|status| status.role == "leader").count();
            let is_equal = statuses.windows(2).all(|pair| pair[0].index == pair[1].index);
            let is_led = statuses.iter().all(|status| status.leader.is_some() && status.trouble.is_none());
            if leaders != 1 || !is_equal || !is_led {
                return Ok(None);
            }
            let differ =
                |pair: &[Status]| (&pair[0].digest, &pair[0].history) != (&pair[1].digest, &pair[1].history);
            if statuses.windows(2).any(differ) {
                let finding = format!("nodes with one index differ: {statuses:?}");
                self.count(|report| {
                    report.divergent += 1;
                    report.find(finding.clone());
                });
                return Err(Failure::Wrong(finding));
            }
            Ok(Some(statuses))
        })
        .await
    }

    /// Counts what nodes told.
    fn hear(&self) {
        let told: Vec<Told> = self.scene.members.iter().flat_map(|member| member.told()).collect();
        let count = |is_meant: fn(&Told) -> bool| told.iter().filter(|told| is_meant(told)).count() as u64;
        self.count(|report| {
            report.mended = count(|told| matches!(told, Told::Mended { .. }));
            report.missing = count(|told| matches!(told, Told::Missing { .. }));
            report.orphaned = count(|told| matches!(told, Told::Orphaned { .. }));
        });
    }

    /// Ends the load, and reads the log for the last time.
    async fn end_load(&mut self) -> Outcome {
        let gate = self.scene.gate.clone();
        let held = gate.write().await;
        // Nothing is under way.
        self.clients.drain(..).for_each(|client| client.abort());
        drop(held);
        self.settle("end", Since::Grown).await
    }

    /// Checks everything that was recorded.
    pub(crate) fn judge(&self, seen: Seen) {
        self.hear();
        self.count(|report| verdict::judge(&self.scene, &self.book, seen, report));
    }

    /// Ends all nodes in good order.
    pub(crate) async fn close(&self) {
        let gate = self.scene.gate.clone();
        let _held = gate.write().await;
        join_all(self.scene.members.iter().map(|member| member.close())).await;
    }
}

impl Scene for Ensemble {
    type Fault = Fault;
    type Node = Member;

    async fn begin(&mut self) -> Outcome {
        self.settle("start", Since::Grown).await
    }

    async fn bring(&mut self, fault: Fault, what: &str) -> Outcome {
        self.loaded().await?;
        faults::bring(fault, what, self).await?;
        self.count(|report| *report.rounds.entry(fault.name()).or_default() += 1);
        Ok(())
    }

    async fn finish(&mut self) -> Outcome {
        self.end_load().await
    }

    fn show(&self, what: &str) {
        self.progress.show(what);
    }

    fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    fn streams(&self) -> Vec<String> {
        Ensemble::streams().to_vec()
    }

    fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    fn nodes(&self) -> Vec<Arc<Member>> {
        self.scene.members.clone()
    }

    async fn work(&mut self, ms: std::ops::Range<u64>) {
        Ensemble::work(self, ms).await;
    }

    async fn enthrone(&mut self, node: &Arc<Member>) -> Outcome {
        // It may need more than one lease for it, as it has just been started.
        self.until(&format!("{} leads", node.name()), self.deadline(), async || {
            node.promote().await?;
            Ok((node.status().await?.role == "leader").then_some(()))
        })
        .await
    }

    async fn serves(&mut self, fault: &'static str, since_ns: u64) -> Outcome {
        self.served(fault, since_ns, None).await
    }

    async fn recovers(&mut self, fault: &'static str, since_ns: u64, what: &str, log: Since) -> Outcome {
        self.served(&format!("{fault}, healed"), since_ns, None).await?;
        self.work(0..300).await;
        self.settle(what, log).await
    }
}
