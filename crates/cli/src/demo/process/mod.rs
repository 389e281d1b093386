//! A master in a process of its own: the parent's end, and the child's.

mod serve;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

pub(crate) use self::serve::serve;
use super::{
    island::CallError,
    protocol::{Answer, MasterOptions, Request},
};
use crate::child;

type Link = child::Link<Request, Answer>;

/// How long a child may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A child that can be killed and started again.
#[derive(Debug)]
pub(crate) struct Process {
    options: MasterOptions,
    /// `None` while it is killed.
    link: watch::Sender<Option<Arc<Link>>>,
}

impl Process {
    pub(crate) async fn start(options: MasterOptions) -> Result<Process, String> {
        let link = start_link(&options).await?;
        Ok(Process { options, link: watch::Sender::new(Some(Arc::new(link))) })
    }

    pub(crate) fn runs(&self) -> bool {
        self.link.borrow().is_some()
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Answer, CallError> {
        let mut links = self.link.subscribe();
        let current = links.wait_for(Option::is_some).await.map(|link| link.clone());
        let Ok(Some(link)) = current else { return Err(CallError::Ended) };
        match link.call(request).await {
            Some(answer) => Ok(answer),
            // Whoever kills it takes the link away first.
            None if self.link.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, &link)) => {
                Err(CallError::Ended)
            }
            None => Err(CallError::Killed),
        }
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(&self) {
        if let Some(link) = self.link.send_replace(None) {
            link.kill().await;
        }
    }

    pub(crate) async fn restart(&self) -> Result<(), String> {
        let link = start_link(&self.options).await?;
        self.link.send_replace(Some(Arc::new(link)));
        Ok(())
    }

    pub(crate) async fn close(&self) {
        let link = self.link.send_replace(None);
        if let Some(link) = link {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, link.call(Request::Close)).await;
            link.kill().await;
        }
    }
}

async fn start_link(options: &MasterOptions) -> Result<Link, String> {
    let link = Link::spawn("demo-master").map_err(|error| format!("cannot start a process: {error}"))?;
    match link.call(Request::Start(options.clone())).await {
        Some(Answer::Done) => Ok(link),
        Some(Answer::Refused { reason, .. }) => Err(reason),
        Some(other) => Err(format!("unexpected answer {other:?}")),
        None => Err("its process ended".to_owned()),
    }
}
