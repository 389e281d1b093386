//! What all requests share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    config::HttpSection,
    measures::Measures,
    namespace::Namespace,
    problem::{Problem, ProblemType},
    refusals::Refusals,
};

/// What all requests share. A handle.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    /// Where clients reach the node, if it is known.
    address: Option<String>,
    namespaces: BTreeMap<String, Namespace>,
    limits: HttpSection,
    measures: Measures,
    refusals: Refusals,
    streams: Arc<Semaphore>,
    /// Ends what would never end by itself.
    drain: CancellationToken,
    under_way: TaskTracker,
}

impl App {
    pub(crate) fn new(
        name: String,
        address: Option<String>,
        namespaces: BTreeMap<String, Namespace>,
        limits: HttpSection,
        measures: Measures,
    ) -> App {
        App(Arc::new(Shared {
            name,
            address,
            namespaces,
            measures,
            refusals: Refusals::default(),
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            limits,
            drain: CancellationToken::new(),
            under_way: TaskTracker::new(),
        }))
    }

    /// The name of the node.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Where clients reach the node, if it is known.
    pub(crate) fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    pub(crate) fn limits(&self) -> &HttpSection {
        &self.0.limits
    }

    pub(crate) fn measures(&self) -> &Measures {
        &self.0.measures
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn namespaces(&self) -> &BTreeMap<String, Namespace> {
        &self.0.namespaces
    }

    /// # Errors
    /// [`ProblemType::NoSuchNamespace`].
    pub(crate) fn namespace(&self, name: &str) -> Result<&Namespace, Problem> {
        self.0.namespaces.get(name).ok_or_else(|| {
            Problem::new(ProblemType::NoSuchNamespace, format!("this node has no namespace {name:?}"))
        })
    }

    /// The longest that a request may ask to wait.
    pub(crate) fn wait_max(&self) -> Duration {
        Duration::from_millis(self.limits().wait_ms_max)
    }

    /// A place among the streams of changes, until it is dropped.
    ///
    /// # Errors
    /// [`ProblemType::Busy`].
    pub(crate) fn stream_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.streams.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{} streams are open already, http.streams_max", self.limits().streams_max);
            Problem::new(ProblemType::Busy, detail)
        })
    }

    /// A request that is waited for when the node ends.
    ///
    /// # Errors
    /// [`ProblemType::Draining`] if it is ending.
    pub(crate) fn begin(&self) -> Result<TaskTrackerToken, Problem> {
        // First the one and then the other, so that none is missed.
        let under_way = self.0.under_way.token();
        if self.is_draining() {
            return Err(Problem::new(ProblemType::Draining, "this node is ending; ask another one"));
        }
        Ok(under_way)
    }

    /// From here on the node is not ready any more, and finishes what is under way.
    pub(crate) fn drain(&self) {
        self.0.drain.cancel();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.drain.is_cancelled()
    }

    /// Resolves once nothing is under way, if the node drains.
    pub(crate) async fn idle(&self) {
        self.0.under_way.close();
        self.0.under_way.wait().await;
    }

    /// Resolves once the node drains.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.drain.clone().cancelled_owned()
    }
}
