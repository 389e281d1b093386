//! What a master lacks much of, from a snapshot instead of from another master.

use std::{collections::BTreeSet, sync::Arc};

use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::SnapshotManifest;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};

use super::{SnapshotError, SnapshotProgress, name, reader};
use crate::{
    NotTaken, Notification, metrics,
    repair::staging::{Slot, Staged, StagingError},
    replica::Command,
    shared::Shared,
};

/// How often listeners are told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How many snapshots that are of no use are remembered; beyond that all are looked at anew.
const USELESS_MAX: usize = 256;

/// Looks for a snapshot that has what this master lacks, and takes it in.
pub(crate) struct Joiner {
    pub(crate) shared: Arc<Shared>,
    /// Weak, or the owner of the engine would never see the last handle go.
    pub(crate) commands: mpsc::WeakSender<Command>,
    /// Where snapshots are kept, in the order in which they are tried.
    pub(crate) sources: Vec<Arc<dyn SnapshotStore>>,
    /// From how many lacking writes on a snapshot is looked for.
    pub(crate) threshold: u64,
    pub(crate) bytes_max: u64,
    /// Snapshots that will not be of use here whenever they are tried, by source and name.
    pub(crate) useless: BTreeSet<(usize, String)>,
}

/// Why a snapshot was not taken in.
#[derive(Debug, thiserror::Error)]
enum Skip {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("it was made by masters that resolve conflicts by other rules")]
    OtherStrategies,
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error("this master is closing")]
    Closed,
}

impl Skip {
    /// True if the same snapshot would be skipped the next time as well.
    fn is_lasting(&self) -> bool {
        match self {
            // What is away may come back; what is staged until then stays of use.
            Skip::Snapshot(error) => {
                !matches!(error, SnapshotError::Snapshots(error) if error.is_retryable())
            }
            Skip::OtherStrategies => true,
            Skip::NotTaken(_) | Skip::Staging(_) | Skip::Closed => false,
        }
    }
}

/// A snapshot that may be of use.
struct Candidate {
    source: usize,
    name: String,
    manifest: SnapshotManifest,
}

impl Candidate {
    /// The same content has the same id, wherever it lies.
    fn id(&self) -> String {
        format!("{:032x}", self.manifest.digest())
    }
}

impl Joiner {
    /// Whether a snapshot is worth looking for by whoever lacks so many writes.
    pub(crate) fn is_for(&self, lacks: u64) -> bool {
        !self.sources.is_empty() && lacks >= self.threshold
    }

    /// Takes in the newest snapshot that has something which this master lacks, and can be used; false if there is none.
    /// One of which chunks are here already comes first: it is gone on with behind the last of them.
    pub(crate) async fn join(&mut self) -> bool {
        let mut candidates = self.candidates().await;
        match Staged::<u64>::get(&self.shared, Slot::Snapshot).await {
            Ok(Some(staged)) => candidates.sort_by_key(|candidate| candidate.id() != staged.id()),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "what is staged of a snapshot cannot be read");
                return false;
            }
        }
        for candidate in candidates {
            // What was true of it when it was listed may be no more after the one before.
            if self.shared.vector.borrow().dominates(&candidate.manifest.vector) {
                continue;
            }
            match self.take(&candidate).await {
                Ok(entities) => {
                    let name = candidate.name;
                    tracing::info!(%name, entities, "joined by a snapshot");
                    metrics::add(&self.shared.counters.snapshots_taken, 1);
                    self.shared.notify(Notification::SnapshotTaken { name, entities });
                    return true;
                }
                Err(skip) => self.skip(candidate.source, &candidate.name, &skip),
            }
        }
        false
    }

    /// Forgets what is staged of a snapshot when the log has brought it meanwhile.
    pub(crate) async fn tidy(&self) -> Result<(), StagingError> {
        let Some(staged) = Staged::<u64>::get(&self.shared, Slot::Snapshot).await? else { return Ok(()) };
        let is_known = self.shared.vector.borrow().dominates(staged.vector());
        if is_known { staged.remove().await } else { Ok(()) }
    }

    /// The snapshots that have what this master lacks: source by source, newest first.
    async fn candidates(&mut self) -> Vec<Candidate> {
        if self.useless.len() > USELESS_MAX {
            self.useless.clear();
        }
        let mut candidates = Vec::new();
        for (source, snapshots) in self.sources.clone().into_iter().enumerate() {
            let names = match snapshots.list().await {
                Ok(names) => name::newest_first(names, &self.shared.namespace),
                Err(error) => {
                    tracing::warn!(source, %error, "the snapshots of this source cannot be listed");
                    continue;
                }
            };
            for name in names {
                if self.useless.contains(&(source, name.clone())) {
                    continue;
                }
                match self.manifest(&*snapshots, &name).await {
                    Ok(manifest) if self.shared.vector.borrow().dominates(&manifest.vector) => {}
                    Ok(manifest) => candidates.push(Candidate { source, name, manifest }),
                    Err(skip) => self.skip(source, &name, &skip),
                }
            }
        }
        candidates
    }

    async fn manifest(&self, snapshots: &dyn SnapshotStore, name: &str) -> Result<SnapshotManifest, Skip> {
        let manifest = reader::manifest(snapshots, name, &self.shared.limits).await?;
        if manifest.namespace != self.shared.namespace {
            let (name, expected) = (name.to_owned(), self.shared.namespace.clone());
            let found = manifest.namespace;
            return Err(SnapshotError::ForeignNamespace { name, found, expected }.into());
        }
        let ours = self.shared.strategies.fingerprint();
        if manifest.strategies.is_some_and(|theirs| theirs != ours) {
            return Err(Skip::OtherStrategies);
        }
        Ok(manifest)
    }

    fn skip(&mut self, source: usize, name: &str, skip: &Skip) {
        let reason = skip.to_string();
        tracing::warn!(name, %reason, "a snapshot is of no use; the next source is tried");
        if skip.is_lasting() {
            self.useless.insert((source, name.to_owned()));
        }
        self.shared.notify(Notification::SnapshotSkipped { name: name.to_owned(), reason });
    }

    /// Stages the chunks that are not here yet, and hands all of them over as a whole.
    async fn take(&self, candidate: &Candidate) -> Result<u64, Skip> {
        let staged = match Staged::<u64>::get(&self.shared, Slot::Snapshot).await? {
            Some(staged) if staged.id() == candidate.id() => staged,
            other => {
                if let Some(other) = other {
                    other.remove().await?;
                }
                Staged::begin(&self.shared, Slot::Snapshot, candidate.id(), Default::default())
            }
        };
        let staged = self.stage(candidate, staged).await?;
        let fetched = match staged.fetched().await {
            Err(error) if error.is_damage() => {
                staged.remove().await?;
                return Err(error.into());
            }
            fetched => fetched?,
        };
        let (reply, taken) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or(Skip::Closed)?;
        commands.send(Command::Take { fetched: Box::new(fetched), reply }).await.map_err(|_| Skip::Closed)?;
        let taken = taken.await.map_err(|_| Skip::Closed)?;
        let stays = taken.as_ref().is_err_and(NotTaken::may_pass);
        if !stays {
            staged.remove().await?;
        }
        Ok(taken?)
    }

    async fn stage(&self, candidate: &Candidate, mut staged: Staged<u64>) -> Result<Staged<u64>, Skip> {
        let Candidate { source, name, manifest } = candidate;
        let (snapshots, limits) = (&self.sources[*source], &self.shared.limits);
        let mut told = Instant::now();
        let begin = *staged.place();
        for (index, entry) in
            (begin..).zip(manifest.chunks.iter().skip(begin.try_into().unwrap_or(usize::MAX)))
        {
            let bytes = snapshots.chunk(name, index).await.map_err(SnapshotError::from)?;
            let chunk = reader::check(name, manifest, (index, *entry), bytes, limits)?;
            staged.put(chunk.piece.encode(), &chunk.piece, index + 1, self.bytes_max).await?;
            let is_last = index + 1 == manifest.chunks.len() as u64;
            if is_last && chunk.piece.vector != manifest.vector {
                staged.remove().await?;
                let reason = "its vector is not that of the last chunk";
                return Err(SnapshotError::damaged(name, "the manifest", reason).into());
            }
            if is_last || told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let progress = SnapshotProgress {
                    chunks: index + 1,
                    chunks_in_all: manifest.chunks.len() as u64,
                    entities: staged.entities(),
                    entities_in_all: manifest.entities,
                    bytes: staged.bytes(),
                };
                self.shared.notify(Notification::SnapshotProgress { name: name.clone(), progress });
            }
        }
        Ok(staged)
    }
}
