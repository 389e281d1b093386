use std::{process::ExitCode, sync::Arc, time::Duration};

use archipelago::{FjallStore, MemoryStore, MultiMasterManager};
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use super::{
    fjall::Straight,
    group::{Noise, refused},
    options::{Durable, Local, Writing},
    ratio,
    report::{Report, measured},
    shown,
};
use crate::{
    bench::{BenchError, options::StoreKind, report::per_second},
    folder::Folder,
    interrupt::Interrupt,
    progress::Progress,
};

/// How many tasks write at once.
const TASKS: [u32; 3] = [1, 16, 256];
/// How long writes do not count, at the beginning of each measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// How many of the keys are written together before that.
const FILL_TOGETHER: usize = 1_024;

/// The outcome of `bench local`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LocalReport {
    /// That of 256 tasks at the strongest durability that was measured.
    ratio: Option<f64>,
    runs: Vec<Run>,
    size: u32,
    keys: u32,
    seconds: u32,
    store: StoreKind,
    seed: u64,
}

/// One durability, and one number of tasks.
#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    durability: Durable,
    tasks: u32,
    /// Ours over the baseline: above 1 ours is faster.
    ratio: Option<f64>,
    writes_per_s: f64,
    baseline_fjall_writes_per_s: Option<f64>,
}

pub(crate) async fn run(options: &Local, interrupt: &Interrupt) -> ExitCode {
    let report = LocalReport {
        ratio: None,
        runs: Vec::new(),
        size: options.size,
        keys: options.keys,
        seconds: options.seconds,
        store: options.store,
        seed: options.seed,
    };
    let setting = "one master, without a broker";
    measured("local", setting, options.output, interrupt, report, async |progress, report| {
        measure(options, progress, report).await?;
        report.ratio = report.runs.last().and_then(|run| run.ratio);
        Ok(())
    })
    .await
}

async fn measure(options: &Local, progress: &Progress, report: &mut LocalReport) -> Result<(), BenchError> {
    let durabilities: Vec<Durable> = match (options.durability, options.store) {
        (Some(durability), _) => vec![durability],
        // It gives no more than that.
        (None, StoreKind::Memory) => vec![Durable::Memory],
        (None, StoreKind::Fjall) => Durable::ALL.to_vec(),
    };
    let writing = Writing { size: options.size, keys: options.keys, tasks: 0 };
    let noise = Arc::new(Noise::new(options.seed, writing));
    for durability in durabilities {
        for tasks in TASKS {
            progress.say(format!("{tasks} tasks, durability {durability:?}"));
            let names = [format!("ours-{durability:?}-{tasks}"), format!("baseline-{durability:?}-{tasks}")];
            let folder = match options.store {
                StoreKind::Memory => None,
                StoreKind::Fjall => {
                    Some(Folder::new("archipelago-bench-", options.folder.as_deref(), &names)?)
                }
            };
            let writes_per_s =
                ours(options, &noise, durability, tasks, folder.as_ref().map(|f| f.path.join(&names[0])));
            let writes_per_s = writes_per_s.await?;
            let baseline = match &folder {
                None => None,
                Some(folder) => {
                    let straight = Straight::open(&folder.path.join(&names[1]), durability.into())?;
                    let mut random = StdRng::seed_from_u64(options.seed);
                    for keys in noise.keys().chunks(FILL_TOGETHER) {
                        let puts = keys.iter().map(|key| straight.put(key, noise.value(&mut random)));
                        futures::future::try_join_all(puts).await?;
                    }
                    let put = move |key: String, value: String| {
                        let straight = straight.clone();
                        async move { straight.put(&key, &value).await }
                    };
                    Some(rate(options, &noise, tasks, put).await?)
                }
            };
            report.runs.push(Run {
                durability,
                tasks,
                ratio: baseline.and_then(|baseline| ratio(writes_per_s, baseline)),
                writes_per_s,
                baseline_fjall_writes_per_s: baseline,
            });
        }
    }
    Ok(())
}

async fn ours(
    options: &Local,
    noise: &Arc<Noise>,
    durability: Durable,
    tasks: u32,
    folder: Option<std::path::PathBuf>,
) -> Result<f64, BenchError> {
    let failed = |reason: String| BenchError::Start { node: "master".into(), reason };
    let builder = MultiMasterManager::builder().master_id("master").durability(durability.into());
    let builder = match folder {
        None => builder.store(MemoryStore::new()),
        Some(folder) => builder.store(FjallStore::open(folder).map_err(|error| failed(error.to_string()))?),
    };
    let master = builder.start().await.map_err(|error| failed(error.to_string()))?;
    let writer = master.clone();
    let write = move |key: String, value: String| {
        let master = writer.clone();
        async move { master.write(key, &value).await.map(drop).map_err(refused) }
    };
    let mut random = StdRng::seed_from_u64(options.seed);
    for keys in noise.keys().chunks(FILL_TOGETHER) {
        let values = keys.iter().map(|key| (key.clone(), noise.value(&mut random)));
        for written in master.write_many(values).await {
            written.map_err(refused)?;
        }
    }
    let rate = rate(options, noise, tasks, write).await?;
    master.close().await.map_err(|error| failed(error.to_string()))?;
    Ok(rate)
}

/// How many writes a second so many tasks make.
async fn rate<F>(
    options: &Local,
    noise: &Arc<Noise>,
    tasks: u32,
    write: impl Fn(String, String) -> F + Clone + Send + 'static,
) -> Result<f64, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send,
{
    let begin = Instant::now() + WARM_UP;
    let finish = begin + Duration::from_secs(options.seconds.into());
    let mut writers = JoinSet::new();
    for task in 0..u64::from(tasks) {
        let (noise, write, seed) = (noise.clone(), write.clone(), options.seed ^ task);
        writers.spawn(async move {
            let (mut random, mut counted) = (StdRng::seed_from_u64(seed), 0);
            loop {
                let (key, value) = noise.next(&mut random);
                write(key, value.to_owned()).await?;
                let now = Instant::now();
                if now >= finish {
                    return Ok(counted);
                }
                counted += u64::from(now >= begin);
            }
        });
    }
    let mut counted = 0;
    while let Some(written) = writers.join_next().await {
        counted += written.expect("writers do not panic").map_err(|error: BenchError| error)?;
    }
    Ok(per_second(counted, finish - begin))
}

impl Report for LocalReport {
    fn has_results(&self) -> bool {
        !self.runs.is_empty()
    }

    fn text(&self) -> String {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), |rate| format!("{rate:.0}"));
        let lines = self.runs.iter().map(|run| {
            format!(
                "ratio {:>5}: {:>7.0} writes a second against {:>7} straight into fjall; {} tasks, {:?}\n",
                shown(run.ratio),
                run.writes_per_s,
                rate(run.baseline_fjall_writes_per_s),
                run.tasks,
                run.durability,
            )
        });
        lines.collect::<String>().trim_end().to_owned()
    }
}
