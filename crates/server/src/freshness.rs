//! How new what a read shows must be.

use std::time::Duration;

use archipelago::{LeaderFollowerManager, leader_follower::ReadConsistency};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    namespace::Running,
    problem::{Problem, ProblemType},
    session::{self, SESSION_HEADER, WAIT_DEFAULT},
};

/// The names of what a read may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConsistencyName {
    /// Whatever this node has.
    Eventual,
    /// All that the session of the request has written and read.
    Session,
    /// All that had been acknowledged `max_staleness_ms` before, or earlier; leader-follower only.
    Bounded,
    /// All that had been acknowledged when the read began; leader-follower only.
    Linearizable,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Freshness {
    pub(crate) wait_ms: Option<u64>,
    pub(crate) consistency: Option<ConsistencyName>,
    pub(crate) max_staleness_ms: Option<u64>,
}

impl Freshness {
    /// Waits until what runs here can show as much.
    ///
    /// # Errors
    /// [`Problem`] if it cannot in time, or its mode has no such thing.
    pub(crate) async fn settle(
        self,
        headers: &HeaderMap,
        running: &Running,
        wait_max: Duration,
    ) -> Result<(), Problem> {
        let wait = session::wait(self.wait_ms, WAIT_DEFAULT, wait_max)?;
        if self.consistency == Some(ConsistencyName::Session) && !headers.contains_key(SESSION_HEADER) {
            return Err(Problem::invalid(format!("consistency=session needs the header {SESSION_HEADER}")));
        }
        let is_bounded = self.consistency == Some(ConsistencyName::Bounded);
        if is_bounded != self.max_staleness_ms.is_some() {
            return Err(Problem::invalid("consistency=bounded and max_staleness_ms are given together"));
        }
        match running {
            Running::MultiMaster(master) => match self.consistency {
                None | Some(ConsistencyName::Session) => session::settle(headers, master, wait).await,
                Some(ConsistencyName::Eventual) => Ok(()),
                Some(ConsistencyName::Bounded | ConsistencyName::Linearizable) => Err(Problem::new(
                    ProblemType::WrongMode,
                    "in multi-master mode a read is eventual, or of a session",
                )),
            },
            Running::LeaderFollower(node) => self.reach(headers, node, wait).await,
        }
    }

    /// What the session has seen is waited for whatever else is asked for.
    async fn reach(
        self,
        headers: &HeaderMap,
        node: &LeaderFollowerManager,
        wait: Duration,
    ) -> Result<(), Problem> {
        let eventual = self.consistency == Some(ConsistencyName::Eventual);
        if let Some(token) = session::leader_token_in(headers)?.filter(|_| !eventual) {
            node.reach(ReadConsistency::Session(token), wait).await?;
        }
        let consistency = match self.consistency {
            Some(ConsistencyName::Bounded) => ReadConsistency::BoundedStaleness(Duration::from_millis(
                self.max_staleness_ms.unwrap_or_default(),
            )),
            Some(ConsistencyName::Linearizable) => ReadConsistency::Linearizable,
            None | Some(ConsistencyName::Eventual | ConsistencyName::Session) => ReadConsistency::Eventual,
        };
        Ok(node.reach(consistency, wait).await?)
    }
}
