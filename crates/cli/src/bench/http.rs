use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    BenchError, memory::rss_mb_of, options::Http, pace::Arrears, pace::Pace, report::HttpReport,
    samples::Samples,
};
use crate::{folder::Folder, progress::Progress};

/// The name of the node, and of its folder.
const NODE: &str = "bench";
/// How long the node may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer than asked for the clients go on, to make the writes that were due.
const ARREARS_MAX: Duration = Duration::from_secs(10);
/// How often the progress is shown, and the memory looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many kinds of failures are told apart.
const ERRORS_MAX: usize = 32;

/// `archipelago serve`, as a child. It is killed when it is dropped.
struct Served {
    process: Child,
    url: String,
}

/// Writers, and what they count.
struct Writing {
    http: reqwest::Client,
    entities: String,
    pace: Pace,
    writes: u64,
    keys: u32,
    size: usize,
    errors: Mutex<BTreeMap<String, u64>>,
    latencies: Mutex<Samples>,
}

/// Writes at a rate, over HTTP, to a node that is a process of its own. `report` is filled in as far as it comes.
pub(crate) async fn run(
    options: &Http,
    progress: &Progress,
    report: &mut HttpReport,
) -> Result<(), BenchError> {
    let folder = Folder::new("archipelago-bench-", options.folder.as_deref(), &[NODE])?;
    let served = Served::start(options, &folder).await?;
    let rss = || served.process.id().and_then(rss_mb_of);
    report.rss_mb.start = rss();
    let writes = u64::from(options.rate) * u64::from(options.seconds);
    let writing = Arc::new(Writing {
        http: client(options.connections)?,
        entities: format!("{}/v1/namespaces/default/entities", served.url),
        pace: Pace::new(options.rate, Arrears::Kept),
        writes,
        keys: options.keys,
        size: options.size as usize,
        errors: Mutex::default(),
        latencies: Mutex::default(),
    });
    let phase = progress.phase("load", "writes", writes);
    let started = Instant::now();
    let until = started + Duration::from_secs(options.seconds.into()) + ARREARS_MAX;
    let mut writers = JoinSet::new();
    for at in 0..options.connections {
        writers.spawn(writing.clone().run(options.seed ^ u64::from(at), until));
    }
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    while !writers.is_empty() {
        tokio::select! {
            Some(_) = writers.join_next() => {}
            _ = look.tick() => {
                let rss = rss();
                report.rss_mb.over_time.extend(rss);
                let message = rss.map(|mb| format!("{mb} MiB")).unwrap_or_default();
                phase.reach(writing.latencies().len() as u64, &message);
            }
        }
    }
    report.rss_mb.end = rss();
    phase.finish();
    let errors = writing.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    report.written(started.elapsed(), &writing.latencies(), errors);
    report.verdict()
}

/// Connections are kept, as many as there are writers.
fn client(connections: u32) -> Result<reqwest::Client, BenchError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(connections as usize);
    builder.build().map_err(|error| not_started(error.to_string()))
}

fn not_started(reason: String) -> BenchError {
    BenchError::Start { node: NODE.to_owned(), reason }
}

impl Served {
    /// A new node that works for itself. But for what is said here it is as it is by default.
    async fn start(options: &Http, folder: &Folder) -> Result<Served, BenchError> {
        let program = std::env::current_exe().map_err(|error| not_started(error.to_string()))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            // The node of this run is not to be that of somebody's environment.
            if name.to_string_lossy().starts_with("ARCHIPELAGO_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--node-name", NODE, "--http-listen", "127.0.0.1:0"]);
        command.args(["--node-durability", options.durability.name()]);
        command.arg("--node-data").arg(folder.path.join(NODE));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| not_started(error.to_string()))?;
        let output = process.stdout.take().ok_or_else(|| not_started("it has no output".into()))?;
        let mut line = String::new();
        let read = timeout(START_TIMEOUT, BufReader::new(output).read_line(&mut line)).await;
        match (read, line.trim().strip_prefix("listening at ")) {
            (Ok(Ok(_)), Some(url)) => Ok(Served { process, url: url.to_owned() }),
            (Err(_), _) => Err(not_started(format!("it does not listen after {START_TIMEOUT:?}"))),
            _ => Err(not_started(format!("it said {:?}", line.trim()))),
        }
    }
}

impl Writing {
    fn latencies(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, seed: u64, until: Instant) {
        let mut random = StdRng::seed_from_u64(seed);
        loop {
            let (number, due) = self.pace.take();
            if number >= self.writes || Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(due).await;
            let key = random.random_range(0..self.keys);
            let text: String = (0..self.size).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
            let put = self.http.put(format!("{}/k{key:09}", self.entities));
            match put.json(&json!({ "number": number, "text": text })).send().await {
                Ok(answer) if answer.status().is_success() => match answer.bytes().await {
                    Ok(_) => self.latencies().add(due.elapsed()),
                    Err(error) => self.failed(&error),
                },
                Ok(answer) => self.count(answer.status().to_string()),
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&self, error: &reqwest::Error) {
        self.count(if error.is_timeout() { "no answer in time".into() } else { error.to_string() });
    }

    fn count(&self, what: String) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let what = if errors.len() < ERRORS_MAX { what } else { "others".to_owned() };
        *errors.entry(what).or_default() += 1;
    }
}
