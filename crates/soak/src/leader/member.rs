use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    broker::Way,
    protocol::{Answer, NodeOptions, Request, Status, Told},
};
use crate::{
    failure::{Failure, Outcome},
    link::Link,
};

/// How long a child may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
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
    /// `None` while it is killed.
    link: watch::Sender<Option<Arc<NodeLink>>>,
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
        let member =
            Member { at, options, way, link: watch::Sender::new(None), told: Arc::default(), leading };
        member.restart().await?;
        Ok(member)
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    pub(crate) fn is_running(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(&self) -> Outcome {
        let Some(link) = self.link.send_replace(None) else { return Ok(()) };
        link.kill().await.map_err(Failure::broken("kill a node"))
    }

    /// Starts it on its folder, if it does not run.
    pub(crate) async fn restart(&self) -> Outcome {
        if self.is_running() {
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
        self.link.send_replace(Some(Arc::new(link)));
        Ok(())
    }

    fn link(&self) -> Outcome<Arc<NodeLink>> {
        let link = self.link.borrow().clone();
        link.ok_or_else(|| Failure::Broken(format!("{} does not run", self.name())))
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) -> Outcome {
        self.link()?.pause().map_err(Failure::broken("pause a node"))
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Outcome {
        self.link()?.resume().map_err(Failure::broken("resume a node"))
    }

    /// The answer; `Ok(None)` if its process ended before it came. An error if it was not asked.
    pub(crate) async fn call(&self, request: Request) -> Outcome<Option<Answer>> {
        Ok(self.link()?.call(request).await)
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

    /// Ends the node in good order, if it runs.
    pub(crate) async fn close(&self) {
        if let Some(link) = self.link.send_replace(None) {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, link.call(Request::Close)).await;
            let _ = link.kill().await;
        }
    }
}
