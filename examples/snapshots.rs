//! The whole state of a master, somewhere else: made while it goes on writing, checked, restored into a new store without
//! anyone's help, and taken in by a master that joins late.
//!
//! `cargo run --release -p archipelago-examples --example snapshots`, with the number of entities behind `--` if it is to be
//! another than 2,000; it says how long each step takes and how much memory.
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{error::Error, path::Path, sync::Arc, time::Instant};

use archipelago::{
    Durability, FjallStore, MemoryBroker, MultiMasterManager, Notification, SnapshotFolder, SnapshotInfo,
    manager::{
        MultiMasterBuilder,
        snapshot::{restore_snapshot, verify_snapshot},
    },
    pipeline::Pipeline,
    proto::Limits,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NAMESPACE: &str = "people";

fn options(name: &str, folder: &Path) -> Outcome<MultiMasterBuilder> {
    let options = MultiMasterManager::builder().master_id(name).namespace(NAMESPACE);
    Ok(options.store(FjallStore::open(folder.join(name))?).durability(Durability::Os))
}

async fn fill(master: &MultiMasterManager, entities: u64) -> Outcome {
    // Many writes at once share commits.
    let writers = (0..64).map(|writer| {
        let master = master.clone();
        tokio::spawn(async move {
            for n in (writer..entities).step_by(64) {
                let noise = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                master.write(format!("user/{n}"), &format!("name {noise:x}, home {noise:b}")).await?;
            }
            Ok::<_, archipelago::manager::WriteError>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

/// One step, with how long it took and the most memory that the program had meanwhile.
async fn step<T>(what: &str, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    // Linux begins to count anew.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, started) = (memory("VmRSS:"), Instant::now());
    let done = work.await?;
    let peak = memory("VmHWM:");
    println!("{what}: {:.2?}; {before} MiB before, {peak} MiB at most", started.elapsed());
    Ok(done)
}

/// In MiB; 0 where the system does not say.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// A snapshot, while the same master goes on writing.
async fn make(master: &MultiMasterManager, kept: &SnapshotFolder) -> Outcome<SnapshotInfo> {
    let writing = async {
        let mut n = 0_u64;
        loop {
            if let Err(error) = master.write(format!("while/{}", n % 100), &n).await {
                return error;
            }
            n += 1;
        }
    };
    tokio::select! {
        made = master.create_snapshot(kept) => Ok(made?),
        failed = writing => Err(failed.into()),
    }
}

async fn run(entities: u64) -> Outcome {
    let home = tempfile::tempdir()?;
    let kept = SnapshotFolder::new(home.path().join("snapshots"));
    let broker = MemoryBroker::default();
    let us = options("us-east", home.path())?.pipeline(broker.pipeline(NAMESPACE)).start().await?;
    step("written", fill(&us, entities)).await?;

    let info = step("snapshot made", make(&us, &kept)).await?;
    println!(
        "  {} entities in {} chunks, {} of {} bytes",
        info.entities, info.chunks, info.bytes, info.raw_bytes
    );
    let limits = Limits::default();
    step("verified", async { Ok(verify_snapshot(&kept, &info.name, &limits).await?) }).await?;

    // Everything else is gone: a new store comes out of the snapshot alone.
    step("restored", async {
        let store = Arc::new(FjallStore::open(home.path().join("restored"))?);
        restore_snapshot(&kept, &info.name, store.clone(), ("restored", NAMESPACE), &limits).await?;
        Ok(archipelago::store::Store::close(&store)?)
    })
    .await?;
    let restored = step("started", async { Ok(options("restored", home.path())?.start().await?) }).await?;
    let (vector, digest) = restored.state_digest().await?;
    assert_eq!((vector, Some(digest.root())), (info.vector.clone(), info.state_digest));
    restored.close().await?;

    // The log no longer has what the snapshot covers; whoever joins now takes the snapshot, and the rest from there.
    let log = broker.pipeline(NAMESPACE);
    while us.metrics().outbox_len > 0 {
        tokio::task::yield_now().await;
    }
    log.trim(log.state().await?.last_sequence).await?;
    let late = options("late", home.path())?.pipeline(broker.pipeline(NAMESPACE)).snapshots(kept);
    step("joined", async {
        let late = late.start().await?;
        let mut notifications = late.subscribe();
        while let Some(notification) = notifications.next().await {
            if let Notification::SnapshotTaken { name, entities } = notification {
                println!("  joined by {name} with {entities} entities");
                break;
            }
        }
        let token = us.write("hello", "late one").await?.token;
        assert!(late.wait_for(&token, std::time::Duration::from_secs(60)).await);
        assert_eq!(late.state_digest().await?, us.state_digest().await?);
        Ok(late.close().await?)
    })
    .await?;
    Ok(us.close().await.map(drop)?)
}

#[tokio::main]
async fn main() -> Outcome {
    let entities = std::env::args().nth(1).and_then(|given| given.parse().ok());
    run(entities.unwrap_or(2_000)).await
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_state_survives_in_its_snapshot() {
        super::run(2_000).await.expect("it runs");
    }
}
