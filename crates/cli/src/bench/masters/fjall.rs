//! The baseline of local writes: the same bytes, straight into fjall.

use std::{path::Path, thread};

use archipelago::Durability;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{mpsc, oneshot};

use crate::bench::BenchError;

/// How many writes may wait for the thread that commits.
const WAITING_MAX: usize = 1_024;
/// How many writes are one batch at most: as many as a master takes into a commit.
const BATCH_MAX: usize = 256;

/// A key, its value, and whoever waits for it.
type Put = (Vec<u8>, Vec<u8>, oneshot::Sender<()>);

/// A database, and the thread that commits to it: all that waits is one batch, and has one sync.
#[derive(Clone, Debug)]
pub(crate) struct Straight(mpsc::Sender<Put>);

fn failed(error: &fjall::Error) -> BenchError {
    BenchError::Baseline { reason: error.to_string() }
}

impl Straight {
    pub(crate) fn open(folder: &Path, durability: Durability) -> Result<Straight, BenchError> {
        let database = Database::builder(folder).open().map_err(|error| failed(&error))?;
        let rows =
            database.keyspace("rows", KeyspaceCreateOptions::default).map_err(|error| failed(&error))?;
        let mode = match durability {
            Durability::Memory => None,
            Durability::Os => Some(PersistMode::Buffer),
            Durability::Fsync => Some(PersistMode::SyncAll),
        };
        let (puts, mut queue) = mpsc::channel::<Put>(WAITING_MAX);
        thread::spawn(move || {
            let mut waiting = Vec::with_capacity(BATCH_MAX);
            while queue.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
                let mut batch = database.batch().durability(mode);
                let mut done = Vec::with_capacity(waiting.len());
                for (key, value, waits) in waiting.drain(..) {
                    batch.insert(&rows, key, value);
                    done.push(waits);
                }
                if let Err(error) = batch.commit() {
                    eprintln!("warning: the baseline failed: {error}");
                    return;
                }
                for waits in done {
                    let _ = waits.send(());
                }
            }
        });
        Ok(Straight(puts))
    }

    /// Returns once it is committed.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), BenchError> {
        let (waits, done) = oneshot::channel();
        let gone = || BenchError::Baseline { reason: "the database failed".into() };
        self.0.send((key.into(), value.into(), waits)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())
    }
}
