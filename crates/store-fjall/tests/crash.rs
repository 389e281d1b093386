//! No acknowledged batch is lost, torn, or left behind a hole when the process is killed at any moment.
//!
//! The parent test runs this test binary again as a child that commits and acknowledges, and kills it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod numbered;

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
};

use archipelago_store::{Durability, Store, StoreError};
use archipelago_store_fjall::FjallStore;

const CHILD_PATH: &str = "ARCHIPELAGO_CRASH_CHILD_PATH";
const CHILD_DURABILITY: &str = "ARCHIPELAGO_CRASH_CHILD_DURABILITY";
const CHILD_BATCH_BYTES: &str = "ARCHIPELAGO_CRASH_CHILD_BATCH_BYTES";
const ACK: &str = "ack ";

#[test]
fn a_killed_process_leaves_every_batch_acknowledged_at_os() {
    kill_and_check("Os", 100, &[1, 400, 37, 2, 153, 90, 5, 251, 1, 20]);
}

#[test]
fn a_killed_process_leaves_every_batch_acknowledged_at_fsync() {
    kill_and_check("Fsync", 100, &[3, 200, 1, 51, 130, 2, 77, 12]);
}

/// Large batches, so that some lives end while tables are flushed and journals rotated in the background.
#[test]
fn a_process_killed_while_flushing_leaves_every_acknowledged_batch() {
    kill_and_check("Os", 1 << 20, &[45, 2, 9]);
}

/// Each life of the child ends when the parent has read so many acknowledgements; how much further the child came
/// meanwhile is up to the scheduler, and is the random part.
fn kill_and_check(durability: &str, batch_bytes: usize, acks_per_life: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut last = 0;
    for &acks in acks_per_life {
        let acknowledged = run_child_until(&path, durability, batch_bytes, acks);
        let store = FjallStore::open(&path).unwrap();
        let found = numbered::last_of_whole_prefix(&store);
        assert!(acknowledged > last, "the child came no further than {last}");
        assert!(found >= acknowledged, "{acknowledged} was acknowledged, {found} is the last one there");
        last = found;
        if acks % 2 == 0 {
            store.close().unwrap();
        }
    }
}

/// The last number that the child acknowledged.
fn run_child_until(path: &Path, durability: &str, batch_bytes: usize, acks: usize) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD_PATH, path)
        .env(CHILD_DURABILITY, durability)
        .env(CHILD_BATCH_BYTES, batch_bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = lines.filter_map(|line| line.strip_prefix(ACK)?.parse().ok());
    let last = acknowledged.by_ref().take(acks).last().expect("the child acknowledges");
    let second = FjallStore::open(path);
    assert!(matches!(second, Err(StoreError::Locked { .. })), "the child has it open: {second:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it managed to say before it died counts as well.
    acknowledged.last().unwrap_or(last)
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(path) = env::var(CHILD_PATH) else { return };
    let durability = match env::var(CHILD_DURABILITY).unwrap().as_str() {
        "Os" => Durability::Os,
        "Fsync" => Durability::Fsync,
        other => panic!("unknown durability {other}"),
    };
    let batch_bytes = env::var(CHILD_BATCH_BYTES).unwrap().parse().unwrap();
    let store = FjallStore::open(path).unwrap();
    let last = numbered::last(&store);
    println!();
    for n in last + 1.. {
        // Every third batch is not acknowledged: it may be lost, but must not leave a hole before the next one.
        let is_acknowledged = n % 3 != 0;
        let durability = if is_acknowledged { durability } else { Durability::Memory };
        store.commit(numbered::batch(n, batch_bytes), durability).unwrap();
        if is_acknowledged {
            let mut stdout = stdout().lock();
            writeln!(stdout, "{ACK}{n}").and_then(|()| stdout.flush()).unwrap();
        }
    }
}
