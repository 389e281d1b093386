//! One master as the soak sees it: a child that can be killed, paused, copied and started again.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use archipelago::{SessionToken, clock::VersionVector};
use tokio::sync::RwLock;

use crate::{
    broker::Way,
    disk::{copy, disk_bytes},
    failure::{Failure, Outcome},
    link::Link,
    process::Process,
    protocol::{Answer, Counted, Held, MasterOptions, Read, Reclaimable, Request, Status, Write, Written},
    scene::{Disk, Node},
};

/// How many entities are asked for at once.
const PAGE: usize = 500;

type MasterLink = Link<Request, Answer>;

#[derive(Debug)]
pub(crate) struct Island {
    /// The name that people read; a twin's differs from its master's.
    pub(crate) label: String,
    pub(crate) way: Way,
    options: MasterOptions,
    process: Process<Request, Answer>,
    /// Its disk is full: that its store fails is no trouble.
    fails: AtomicBool,
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
    pub(crate) async fn start(label: String, options: MasterOptions, way: Way) -> Outcome<Island> {
        let (process, fails) = (Process::new(label.clone()), AtomicBool::new(false));
        let island = Island { label, way, options, process, fails, gate: Arc::default() };
        island.restart().await?;
        Ok(island)
    }

    pub(crate) fn options(&self) -> &MasterOptions {
        &self.options
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.options.folder
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
        match self.process.link()?.call(request).await {
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
        let Some(link) = self.process.alive().await else { return Err(NotAcknowledged::Ended) };
        match link.call(Request::Write(write)).await {
            Some(Answer::Written(written)) => Ok(written),
            Some(Answer::Refused { outcome_unknown: true, .. }) if self.fails.load(Ordering::Relaxed) => {
                // It refuses everything until it is started again.
                self.process.is_over(&link).await;
                Err(NotAcknowledged::Unknown)
            }
            Some(Answer::Refused { reason, outcome_unknown: true }) => {
                Err(NotAcknowledged::StoreFailed(reason))
            }
            Some(Answer::Refused { reason, .. }) => Err(NotAcknowledged::Refused(reason)),
            Some(other) => Err(NotAcknowledged::Refused(format!("unexpected answer {other:?}"))),
            None if self.process.is(&link) => Err(NotAcknowledged::Ended),
            None => Err(NotAcknowledged::Unknown),
        }
    }

    /// What a session sees; `None` if nothing was read, as the master does not run or lacks what the session has seen.
    pub(crate) async fn read(&self, read: Read) -> Option<(Option<u64>, SessionToken)> {
        match self.process.link().ok()?.call(Request::Read(read)).await? {
            Answer::Seen { number, seen } => Some((number, seen)),
            _ => None,
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

    /// How much memory its process has used at most, in bytes; `None` where the system does not tell.
    pub(crate) fn memory_bytes_max(&self) -> Option<u64> {
        let id = self.process.link().ok()?.process_id();
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

impl Node for Island {
    fn name(&self) -> &str {
        &self.label
    }

    fn folder(&self) -> &Path {
        &self.options.folder
    }

    fn way(&self) -> &Way {
        &self.way
    }

    async fn kill(&self) -> Outcome {
        self.process.kill().await
    }

    async fn close(&self) {
        self.process.close(Request::Close).await;
    }

    async fn restart(&self) -> Outcome {
        if self.process.is_running() {
            return Ok(());
        }
        let link = spawn()?;
        self.started(link.call(Request::Start(self.options.clone())).await)?;
        self.process.lives(link);
        Ok(())
    }

    fn pause(&self) -> Outcome {
        self.process.pause()
    }

    fn resume(&self) -> Outcome {
        self.process.resume()
    }

    fn process_id(&self) -> Outcome<i32> {
        Ok(self.process.link()?.process_id())
    }

    async fn set_clock(&self, offset_ms: i64) -> Outcome {
        self.tell(Request::SetClock { offset_ms }).await
    }

    fn foresee(&self, disk: Disk) {
        self.fails.store(disk == Disk::Full, Ordering::Relaxed);
    }

    async fn store_failed(&self) -> Outcome<Option<String>> {
        Ok(self.status().await?.told.store_failed)
    }
}
