use std::{
    path::Path,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    group::{Group, Noise},
    options::Redis,
    ratio,
    report::{Report, Setting, measured},
    shown,
};
use crate::{
    bench::{BenchError, options::StoreKind, report::per_second},
    interrupt::Interrupt,
    progress::Progress,
};

/// How long servers may take to answer, and to be one's replica.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Writes that do not count.
const WARM_UP_SHARE: u64 = 20;

/// The outcome of `bench redis`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RedisReport {
    #[serde(flatten)]
    found: Found,
    masters: u16,
    writes: u64,
    depth: u32,
    #[serde(flatten)]
    setting: Setting,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
struct Found {
    /// Ours with memory stores over Redis without persistence: above 1 ours is faster.
    ratio: Option<f64>,
    /// Ours synced before each acknowledgement, over Redis that appends to a file and syncs it each second.
    ratio_durable: Option<f64>,
    events_per_s: f64,
    baseline_redis_writes_per_s: f64,
    durable_events_per_s: f64,
    baseline_redis_durable_writes_per_s: f64,
}

pub(crate) async fn run(options: &Redis, interrupt: &Interrupt) -> ExitCode {
    let report = RedisReport {
        found: Found::default(),
        masters: options.masters,
        writes: options.writes,
        depth: options.depth,
        setting: Setting::bulk(&options.common, options.bulk),
    };
    let (setting, output) = (report.setting.text(), options.common.output);
    measured("redis", &setting, output, interrupt, report, async |progress, report| {
        measure(options, &report.setting.namespace, progress, &mut report.found).await
    })
    .await
}

async fn measure(
    options: &Redis,
    namespace: &str,
    progress: &Progress,
    report: &mut Found,
) -> Result<(), BenchError> {
    for store in [StoreKind::Memory, StoreKind::Fjall] {
        let phase = progress.phase("redis", "writes", options.writes);
        let redis = Pair::start(store == StoreKind::Fjall).await?;
        redis.write(options, (options.writes / WARM_UP_SHARE).max(1), options.common.seed).await?;
        let took = redis.write(options, options.writes, options.common.seed + 1).await?;
        phase.finish();
        drop(redis);
        let theirs = per_second(options.writes, took);
        let namespace = format!("{namespace}-{}", if store == StoreKind::Memory { "m" } else { "f" });
        let mut group = Group::open(&options.common, &namespace, store, options.masters).await?;
        let measured = ours(&mut group, options, progress).await;
        group.end().await;
        let ours = per_second(options.writes, measured?);
        match store {
            StoreKind::Memory => {
                (report.events_per_s, report.baseline_redis_writes_per_s) = (ours, theirs);
                report.ratio = ratio(ours, theirs);
            }
            StoreKind::Fjall => {
                (report.durable_events_per_s, report.baseline_redis_durable_writes_per_s) = (ours, theirs);
                report.ratio_durable = ratio(ours, theirs);
            }
        }
    }
    Ok(())
}

async fn ours(group: &mut Group, options: &Redis, progress: &Progress) -> Result<Duration, BenchError> {
    group.launch(options.masters).await?;
    let phase = progress.phase("ours", "writes", options.writes);
    let seed = options.common.seed;
    group.write((options.writes / WARM_UP_SHARE).max(1), options.bulk, seed, &phase).await?;
    let took = group.write(options.writes, options.bulk, seed + 1, &phase).await?;
    phase.finish();
    group.check().await?;
    Ok(took)
}

/// A primary and its replica, in a folder of their own. They are killed when they are dropped.
struct Pair {
    port: u16,
    _processes: [Child; 2],
    _folder: TempDir,
}

fn failed(reason: impl std::fmt::Display) -> BenchError {
    BenchError::Baseline { reason: reason.to_string() }
}

impl Pair {
    async fn start(is_durable: bool) -> Result<Pair, BenchError> {
        let folder = tempfile::tempdir()
            .map_err(|source| BenchError::Folder { folder: std::env::temp_dir(), source })?;
        let (primary, port) = launch(&folder.path().join("primary"), is_durable, None).await?;
        let (replica, _) = launch(&folder.path().join("replica"), is_durable, Some(port)).await?;
        let pair = Pair { port, _processes: [primary, replica], _folder: folder };
        let deadline = Instant::now() + START_TIMEOUT;
        let mut connection = Connection::open(port).await?;
        while !connection.ask("INFO replication\r\n").await?.contains("state=online") {
            if Instant::now() > deadline {
                return Err(failed("the replica of Redis did not come up"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(pair)
    }

    /// Sets so many keys over as many connections as there are masters; how long until the replica has acknowledged them.
    async fn write(&self, options: &Redis, writes: u64, seed: u64) -> Result<Duration, BenchError> {
        let noise = Arc::new(Noise::new(seed, options.bulk.writing));
        let mut connections = Vec::new();
        for _ in 0..options.masters {
            connections.push(Connection::open(self.port).await?);
        }
        let started = Instant::now();
        let mut writers = JoinSet::new();
        let clients = u64::from(options.masters);
        for (client, connection) in (0..clients).zip(connections) {
            let share = writes / clients + u64::from(client < writes % clients);
            let random = StdRng::seed_from_u64(seed ^ (client << 32));
            writers.spawn(connection.set_all(noise.clone(), random, share, options.depth));
        }
        while let Some(written) = writers.join_next().await {
            written.map_err(failed)??;
        }
        Ok(started.elapsed())
    }
}

/// Starts a server on a port that is free, and waits until it answers.
async fn launch(folder: &Path, is_durable: bool, primary: Option<u16>) -> Result<(Child, u16), BenchError> {
    std::fs::create_dir(folder).map_err(|source| BenchError::Folder { folder: folder.to_owned(), source })?;
    // It takes no port 0. Should somebody else be faster to take this one, the server ends, and that is told.
    let port =
        TcpListener::bind("127.0.0.1:0").await.and_then(|free| free.local_addr()).map_err(failed)?.port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
    command.args(["--appendonly", if is_durable { "yes" } else { "no" }, "--appendfsync", "everysec"]);
    if let Some(primary) = primary {
        command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut process = command.spawn().map_err(|error| {
        failed(format!("redis-server does not start: {error}; is it installed, and on the PATH?"))
    })?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Ok(mut connection) = Connection::open(port).await
            && connection.ask("PING\r\n").await.is_ok_and(|answer| answer.starts_with("+PONG"))
        {
            return Ok((process, port));
        }
        if process.try_wait().map_err(failed)?.is_some() || Instant::now() > deadline {
            return Err(failed("redis-server does not answer"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// A connection, and what it takes of the protocol: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(port: u16) -> Result<Connection, BenchError> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Connection(BufReader::with_capacity(64 * 1024, stream)))
    }

    /// The answer to one command: a line, or what a line announces.
    async fn ask(&mut self, command: &str) -> Result<String, BenchError> {
        self.0.write_all(command.as_bytes()).await.map_err(failed)?;
        let mut line = String::new();
        self.0.read_line(&mut line).await.map_err(failed)?;
        let Some(length) = line.strip_prefix('$') else { return Ok(line) };
        let mut text = vec![0; length.trim().parse::<usize>().map_err(failed)? + 2];
        self.0.read_exact(&mut text).await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sets so many keys, with so many commands under way at a time, and waits until the replica has them.
    async fn set_all(
        self,
        noise: Arc<Noise>,
        mut random: StdRng,
        writes: u64,
        depth: u32,
    ) -> Result<(), BenchError> {
        let (reads, sends) = tokio::io::split(self.0);
        let (mut reads, mut sends) = (BufReader::new(reads), BufWriter::with_capacity(64 * 1024, sends));
        let under_way = Arc::new(Semaphore::new(depth as usize));
        let answers = under_way.clone();
        let reading = tokio::spawn(async move {
            for _ in 0..writes {
                let mut line = String::new();
                reads.read_line(&mut line).await.map_err(failed)?;
                if line != "+OK\r\n" {
                    return Err(failed(format!("Redis answers {:?}", line.trim())));
                }
                answers.add_permits(1);
            }
            Ok(reads)
        });
        for _ in 0..writes {
            if under_way.available_permits() == 0 {
                sends.flush().await.map_err(failed)?;
            }
            under_way.acquire().await.map_err(failed)?.forget();
            let (key, value) = noise.next(&mut random);
            let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len());
            sends.write_all(head.as_bytes()).await.map_err(failed)?;
            sends.write_all(value.as_bytes()).await.map_err(failed)?;
            sends.write_all(b"\r\n").await.map_err(failed)?;
        }
        sends.flush().await.map_err(failed)?;
        let mut reads = reading.await.map_err(failed)??;
        sends.write_all(b"WAIT 1 60000\r\n").await.map_err(failed)?;
        sends.flush().await.map_err(failed)?;
        let mut line = String::new();
        reads.read_line(&mut line).await.map_err(failed)?;
        match line.trim() {
            ":1" => Ok(()),
            other => Err(failed(format!("the replica of Redis did not acknowledge: {other:?}"))),
        }
    }
}

impl Report for RedisReport {
    fn has_results(&self) -> bool {
        self.found.events_per_s > 0.0
    }

    fn text(&self) -> String {
        format!(
            "ratio:   {} times Redis with a replica, in memory; {} times, durable\n\
             memory:  {:.0} events a second against {:.0} of Redis\n\
             durable: {:.0}, each synced, against {:.0} of Redis that syncs once a second",
            shown(self.found.ratio),
            shown(self.found.ratio_durable),
            self.found.events_per_s,
            self.found.baseline_redis_writes_per_s,
            self.found.durable_events_per_s,
            self.found.baseline_redis_durable_writes_per_s,
        )
    }
}
