use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use archipelago::manager::leader_follower::{LeaderFollowerManager, Write, WriteError};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use super::{
    BenchError,
    cluster::Cluster,
    lag::Lag,
    memory::rss_mb,
    options::Leader,
    pace::{Arrears, Pace},
    report::LeaderReport,
    samples::Samples,
};
use crate::progress::Progress;

/// How many writes are sampled at every follower, at least where there are as many.
const SAMPLED_WRITES: u64 = 6_000;
/// How often the progress is shown, and the memory looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The single writes after the load, and the pause between them.
const IDLE_WRITES: u32 = 50;
const IDLE_PAUSE: Duration = Duration::from_millis(200);
/// How long a single write may take to be on all followers.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the election at the start may take, beyond the lease.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Before a refused write is tried elsewhere.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Writes at a rate, on nodes that run in this process.
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) options: &'a Leader,
    pub(crate) progress: &'a Progress,
}

/// Writers, and what they count.
#[derive(Debug)]
struct Writing {
    nodes: Vec<LeaderFollowerManager>,
    /// Which node led when it was last looked at.
    leader: AtomicUsize,
    pace: Pace,
    lag: Lag,
    sample_every: u64,
    keys: u32,
    size: usize,
    seed: u64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl Run<'_> {
    /// `report` is filled in as far as it comes.
    pub(crate) async fn run(&self, report: &mut LeaderReport) -> Result<(), BenchError> {
        let here = self.cluster.members.iter().filter_map(|member| member.here());
        let nodes: Vec<LeaderFollowerManager> = here.map(|node| node.manager.clone()).collect();
        let leader = self.first_leader(&nodes).await?;
        self.progress.say(format!("{} leads", self.cluster.members[leader].name));
        report.rss_mb.start = rss_mb();
        let writing = self.writing(&nodes, leader, Pace::new(self.options.rate, Arrears::Kept));
        let writing = self.load(writing, report).await?;
        let standings = self.cluster.settled().await?;
        report.rss_mb.end = rss_mb();
        let leader = writing.leader.load(Ordering::Relaxed);
        self.idle(&writing.nodes, leader, report).await?;
        let Writing { nodes, lag, .. } = writing;
        report.seen(&lag.finish().await);
        self.full_speed(&nodes, leader, report).await?;
        let standings = match self.cluster.settled().await {
            Ok(now) => now,
            Err(_) => standings,
        };
        report.entries = standings.iter().map(|standing| standing.sequence).collect();
        report.keys_stored = standings[0].keys;
        report.terms = nodes.iter().map(|node| node.metrics().promotions).sum();
        let first = &standings[0];
        report.equal_digests =
            standings.iter().all(|other| (&other.digest, &other.history) == (&first.digest, &first.history));
        report.verdict()
    }

    fn writing(&self, nodes: &[LeaderFollowerManager], leader: usize, pace: Pace) -> Writing {
        let writes = u64::from(self.options.rate) * u64::from(self.options.seconds);
        Writing {
            lag: Lag::new(nodes.to_vec()),
            nodes: nodes.to_vec(),
            leader: AtomicUsize::new(leader),
            pace,
            sample_every: (writes / SAMPLED_WRITES).max(1),
            keys: self.options.keys,
            size: self.options.size as usize,
            seed: self.options.common.seed,
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    async fn first_leader(&self, nodes: &[LeaderFollowerManager]) -> Result<usize, BenchError> {
        let waited = self.options.lease.duration() + ELECTION_TIMEOUT;
        let found = async {
            loop {
                if let Some(at) = nodes.iter().position(LeaderFollowerManager::is_leader) {
                    return at;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        let found = tokio::time::timeout(waited, found).await;
        found.map_err(|_| BenchError::NoLeader { waited, after: "after the start" })
    }

    async fn load(&self, writing: Writing, report: &mut LeaderReport) -> Result<Writing, BenchError> {
        let phase = self.progress.phase(
            "load",
            "writes",
            u64::from(self.options.rate) * u64::from(self.options.seconds),
        );
        let (writing, started) = (Arc::new(writing), Instant::now());
        let until = started + Duration::from_secs(self.options.seconds.into());
        let mut writers = JoinSet::new();
        for at in 0..self.options.tasks {
            writers.spawn(writing.clone().run(at.into(), until));
        }
        let mut latencies = Samples::default();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        while !writers.is_empty() {
            tokio::select! {
                Some(done) = writers.join_next() => if let Ok(samples) = done {
                    latencies.append(samples);
                },
                _ = look.tick() => {
                    let rss = rss_mb();
                    report.rss_mb.over_time.extend(rss);
                    let message = rss.map(|mb| format!("{mb} MiB")).unwrap_or_default();
                    phase.reach(writing.acknowledged.load(Ordering::Relaxed), &message);
                }
            }
        }
        phase.reach(writing.acknowledged.load(Ordering::Relaxed), "");
        phase.finish();
        report.written(started.elapsed(), &latencies, writing.failed.load(Ordering::Relaxed));
        Arc::into_inner(writing).ok_or(BenchError::NothingWritten)
    }

    /// As many writes as the leader takes.
    async fn full_speed(
        &self,
        nodes: &[LeaderFollowerManager],
        leader: usize,
        report: &mut LeaderReport,
    ) -> Result<(), BenchError> {
        self.progress.say("full speed");
        let writing = Arc::new(self.writing(nodes, leader, Pace::unlimited()));
        let started = Instant::now();
        let mut writers = JoinSet::new();
        for at in 0..self.options.tasks {
            writers.spawn(writing.clone().run(at.into(), started + self.options.full_speed()));
        }
        writers.join_all().await;
        let acknowledged = writing.acknowledged.load(Ordering::Relaxed);
        report.full_speed(acknowledged, started.elapsed());
        match acknowledged {
            0 => Err(BenchError::NothingWritten),
            _ => Ok(()),
        }
    }

    /// Single writes, while nothing else goes on.
    async fn idle(
        &self,
        nodes: &[LeaderFollowerManager],
        leader: usize,
        report: &mut LeaderReport,
    ) -> Result<(), BenchError> {
        let phase = self.progress.phase("idle", "writes", IDLE_WRITES.into());
        let mut visible = Samples::default();
        for at in 0..IDLE_WRITES {
            tokio::time::sleep(IDLE_PAUSE).await;
            let called = Instant::now();
            let write = Write::upsert(format!("idle/{at}"), "a single write");
            let receipt = nodes[leader].write(write).await.map_err(|error| BenchError::Answer {
                node: self.cluster.members[leader].name.clone(),
                reason: error.to_string(),
            })?;
            let waits = nodes.iter().map(|node| node.wait_for_sequence(receipt.sequence, VISIBLE_TIMEOUT));
            futures::future::join_all(waits).await;
            visible.add(called.elapsed());
            phase.step();
        }
        report.idle_visible_p50_ms = visible.percentile_ms(50.0);
        report.idle_visible_max_ms = visible.percentile_ms(100.0);
        Ok(())
    }
}

impl Writing {
    /// Writes until the time is over; gives how long each write took from the moment that it was due.
    async fn run(self: Arc<Self>, at: u64, until: Instant) -> Samples {
        let mut random = StdRng::seed_from_u64(self.seed ^ at);
        let mut took = Samples::default();
        loop {
            let (number, due) = self.pace.take();
            if due >= until || Instant::now() >= until {
                return took;
            }
            tokio::time::sleep_until(due).await;
            let key = format!("k/{:09}", random.random_range(0..self.keys));
            let value = self.value(number, &mut random);
            if self.write(number, key, value).await {
                took.add(due.elapsed());
            }
        }
    }

    fn value(&self, number: u64, random: &mut StdRng) -> String {
        let mut value = format!("{number:016}");
        while value.len() < self.size {
            value.push(char::from(random.random_range(b'a'..=b'z')));
        }
        value
    }

    async fn write(&self, number: u64, key: String, value: String) -> bool {
        let called = Instant::now();
        let leader = self.leader.load(Ordering::Relaxed);
        match self.nodes[leader].write(Write::upsert(key, &value)).await {
            Ok(receipt) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                if number.is_multiple_of(self.sample_every) {
                    self.lag.sample(leader, receipt.sequence, called, Instant::now());
                }
                true
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if matches!(error, WriteError::FollowerReadOnly { .. } | WriteError::NotWritten { .. }) {
                    tokio::time::sleep(RETRY_PAUSE).await;
                    if let Some(at) = self.nodes.iter().position(LeaderFollowerManager::is_leader) {
                        self.leader.store(at, Ordering::Relaxed);
                    }
                }
                false
            }
        }
    }
}
