//! A child through all its lives.

use std::{fmt::Debug, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{
    failure::{Failure, Outcome},
    link::Link,
};

/// How long a child may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// A child that can be killed, paused and started again, and is asked `Q` and answers `A`.
#[derive(Debug)]
pub(crate) struct Process<Q, A> {
    /// The name that people read.
    pub(crate) name: String,
    /// `None` while it is killed.
    link: watch::Sender<Option<Arc<Link<Q, A>>>>,
}

impl<Q: Serialize + Debug, A: DeserializeOwned + Debug + Send + 'static> Process<Q, A> {
    /// It does not run yet.
    pub(crate) fn new(name: String) -> Self {
        Process { name, link: watch::Sender::new(None) }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Begins a life.
    pub(crate) fn lives(&self, link: Link<Q, A>) {
        self.link.send_replace(Some(Arc::new(link)));
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(&self) -> Outcome {
        let Some(link) = self.link.send_replace(None) else { return Ok(()) };
        link.kill().await.map_err(Failure::broken(&format!("kill {}", self.name)))
    }

    /// Ends it in good order, as `close` asks it to, if it runs.
    pub(crate) async fn close(&self, close: Q) {
        if let Some(link) = self.link.send_replace(None) {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, link.call(close)).await;
            let _ = link.kill().await;
        }
    }

    pub(crate) fn link(&self) -> Outcome<Arc<Link<Q, A>>> {
        let link = self.link.borrow().clone();
        link.ok_or_else(|| Failure::Broken(format!("{} does not run", self.name)))
    }

    /// Its life of the moment; a killed one is waited for. `None` if it is never started again.
    pub(crate) async fn alive(&self) -> Option<Arc<Link<Q, A>>> {
        let mut links = self.link.subscribe();
        links.wait_for(Option::is_some).await.ok().and_then(|link| link.clone())
    }

    /// Whether this is its life of the moment: whoever kills it takes the link away first.
    pub(crate) fn is(&self, link: &Arc<Link<Q, A>>) -> bool {
        self.link.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
    }

    /// Waits until this is not its life of the moment.
    pub(crate) async fn is_over(&self, link: &Arc<Link<Q, A>>) {
        let is_other =
            |now: &Option<Arc<Link<Q, A>>>| !now.as_ref().is_some_and(|current| Arc::ptr_eq(current, link));
        let _ = self.link.subscribe().wait_for(is_other).await;
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) -> Outcome {
        self.link()?.pause().map_err(Failure::broken(&format!("pause {}", self.name)))
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Outcome {
        self.link()?.resume().map_err(Failure::broken(&format!("resume {}", self.name)))
    }
}
