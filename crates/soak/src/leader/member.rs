use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::protocol::{Answer, NodeOptions, Request, Status, Told};
use crate::{
    broker::Way,
    failure::{Failure, Outcome},
    link::Link,
    process::Process,
    scene::{Disk, Node},
};

/// How long a child may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

type NodeLink = Link<Request, Answer>;

/// Who was promoted last, as far as nodes have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leading {
    /// Its place among the members.
    pub(crate) at: usize,
    /// 0 if nobody ever was.
    pub(crate) term: u64,
}

/// One node as the soak sees it: a child that can be killed, paused and cut off.
#[derive(Debug)]
pub(crate) struct Member {
    at: usize,
    options: NodeOptions,
    pub(crate) way: Way,
    process: Process<Request, Answer>,
    /// In all its lives.
    told: Arc<Mutex<Vec<Told>>>,
    leading: watch::Sender<Leading>,
}

impl Member {
    pub(crate) async fn start(
        at: usize,
        options: NodeOptions,
        way: Way,
        leading: watch::Sender<Leading>,
    ) -> Outcome<Member> {
        let process = Process::new(options.name.clone());
        let member = Member { at, options, way, process, told: Arc::default(), leading };
        member.restart().await?;
        Ok(member)
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// The answer; `Ok(None)` if its process ended before it came. An error if it was not asked.
    pub(crate) async fn call(&self, request: Request) -> Outcome<Option<Answer>> {
        Ok(self.process.link()?.call(request).await)
    }

    pub(crate) async fn status(&self) -> Outcome<Status> {
        let failed = |reason: String| Failure::Broken(format!("{}: {reason}", self.name()));
        match tokio::time::timeout(STATUS_TIMEOUT, self.call(Request::Status)).await {
            Ok(Ok(Some(Answer::Status(status)))) => Ok(*status),
            Ok(Ok(other)) => Err(failed(format!("asked how it is, it answered {other:?}"))),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(failed("it does not say how it is".into())),
        }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn tell(&self, request: Request) -> Outcome {
        match self.call(request).await? {
            Some(Answer::Done) => Ok(()),
            other => Err(Failure::Broken(format!("{}: unexpected answer {other:?}", self.name()))),
        }
    }

    /// Asks it to lead; whether it does is seen by its status.
    pub(crate) async fn promote(&self) -> Outcome {
        self.call(Request::Promote).await.map(drop)
    }
}

impl Node for Member {
    fn name(&self) -> &str {
        self.name()
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
        let (at, told, leading) = (self.at, self.told.clone(), self.leading.clone());
        let hear = move |answer| {
            let Answer::Told(news) = answer else { return };
            if let Told::Promoted { term, .. } = news {
                leading.send_if_modified(|leading| {
                    let is_newer = term > leading.term;
                    if is_newer {
                        *leading = Leading { at, term };
                    }
                    is_newer
                });
            }
            told.lock().unwrap_or_else(PoisonError::into_inner).push(news);
        };
        let link = NodeLink::spawn(&["leader-node"], hear).map_err(Failure::broken("start a process"))?;
        match link.call(Request::Start(self.options.clone())).await {
            Some(Answer::Done) => {}
            other => {
                let reason = format!("{} does not start: {other:?}", self.name());
                return Err(Failure::Broken(reason));
            }
        }
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

    /// What clients are told is recorded either way. What it tells from now on is of the new state.
    fn foresee(&self, _: Disk) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|told| !matches!(told, Told::StoreFailed { .. }));
    }

    async fn store_failed(&self) -> Outcome<Option<String>> {
        let reason = self.told().into_iter().find_map(|told| match told {
            Told::StoreFailed { reason } => Some(reason),
            _ => None,
        });
        Ok(reason)
    }
}
