use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{MultiMasterManager, SessionToken};
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::{
    group::{Group, Noise, refused},
    jetstream::RoundTrips,
    options::Lag,
    report::{Report, Setting, measured},
    shown,
};
use crate::{
    bench::{
        BenchError,
        options::StoreKind,
        pace::{Arrears, Pace},
        report::per_second,
        samples::Samples,
    },
    interrupt::Interrupt,
    progress::Progress,
};

/// How many single writes there are, and the pause before each.
const IDLE_WRITES: usize = 200;
const IDLE_PAUSE: Duration = Duration::from_millis(5);
/// Of how many writes a second it is measured when others show them.
const SAMPLES_PER_S: u64 = 100;
/// A master that does not show a sampled write after so long shows it as late as this.
const GIVE_UP: Duration = Duration::from_secs(30);
/// How many sampled writes are waited for at a time; a sample beyond that is left out, and counted.
const WAITING_MAX: u32 = 16_384;

/// The outcome of `bench lag`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LagReport {
    #[serde(flatten)]
    found: Found,
    masters: u16,
    rate: u32,
    seconds: u32,
    store: StoreKind,
    #[serde(flatten)]
    setting: Setting,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
struct Found {
    /// How many round trips of plain NATS a single write takes until another master shows it: below 1 is better.
    idle_ratio: Option<f64>,
    /// From the call of a single write.
    idle_visible_p50_ms: Option<f64>,
    round_trip_p50_ms: Option<f64>,
    /// From the acknowledgement of a write to its visibility at each other master.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    p999_ms: Option<f64>,
    max_ms: Option<f64>,
    samples: usize,
    samples_left_out: u64,
    /// Of a write, from the moment that it was due to its acknowledgement.
    write_p50_ms: Option<f64>,
    write_p99_ms: Option<f64>,
    writes_per_s: f64,
}

pub(crate) async fn run(options: &Lag, interrupt: &Interrupt) -> ExitCode {
    let report = LagReport {
        found: Found::default(),
        masters: options.masters,
        rate: options.rate,
        seconds: options.seconds,
        store: options.store,
        setting: Setting::new(&options.common, options.writing),
    };
    let (setting, output) = (report.setting.text(), options.common.output);
    measured("lag", &setting, output, interrupt, report, async |progress, report| {
        let (common, namespace) = (&options.common, &report.setting.namespace);
        let mut group = Group::open(common, namespace, options.store, options.masters).await?;
        let outcome = measure(&mut group, options, progress, &mut report.found).await;
        group.end().await;
        outcome
    })
    .await
}

async fn measure(
    group: &mut Group,
    options: &Lag,
    progress: &Progress,
    report: &mut Found,
) -> Result<(), BenchError> {
    group.launch(options.masters).await?;
    let noise = Arc::new(Noise::new(options.common.seed, options.writing));
    idle(group, options, &noise, progress, report).await?;
    let load = Arc::new(Load {
        masters: group.masters.clone(),
        noise,
        pace: Pace::new(options.rate, Arrears::Kept),
        writes: u64::from(options.rate) * u64::from(options.seconds),
        sampled: (u64::from(options.rate) / SAMPLES_PER_S).max(1),
        waiting: Arc::new(Semaphore::new(WAITING_MAX as usize)),
        seen: Arc::default(),
        latencies: Mutex::default(),
        left_out: AtomicU64::new(0),
    });
    let phase = progress.phase("load", "writes", load.writes);
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for task in 0..u64::from(options.writing.tasks) {
        writers.spawn(load.clone().run(options.common.seed ^ task));
    }
    let mut look = tokio::time::interval(Duration::from_millis(200));
    while !writers.is_empty() {
        tokio::select! {
            Some(written) = writers.join_next() => written.expect("writers do not panic")?,
            _ = look.tick() => phase.reach(lock(&load.latencies).len() as u64, ""),
        }
    }
    let took = began.elapsed();
    phase.finish();
    drop(load.waiting.acquire_many(WAITING_MAX).await);
    report.measured(&load, took);
    group.settled().await?;
    group.check().await
}

/// Single writes, and in turn with them round trips of a plain client.
async fn idle(
    group: &Group,
    options: &Lag,
    noise: &Noise,
    progress: &Progress,
    report: &mut Found,
) -> Result<(), BenchError> {
    let plain = match options.common.server() {
        Some(server) => Some(RoundTrips::open(&server, &group.namespace).await?),
        None => None,
    };
    let phase = progress.phase("idle", "writes", IDLE_WRITES as u64);
    let mut random = StdRng::seed_from_u64(options.common.seed);
    let (mut visible, mut trips) = (Samples::default(), Samples::default());
    for number in 0..IDLE_WRITES {
        tokio::time::sleep(IDLE_PAUSE).await;
        let (key, value) = noise.next(&mut random);
        if let Some(plain) = &plain {
            trips.add(plain.one(value).await?);
            tokio::time::sleep(IDLE_PAUSE).await;
        }
        let (here, there) = (&group.masters[number % 2], &group.masters[1 - number % 2]);
        let called = Instant::now();
        let token = here.write(key, value).await.map_err(refused)?.token;
        there.wait_for(&token, GIVE_UP).await;
        visible.add(called.elapsed());
        phase.step();
    }
    phase.finish();
    report.idle_visible_p50_ms = visible.percentile_ms(50.0);
    report.round_trip_p50_ms = trips.percentile_ms(50.0);
    let both = report.idle_visible_p50_ms.zip(report.round_trip_p50_ms);
    report.idle_ratio = both.and_then(|(visible, trip)| super::ratio(visible, trip));
    Ok(())
}

/// Writers, and what they measure.
struct Load {
    masters: Vec<MultiMasterManager>,
    noise: Arc<Noise>,
    pace: Pace,
    writes: u64,
    /// Of so many writes one is measured.
    sampled: u64,
    waiting: Arc<Semaphore>,
    seen: Arc<Mutex<Samples>>,
    latencies: Mutex<Samples>,
    left_out: AtomicU64,
}

impl Load {
    async fn run(self: Arc<Self>, seed: u64) -> Result<(), BenchError> {
        let mut random = StdRng::seed_from_u64(seed);
        loop {
            let (number, due) = self.pace.take();
            if number >= self.writes {
                return Ok(());
            }
            tokio::time::sleep_until(due).await;
            let at = usize::try_from(number).unwrap_or_default() % self.masters.len();
            let (key, value) = self.noise.next(&mut random);
            let token = self.masters[at].write(key, value).await.map_err(refused)?.token;
            let acknowledged = Instant::now();
            lock(&self.latencies).add(acknowledged.saturating_duration_since(due));
            // Of each master in turn.
            if number % self.sampled == (number / self.sampled) % self.masters.len() as u64 % self.sampled {
                self.sample(at, &token, acknowledged);
            }
        }
    }

    /// Waits, beside whatever else goes on, until each other master shows the write.
    fn sample(&self, at: usize, token: &SessionToken, acknowledged: Instant) {
        for (_, master) in self.masters.iter().enumerate().filter(|(other, _)| *other != at) {
            let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let (master, token, seen) = (master.clone(), token.clone(), self.seen.clone());
            tokio::spawn(async move {
                master.wait_for(&token, GIVE_UP).await;
                lock(&seen).add(acknowledged.elapsed());
                drop(permit);
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Found {
    fn measured(&mut self, load: &Load, took: Duration) {
        let (seen, latencies) = (lock(&load.seen), lock(&load.latencies));
        self.p50_ms = seen.percentile_ms(50.0);
        self.p99_ms = seen.percentile_ms(99.0);
        self.p999_ms = seen.percentile_ms(99.9);
        self.max_ms = seen.percentile_ms(100.0);
        self.samples = seen.len();
        self.samples_left_out = load.left_out.load(Ordering::Relaxed);
        self.write_p50_ms = latencies.percentile_ms(50.0);
        self.write_p99_ms = latencies.percentile_ms(99.0);
        self.writes_per_s = per_second(latencies.len() as u64, took);
    }
}

impl Report for LagReport {
    fn has_results(&self) -> bool {
        self.found.samples > 0
    }

    fn text(&self) -> String {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.2} ms"));
        format!(
            "idle:   {} round trips until another master shows a write: {} against {}\n\
             lag:    median {}, 99 % within {}, 99.9 % within {}, at most {}; {} samples\n\
             writes: {:.0} a second of {} asked for; median {}, 99 % within {}, from when they were due",
            shown(self.found.idle_ratio),
            ms(self.found.idle_visible_p50_ms),
            ms(self.found.round_trip_p50_ms),
            ms(self.found.p50_ms),
            ms(self.found.p99_ms),
            ms(self.found.p999_ms),
            ms(self.found.max_ms),
            self.found.samples,
            self.found.writes_per_s,
            self.rate,
            ms(self.found.write_p50_ms),
            ms(self.found.write_p99_ms),
        )
    }
}
