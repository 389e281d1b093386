use std::{ops::Range, sync::Arc, time::Duration};

use archipelago::{MultiMasterManager, OnStart, Strategy, Switch, manager::WriteError, pipeline::Pipeline};
use futures::{StreamExt, TryStreamExt, stream};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use super::{
    super::{
        cost,
        group::{Group, Noise, refused, unstarted},
        options::Writing,
    },
    apart::Apart,
    setting::{Series, Setting},
    took::Took,
};
use crate::{bench::BenchError, progress::Phase};

/// How many writes one round has.
const ROUND_WRITES: u64 = 3_000;
/// The measured master makes one of so many writes, and the others share the rest: as of three that write alike.
const OWN_SHARE: u64 = 3;
/// How many writes a master has under way at a time.
const UNDER_WAY_MAX: usize = 256;
/// For how long it is measured what a master uses while nobody writes.
const REST: Duration = Duration::from_secs(3);
/// How often masters say how far they are where that is not what is measured: a hundred that share a processor would hear each
/// other more than they work.
const SELDOM: Duration = Duration::from_secs(600);
/// How many entities are made between two looks whether all masters have them, and at most how many bytes.
const FILL_WRITES: u64 = 30_000;
const FILL_BYTES: u64 = 64 * 1024 * 1024;

/// Masters of one setting that write in rounds: each round ends when all have all of it.
///
/// The first master has threads of its own, and a third of the writes, however many masters there are.
pub(super) struct Rounds<'a> {
    group: Group,
    apart: &'a Apart,
    series: Series,
    setting: Setting,
    noise: Arc<Noise>,
    seed: u64,
    /// One for each master, where what they send is held back.
    switches: Vec<Switch>,
    log: Arc<dyn Pipeline>,
    /// Where the log ended a round ago: nobody needs what is before.
    log_end: u64,
    /// The place of the next write: each round takes those that follow.
    next: u64,
}

/// How often masters say how far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heartbeats {
    /// As they do unless told otherwise.
    AsAlways,
    /// Next to never.
    Seldom,
}

impl<'a> Rounds<'a> {
    /// Starts the masters, and has them make the entities.
    pub(super) async fn open(
        apart: &'a Apart,
        namespace: &str,
        series: Series,
        setting: Setting,
        heartbeats: Heartbeats,
        seed: u64,
        phase: &Phase,
    ) -> Result<Rounds<'a>, BenchError> {
        let mut group = Group::embedded(namespace);
        let log = group.broker.pipeline(namespace, OnStart::FailFast).await?;
        log.open().await?;
        let mut switches = Vec::new();
        for at in 0..setting.masters {
            let (name, mut builder) = group.next().await?;
            if heartbeats == Heartbeats::Seldom {
                builder = builder.heartbeat_interval(SELDOM);
            }
            if series == Series::Siblings {
                builder = builder.conflict_strategy(Strategy::VersionVector);
            }
            if series == Series::Conflicts {
                let switch = Switch::new(group.broker.pipeline(namespace, OnStart::FailFast).await?);
                switches.push(switch.clone());
                builder = builder.pipeline(switch);
            }
            let master = match at {
                0 => apart.run(builder.start()).await.expect("the start of a master does not panic"),
                _ => builder.start().await,
            };
            group.masters.push(master.map_err(|error| unstarted(&name, &error))?);
        }
        if heartbeats == Heartbeats::AsAlways {
            group.acquainted().await;
        }
        let noise = Arc::new(Noise::new(seed, Writing { size: setting.size, keys: 1, tasks: 0 }));
        let mut rounds =
            Rounds { group, apart, series, setting, noise, seed, switches, log, log_end: 0, next: 0 };
        rounds.fill(phase).await?;
        Ok(rounds)
    }

    async fn fill(&mut self, phase: &Phase) -> Result<(), BenchError> {
        let (entities, masters) = (self.setting.entities, u64::from(self.setting.masters));
        let writes = FILL_WRITES.min((FILL_BYTES / u64::from(self.setting.size)).max(1));
        let mut place = 0;
        while place < entities {
            let end = entities.min(place + writes);
            let each = (0..masters).map(|master| {
                let share = (end - place) / masters + u64::from(master < (end - place) % masters);
                let first = place;
                place += share;
                first..place
            });
            self.write(each.map(Iterator::collect).collect()).await?;
            phase.reach(place, "");
        }
        Ok(())
    }

    /// What the measured master uses for each second in which nobody writes, in seconds; `None` where the system does not
    /// tell.
    pub(super) async fn rest(&self) -> Option<f64> {
        let (started, before) = (Instant::now(), Apart::cpu()?);
        tokio::time::sleep(REST).await;
        let used = Apart::cpu()?.saturating_sub(before);
        Some(used.as_secs_f64() / started.elapsed().as_secs_f64())
    }

    /// So many writes, at least, in whole rounds.
    pub(super) async fn run(&mut self, writes: u64) -> Result<Took, BenchError> {
        let size = ROUND_WRITES.min(self.setting.entities).min(writes);
        let mut took = Took::NOTHING;
        while took.writes < writes {
            let places = self.places(size);
            if self.series == Series::Siblings {
                self.make_siblings(places.concat()).await?;
            }
            let conflicts_before = self.group.masters[0].metrics().conflicts_detected;
            let (started, cpu, process_cpu) = (Instant::now(), Apart::cpu(), cost::cpu());
            self.write(places).await?;
            let since = |before: Option<Duration>, now: Option<Duration>| {
                now.zip(before).map(|(now, before)| now.saturating_sub(before))
            };
            took = took.and(Took {
                writes: size,
                elapsed: started.elapsed(),
                cpu: since(cpu, Apart::cpu()),
                process_cpu: since(process_cpu, cost::cpu()),
                conflicts: self.group.masters[0].metrics().conflicts_detected - conflicts_before,
            });
        }
        Ok(took)
    }

    /// Where each master writes in the next round. No place comes twice, but those of conflicts: they come first, the same
    /// at all masters.
    fn places(&mut self, writes: u64) -> Vec<Vec<u64>> {
        let own = writes / OWN_SHARE;
        let others = u64::from(self.setting.masters) - 1;
        let shares = (0..others).map(|at| (writes - own) / others + u64::from(at < (writes - own) % others));
        let mut take = |count: u64| -> Range<u64> {
            let first = self.next;
            self.next += count;
            first..self.next
        };
        let shared = take(own * u64::from(self.setting.conflict_percent) / 100);
        let entities = self.setting.entities;
        std::iter::once(own)
            .chain(shares)
            .map(|share| {
                let alone = take(share.saturating_sub(shared.end - shared.start));
                shared.clone().chain(alone).map(|place| place % entities).collect()
            })
            .collect()
    }

    /// Each master writes at its places, and all get all of it.
    async fn write(&mut self, places: Vec<Vec<u64>>) -> Result<(), BenchError> {
        let log_end = self.log.state().await?.last_sequence;
        self.switches.iter().for_each(Switch::hold);
        let mut writers = JoinSet::new();
        let mut own = None;
        for (at, places) in places.into_iter().enumerate() {
            let (master, noise) = (self.group.masters[at].clone(), self.noise.clone());
            let seed = self.seed ^ self.next ^ ((at as u64) << 48);
            let writing = write_at(master, noise, seed, places);
            match at {
                0 => own = Some(self.apart.run(writing)),
                _ => drop(writers.spawn(writing)),
            }
        }
        let own = async {
            match own {
                Some(own) => own.await.expect("writers do not panic"),
                None => Ok(()),
            }
        };
        let others = async {
            while let Some(written) = writers.join_next().await {
                written.expect("writers do not panic")?;
            }
            Ok(())
        };
        let written = tokio::try_join!(own, others);
        self.switches.iter().for_each(Switch::release);
        written.map_err(refused)?;
        self.group.settled().await?;
        self.log.trim(std::mem::replace(&mut self.log_end, log_end)).await?;
        Ok(())
    }

    /// Gives each entity as many concurrent values as the setting says: writes that have seen what was there before, and
    /// not each other.
    async fn make_siblings(&mut self, places: Vec<u64>) -> Result<(), BenchError> {
        let (master, siblings) = (&self.group.masters[1], self.setting.siblings);
        let failed = |reason: String| BenchError::Answer { node: "a master".into(), reason };
        let mut random = StdRng::seed_from_u64(self.seed ^ self.next);
        for place in places {
            let seen = master.entity(&key(place)).await.map_err(|error| failed(error.to_string()))?;
            let seen = seen.ok_or_else(|| failed("an entity is gone".into()))?;
            let writes =
                (0..siblings).map(|_| master.resolve_conflict(&seen, Some(self.noise.value(&mut random))));
            futures::future::try_join_all(writes.collect::<Vec<_>>()).await.map_err(refused)?;
        }
        self.group.settled().await
    }

    /// Ends the masters, after a look whether all have the same.
    pub(super) async fn end(self) -> Result<(), BenchError> {
        let checked = self.group.check().await;
        self.group.end().await;
        checked
    }
}

async fn write_at(
    master: MultiMasterManager,
    noise: Arc<Noise>,
    seed: u64,
    places: Vec<u64>,
) -> Result<(), WriteError> {
    let mut random = StdRng::seed_from_u64(seed);
    stream::iter(places)
        .map(|place| master.write(key(place), noise.value(&mut random)))
        .buffer_unordered(UNDER_WAY_MAX)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

/// Keys of 16 bytes, so that neighbouring places have nothing in common.
pub(super) fn key(place: u64) -> String {
    // An odd factor: no two places have the same key.
    format!("{:016x}", place.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
