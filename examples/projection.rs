//! Feeds a projection into SQLite, exactly once by effect:
//! `cargo run -p archipelago-examples --features sqlite --example projection`.
//!
//! The subscriber's checkpoint lies in the same database as the projection, and one transaction changes both. So
//! whenever the process ends, the next one goes on with exactly the events that took no effect yet. The test below kills
//! it again and again, and counts.
//!
//! The example has everything in one program; `follow` is what a program of its own would do.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use archipelago::{
    BatchDelivery, Checkpoint, CheckpointMode,
    pipeline::Pipeline,
    prelude::*,
    proto::{Limits, Op, decode_value},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The latest value of each entity, and how many entities there are by the prefix of their ids.
struct Projection(Connection);

impl Projection {
    fn open(path: &Path) -> Result<Projection, Error> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS entity (
                 id TEXT PRIMARY KEY, value TEXT, hlc TEXT NOT NULL, master TEXT NOT NULL, writes INTEGER NOT NULL
             );
             CREATE TABLE IF NOT EXISTS prefix (name TEXT PRIMARY KEY, entities INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), bytes BLOB NOT NULL);",
        )?;
        Ok(Projection(connection))
    }

    /// Where the last life came to.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let row = self.0.query_row("SELECT bytes FROM checkpoint", [], |row| row.get::<_, Vec<u8>>(0));
        Ok(row.optional()?.map(|bytes| Checkpoint::decode(&bytes)).transpose()?)
    }

    /// The effects and the checkpoint that stands for them: both or neither.
    fn apply(&mut self, delivery: &BatchDelivery) -> Result<(), Error> {
        let transaction = self.0.transaction()?;
        for logged in &delivery.events {
            let event = &logged.event;
            let value = match &event.op {
                Op::Put(bytes) => Some(decode_value::<Value>(bytes, &Limits::default())?.to_string()),
                Op::Delete => None,
                Op::Patch(_) => return Err("single fields are written under other strategies only".into()),
            };
            write(&transaction, &event.entity, value, &event.hlc.to_string(), &event.dot.actor.to_string())?;
        }
        transaction.execute(
            "INSERT INTO checkpoint VALUES (1, ?1) ON CONFLICT DO UPDATE SET bytes = ?1",
            [delivery.checkpoint.encode()],
        )?;
        Ok(transaction.commit()?)
    }

    fn text(&self, sql: &str) -> Result<Vec<String>, Error> {
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Last writer wins, as in the masters: events of different masters may come in another order than they were stamped.
fn write(
    transaction: &Transaction<'_>,
    id: &str,
    value: Option<String>,
    hlc: &str,
    master: &str,
) -> Result<(), Error> {
    let live = |transaction: &Transaction<'_>| {
        let row = transaction
            .query_row("SELECT value IS NOT NULL FROM entity WHERE id = ?1", [id], |row| row.get(0));
        row.optional().map(Option::unwrap_or_default)
    };
    let before: bool = live(transaction)?;
    transaction.execute(
        "INSERT INTO entity VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT DO UPDATE SET value = ?2, hlc = ?3, master = ?4
         WHERE (?3, ?4) > (hlc, master)",
        params![id, value, hlc, master],
    )?;
    transaction.execute("UPDATE entity SET writes = writes + 1 WHERE id = ?1", [id])?;
    let change = i64::from(live(transaction)?) - i64::from(before);
    let prefix = id.split('/').next().unwrap_or_default();
    transaction.execute(
        "INSERT INTO prefix VALUES (?1, ?2) ON CONFLICT DO UPDATE SET entities = entities + ?2",
        params![prefix, change],
    )?;
    Ok(())
}

/// Starts a subscriber that keeps the projection in the file up to date. `told` hears of each batch that took effect.
async fn follow(
    namespace: &str,
    pipeline: impl Pipeline,
    path: &Path,
    told: impl Fn(usize) + Send + Sync + 'static,
) -> Result<EventSubscriber, Error> {
    let projection = Projection::open(path)?;
    let checkpoint = projection.checkpoint()?;
    let (projection, told) = (Arc::new(Mutex::new(projection)), Arc::new(told));
    let subscriber = EventSubscriber::builder()
        .namespace(namespace)
        .pipeline(pipeline)
        .checkpoint_mode(CheckpointMode::Manual)
        .resume_from(checkpoint)
        .on_batch(move |delivery| {
            let (projection, told) = (projection.clone(), told.clone());
            async move {
                // SQLite blocks.
                let applying = tokio::task::spawn_blocking(move || {
                    projection.lock().unwrap_or_else(PoisonError::into_inner).apply(&delivery)?;
                    told(delivery.events.len());
                    Ok(())
                });
                applying.await?
            }
        });
    Ok(subscriber.start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let broker = MemoryBroker::default();
    let master = MultiMasterManager::builder()
        .master_id("us-east")
        .namespace("harbour")
        .store(MemoryStore::new())
        .pipeline(broker.pipeline("harbour"))
        .start()
        .await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("projection.db");

    for life in 1..=2 {
        let pipeline = broker.pipeline("harbour");
        let subscriber =
            follow("harbour", pipeline, &path, move |events| println!("life {life}: {events} events"))
                .await?;
        for number in 0..5 {
            master.write(format!("boat/{number}"), &format!("seen in life {life}")).await?;
            master.write(format!("buoy/{number}"), "lit").await?;
        }
        let last = master.delete(format!("buoy/{life}")).await?.dot;
        assert!(subscriber.wait_for(|checkpoint| checkpoint.contains(&last)).await);
        subscriber.close().await?;
    }

    let projection = Projection::open(&path)?;
    let counts = projection.text("SELECT name || ': ' || entities FROM prefix ORDER BY name")?;
    println!("{counts:?}");
    assert_eq!(counts, ["boat: 5", "buoy: 4"]);
    let latest = projection.text("SELECT id || ' = ' || value FROM entity WHERE id = 'boat/3'")?;
    println!("{latest:?}");
    assert!(latest[0].ends_with(r#"= "seen in life 2""#), "{latest:?}");
    assert_eq!(projection.text("SELECT CAST(SUM(writes) AS TEXT) FROM entity")?, ["22"]);
    master.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}

#[cfg(test)]
mod killed {
    //! The process is killed in the middle, again and again: each event takes effect exactly once.

    use std::{
        env,
        io::{BufRead, BufReader, Write, stdout},
        process::{Command, Stdio},
        time::Duration,
    };

    use archipelago_testkit::nats::NatsServer;

    use super::*;

    const CHILD_URL: &str = "ARCHIPELAGO_PROJECTION_URL";
    const CHILD_PATH: &str = "ARCHIPELAGO_PROJECTION_PATH";
    const APPLIED: &str = "applied ";
    const WRITES: u64 = 15_000;
    const ENTITIES: u64 = 60;

    /// Not a test of its own: the process that is killed.
    #[tokio::test(flavor = "multi_thread")]
    async fn child() {
        let (Ok(url), Ok(path)) = (env::var(CHILD_URL), env::var(CHILD_PATH)) else { return };
        println!();
        let pipeline = NatsPipeline::connect(NatsConfig::new(url, "harbour")).await.expect("the server runs");
        let tell = |events| {
            let mut stdout = stdout().lock();
            writeln!(stdout, "{APPLIED}{events}").and_then(|()| stdout.flush()).expect("the parent reads");
        };
        let subscriber = follow("harbour", pipeline, Path::new(&path), tell).await.expect("sound options");
        let ended = subscriber.stopped().await;
        panic!("it should not end by itself: {ended:?}");
    }

    /// Runs the child until it has applied so many batches, or all that is left, and kills it a moment later. The
    /// moment differs from life to life, so that they end at all points of what the child does over and over.
    fn live(url: &str, path: &Path, batches: usize, moment: Duration) {
        let mut child = Command::new(env::current_exe().expect("this test has a path"))
            .args(["--exact", "killed::child", "--nocapture"])
            .env(CHILD_URL, url)
            .env(CHILD_PATH, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test runs");
        // Kept until the child is gone: what it says must have somewhere to go.
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut seen = 0;
        while seen < batches && writes(path) < WRITES {
            let line = lines.next().expect("it lives").expect("it says text");
            seen += usize::from(line.starts_with(APPLIED));
        }
        std::thread::sleep(moment);
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
    }

    fn writes(path: &Path) -> u64 {
        let projection = Projection::open(path).expect("a sound database");
        let sum = projection.text("SELECT CAST(COALESCE(SUM(writes), 0) AS TEXT) FROM entity");
        sum.expect("a sound database")[0].parse().expect("a number")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_event_takes_effect_once_although_the_process_is_killed() {
        let server = NatsServer::start().await.expect("a nats-server");
        let pipeline =
            NatsPipeline::connect(NatsConfig::new(server.url(), "harbour")).await.expect("it runs");
        let master = MultiMasterManager::builder().master_id("us-east").namespace("harbour");
        let master = master.store(MemoryStore::new()).pipeline(pipeline).start().await.expect("a store");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("projection.db");

        let writing = {
            let master = master.clone();
            tokio::spawn(async move {
                for number in 0..WRITES {
                    master.write(format!("boat/{}", number % ENTITIES), &number).await.expect("a write");
                }
            })
        };
        let (url, database) = (server.url(), path.clone());
        let killing = tokio::task::spawn_blocking(move || {
            let mut killed_amid = 0;
            for life in 0..30 {
                live(&url, &database, 1, Duration::from_micros(150 * life));
                killed_amid += usize::from(writes(&database) < WRITES);
            }
            assert!(killed_amid >= 10, "only {killed_amid} lives ended before everything was handled");
            while writes(&database) < WRITES {
                live(&url, &database, 50, Duration::ZERO);
            }
            let projection = Projection::open(&database).expect("a sound database");
            projection.checkpoint().expect("sound").expect("there is one")
        });
        writing.await.expect("every write is acknowledged");
        let checkpoint = killing.await.expect("no panic");
        assert_eq!(checkpoint.vector(), &master.vector_clock());

        let projection = Projection::open(&path).expect("a sound database");
        for entity in 0..ENTITIES {
            let id = format!("boat/{entity}");
            let row =
                projection.text(&format!("SELECT writes || ' ' || value FROM entity WHERE id = '{id}'"));
            let latest = master.read::<u64>(id.as_str()).await.expect("open").expect("it was written");
            let times = WRITES / ENTITIES;
            assert_eq!(row.expect("a sound database"), [format!("{times} {latest}")], "{id}");
        }
        let counts =
            projection.text("SELECT name || ': ' || entities FROM prefix").expect("a sound database");
        assert_eq!(counts, [format!("boat: {ENTITIES}")]);
        master.close().await.expect("a sound store");
    }
}
