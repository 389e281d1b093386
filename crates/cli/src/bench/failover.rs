use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    BenchError,
    audit::{self, Log},
    cluster::Cluster,
    ledger::{Ledger, Outcome},
    load::Load,
    options::Failover,
    protocol::Standing,
    report::FailoverReport,
    samples::Samples,
    scout::Scout,
};
use crate::progress::{Phase, Progress, millis};

/// What another node may need to lead, beyond the lease of the one that is gone.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long, at least and at most, all goes well before the next kill, so that it meets the lease at any age.
const CALM_MS: std::ops::Range<u64> = 300..1_300;

/// How often the log is read again because it went on.
const LOOKS_MAX: u32 = 5;

/// Kills and hand-overs under load, on nodes that run.
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) options: &'a Failover,
    pub(crate) progress: &'a Progress,
}

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) failovers: Samples,
    pub(crate) rejoins: Samples,
    pub(crate) handovers: Samples,
}

impl Run<'_> {
    /// `measured` and `report` are filled in as far as it comes.
    pub(crate) async fn run(
        &self,
        measured: &mut Measured,
        report: &mut FailoverReport,
    ) -> Result<(), BenchError> {
        let scout = Arc::new(Scout::start(self.cluster.members.clone()));
        let seed = self.options.common.seed;
        let load = Load::start(self.cluster.members.clone(), scout.clone(), self.options.rate, seed);
        let mut random = StdRng::seed_from_u64(seed);
        load.newer_than(0, self.patience(), "after the start").await?;
        let started = Instant::now();
        self.fail_over(&load, &scout, &mut random, measured).await?;
        self.hand_over(&load, &scout, &mut random, measured).await?;
        report.load_ms = millis(started.elapsed());
        self.prove(load.stop().await, report).await
    }

    fn patience(&self) -> Duration {
        self.options.lease.duration() * 5 + ELECTION_TIMEOUT
    }

    async fn fail_over(
        &self,
        load: &Load,
        scout: &Scout,
        random: &mut StdRng,
        measured: &mut Measured,
    ) -> Result<(), BenchError> {
        let phase = self.progress.phase("failover", "kills", self.options.runs.into());
        for _ in 0..self.options.runs {
            calm(random).await;
            let leader = scout.leader().await;
            let (term, started) = (load.newest().term, Instant::now());
            scout.leads_no_more(leader);
            let killed = self.cluster.members[leader].kill();
            let served = load.newer_than(term, self.patience(), "after the leader was killed");
            let ((), served) = tokio::join!(killed, served);
            let took = served?.since.duration_since(started);
            measured.failovers.add(took);
            let rejoined = self.rejoin(leader, scout).await?;
            measured.rejoins.add(rejoined);
            self.tell(&phase, leader, "killed", took, rejoined);
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        load: &Load,
        scout: &Scout,
        random: &mut StdRng,
        measured: &mut Measured,
    ) -> Result<(), BenchError> {
        let phase = self.progress.phase("hand-over", "hand-overs", self.options.handovers.into());
        for _ in 0..self.options.handovers {
            calm(random).await;
            let leader = scout.leader().await;
            let (term, started) = (load.newest().term, Instant::now());
            let closed = self.cluster.members[leader].close();
            let served = load.newer_than(term, self.patience(), "after the leader was closed");
            let ((), served) = tokio::join!(closed, served);
            let took = served?.since.duration_since(started);
            measured.handovers.add(took);
            let rejoined = self.rejoin(leader, scout).await?;
            self.tell(&phase, leader, "closed", took, rejoined);
        }
        Ok(())
    }

    /// Starts the node again, and waits until it has what the new leader had when it was asked. Gives how long that took.
    async fn rejoin(&self, member: usize, scout: &Scout) -> Result<Duration, BenchError> {
        let started = Instant::now();
        self.cluster.members[member].restart().await?;
        let leader = scout.leader().await;
        self.cluster.caught_up(member, leader).await?;
        Ok(started.elapsed())
    }

    fn tell(&self, phase: &Phase, member: usize, what: &str, took: Duration, rejoined: Duration) {
        let name = &self.cluster.members[member].name;
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        phase.say(format!(
            "{name} was {what}: served again after {:.0} ms; it has caught up {:.0} ms after its start",
            ms(took),
            ms(rejoined)
        ));
        phase.step();
    }

    /// How the nodes are, and the log that they have applied. A leader may still write what is about no key.
    async fn standstill(&self) -> Result<(Vec<Standing>, Log), BenchError> {
        let mut looks = 0;
        loop {
            let log = Log::read(&*self.cluster.pipeline).await?;
            let standings = self.cluster.settled().await?;
            looks += 1;
            if looks == LOOKS_MAX || standings[0].sequence == log.last_index {
                return Ok((standings, log));
            }
        }
    }

    /// Compares what the clients were told with what there is.
    async fn prove(&self, ledger: Ledger, report: &mut FailoverReport) -> Result<(), BenchError> {
        self.progress.say("proof: the nodes come to have the same, and the log and their states are read");
        let (standings, log) = self.standstill().await?;
        let states = futures::future::try_join_all(self.cluster.members.iter().map(audit::state_of)).await?;
        let found = audit::compare(&ledger, self.options.common.seed, &log, &states);
        report.acknowledged = ledger.count(|outcome| matches!(outcome, Outcome::Acknowledged { .. }));
        report.unknown = ledger.count(|outcome| outcome == Outcome::Unknown);
        report.not_written = ledger.count(|outcome| outcome == Outcome::NotWritten);
        report.unknown_written = found.unknown_written;
        report.lost = found.lost;
        report.duplicated = found.duplicated;
        report.contradicted = found.contradicted;
        report.unsound = log.unsound;
        report.terms = log.terms;
        report.entries = log.last_index;
        let history = format!("{:032x}", log.history);
        let first = &standings[0];
        report.equal_digests =
            standings.iter().all(|other| (&other.digest, &other.history) == (&first.digest, &first.history));
        report.log_is_history =
            standings.iter().all(|node| (node.sequence, &node.history) == (log.last_index, &history));
        report.verdict(found.example.as_deref())
    }
}

/// A while in which all goes well.
async fn calm(random: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(random.random_range(CALM_MS))).await;
}
