//! One master as the soak sees it: a child that can be killed, paused, copied and started again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use archipelago::clock::VersionVector;
use tokio::sync::{RwLock, watch};

use crate::{
    failure::{Failure, Outcome},
    link::Link,
    protocol::{Answer, Counted, Held, MasterOptions, Reclaimable, Request, Status, Write, Written},
};

/// How long a child may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// How many entities are asked for at once.
const PAGE: usize = 500;

type MasterLink = Link<Request, Answer>;

#[derive(Debug)]
pub(crate) struct Island {
    /// The name that people read; a twin's differs from its master's.
    pub(crate) label: String,
    options: MasterOptions,
    /// `None` while it is killed.
    link: watch::Sender<Option<Arc<MasterLink>>>,
    /// Each write of the load holds it for reading: whoever holds it for writing holds the load off.
    pub(crate) gate: Arc<RwLock<()>>,
}

/// Why a write was not acknowledged.
#[derive(Debug)]
pub(crate) enum NotAcknowledged {
    /// The process was killed before it answered: whether it wrote is unknown.
    Unknown,
    /// The process ended by itself; whether it wrote is unknown.
    Ended,
    /// Nothing was written.
    Refused(String),
    /// The store failed; whether it wrote is unknown.
    StoreFailed(String),
}

impl Island {
    pub(crate) async fn start(label: String, options: MasterOptions) -> Outcome<Island> {
        let island =
            Island { label, options, link: watch::Sender::new(None), gate: Arc::new(RwLock::new(())) };
        island.restart().await?;
        Ok(island)
    }

    pub(crate) fn options(&self) -> &MasterOptions {
        &self.options
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(&self) -> Outcome {
        let Some(link) = self.link.send_replace(None) else { return Ok(()) };
        link.kill().await.map_err(Failure::broken("kill a master"))
    }

    /// Starts it on its folder, if it does not run.
    pub(crate) async fn restart(&self) -> Outcome {
        if self.link.borrow().is_some() {
            return Ok(());
        }
        let link = spawn()?;
        self.started(link.call(Request::Start(self.options.clone())).await)?;
        self.link.send_replace(Some(Arc::new(link)));
        Ok(())
    }

    /// Starts it, and kills it again `after` that, wherever it is in its start.
    pub(crate) async fn restart_and_kill(&self, after: Duration) -> Outcome {
        let link = spawn()?;
        let _ = tokio::time::timeout(after, link.call(Request::Start(self.options.clone()))).await;
        link.kill().await.map_err(Failure::broken("kill a master"))
    }

    fn started(&self, answer: Option<Answer>) -> Outcome {
        let reason = match answer {
            Some(Answer::Done) => return Ok(()),
            Some(Answer::Refused { reason, .. }) => reason,
            Some(other) => format!("unexpected answer {other:?}"),
            None => "its process ended".to_owned(),
        };
        Err(Failure::Broken(format!("{} does not start on {:?}: {reason}", self.label, self.folder())))
    }

    fn link(&self) -> Outcome<Arc<MasterLink>> {
        let link = self.link.borrow().clone();
        link.ok_or_else(|| Failure::Broken(format!("{} does not run", self.label)))
    }

    pub(crate) fn pause(&self) -> Outcome {
        self.link()?.pause().map_err(Failure::broken("pause a master"))
    }

    pub(crate) fn resume(&self) -> Outcome {
        self.link()?.resume().map_err(Failure::broken("resume a master"))
    }

    /// A copy of the folder as a crash at this moment would leave it, while the process stands still.
    pub(crate) async fn copy_folder(&self, to: PathBuf) -> Outcome {
        self.pause()?;
        let from = self.folder().to_owned();
        let copied = tokio::task::spawn_blocking(move || copy(&from, &to)).await;
        self.resume()?;
        copied.map_err(Failure::broken("copy a folder"))?.map_err(Failure::broken("copy a folder"))
    }

    pub(crate) async fn ask(&self, request: Request) -> Outcome<Answer> {
        let failed = |reason: String| Failure::Broken(format!("{}: {reason}", self.label));
        match self.link()?.call(request).await {
            Some(Answer::Refused { reason, .. }) => Err(failed(reason)),
            Some(answer) => Ok(answer),
            None => Err(failed("its process ended".to_owned())),
        }
    }

    pub(crate) async fn tell(&self, request: Request) -> Outcome {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, answer: &Answer) -> Failure {
        Failure::Broken(format!("{}: unexpected answer {answer:?}", self.label))
    }

    /// Writes; a process that was killed is waited for first.
    pub(crate) async fn write(&self, write: Write) -> Result<Written, NotAcknowledged> {
        let mut links = self.link.subscribe();
        let current = links.wait_for(Option::is_some).await.map(|link| link.clone());
        let Ok(Some(link)) = current else { return Err(NotAcknowledged::Ended) };
        match link.call(Request::Write(write)).await {
            Some(Answer::Written(written)) => Ok(written),
            Some(Answer::Refused { reason, outcome_unknown: true }) => {
                Err(NotAcknowledged::StoreFailed(reason))
            }
            Some(Answer::Refused { reason, .. }) => Err(NotAcknowledged::Refused(reason)),
            Some(other) => Err(NotAcknowledged::Refused(format!("unexpected answer {other:?}"))),
            // Whoever kills it takes the link away first.
            None if self.link.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, &link)) => {
                Err(NotAcknowledged::Ended)
            }
            None => Err(NotAcknowledged::Unknown),
        }
    }

    pub(crate) async fn status(&self) -> Outcome<Status> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) async fn digest(&self) -> Outcome<(VersionVector, String)> {
        match self.ask(Request::Digest).await? {
            Answer::Digest { vector, digest } => Ok((vector, digest)),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) async fn reclaimable(&self) -> Outcome<Reclaimable> {
        match self.ask(Request::Reclaimable).await? {
            Answer::Reclaimable(reclaimable) => Ok(reclaimable),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) async fn visible(&self, prefix: &str, limit: usize) -> Outcome<usize> {
        match self.ask(Request::Visible { prefix: prefix.to_owned(), limit }).await? {
            Answer::Visible(count) => Ok(count),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) async fn registers(&self, ids: &[String]) -> Outcome<Vec<Option<Held>>> {
        let mut all = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            match self.ask(Request::Registers { ids: page.to_vec() }).await? {
                Answer::Registers(held) if held.len() == page.len() => all.extend(held),
                other => return Err(self.unexpected(&other)),
            }
        }
        Ok(all)
    }

    pub(crate) async fn crdts(&self, ids: &[String]) -> Outcome<Vec<Option<Counted>>> {
        let mut all = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            match self.ask(Request::Crdts { ids: page.to_vec() }).await? {
                Answer::Crdts(held) if held.len() == page.len() => all.extend(held),
                other => return Err(self.unexpected(&other)),
            }
        }
        Ok(all)
    }

    /// Ends the master in good order, if it runs.
    pub(crate) async fn close(&self) {
        if let Some(link) = self.link.send_replace(None) {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, link.call(Request::Close)).await;
            let _ = link.kill().await;
        }
    }

    /// How much memory its process has used at most, in bytes; `None` where the system does not tell.
    pub(crate) fn memory_bytes_max(&self) -> Option<u64> {
        let id = self.link.borrow().as_ref()?.process_id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// How much the folder takes on the disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk_bytes(self.folder())
    }
}

/// A master tells nothing without being asked.
fn spawn() -> Outcome<MasterLink> {
    Link::spawn(&["master"], drop).map_err(Failure::broken("start a process"))
}

pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// What is taken, not what files claim: journals are preallocated, most of it a hole.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
