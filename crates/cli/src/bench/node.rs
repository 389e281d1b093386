use std::time::Duration;

use archipelago::{
    FjallStore, MemoryStore, OnStart, Switch,
    manager::leader_follower::{LeaderFollowerManager, ReadConsistency, Write, WriteError},
    store::Store,
};

use super::{
    broker::Broker,
    protocol::{Answer, NodeOptions, Request, Standing},
};

/// How long a write is waited for before its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// One node, in this process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) manager: LeaderFollowerManager,
    switch: Switch,
}

impl Node {
    /// Opens the store and starts the node. `kept` is what is in memory of an earlier life.
    pub(crate) async fn start(
        options: NodeOptions,
        broker: &Broker,
        kept: Option<&MemoryStore>,
    ) -> Result<Node, String> {
        let pipeline = broker.pipeline(&options.namespace, OnStart::Background).await;
        let switch = Switch::new(pipeline.map_err(|error| error.to_string())?);
        match (options.folder.clone(), kept) {
            (Some(folder), _) => {
                let opened = tokio::task::spawn_blocking(move || FjallStore::open(folder)).await;
                let store = opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                Node::start_on(store, options, switch).await
            }
            (None, Some(kept)) => Node::start_on(kept.reopen(), options, switch).await,
            (None, None) => Node::start_on(MemoryStore::new(), options, switch).await,
        }
    }

    async fn start_on(store: impl Store, options: NodeOptions, switch: Switch) -> Result<Node, String> {
        let manager = LeaderFollowerManager::builder()
            .node_id(options.name)
            .namespace(options.namespace)
            .store(store)
            .pipeline(switch.clone())
            .lease(Duration::from_millis(options.lease_ms))
            .log_entries_max(options.log_entries_max)
            .seed(options.seed)
            .start()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Node { manager, switch })
    }

    /// Does what is asked.
    pub(crate) async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Start(_) => Answer::Failed { reason: "it is started already".into() },
            Request::Create { key, value } => {
                written(self.manager.write(Write::create(key, &value).within(WRITE_DEADLINE)).await)
            }
            Request::Standing => Answer::Standing(self.standing()),
            Request::Reach { sequence, deadline_ms } => {
                self.manager.wait_for_sequence(sequence, Duration::from_millis(deadline_ms)).await;
                Answer::Standing(self.standing())
            }
            Request::Rows { after, count } => self.rows(after.as_deref(), count).await,
            Request::Close => match self.manager.close().await {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Failed { reason: error.to_string() },
            },
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        let (sequence, digest) = self.manager.digest();
        let (_, history) = self.manager.history_digest();
        Standing {
            leads: self.manager.is_leader(),
            term: self.manager.term(),
            sequence,
            digest: format!("{digest:032x}"),
            history: format!("{history:032x}"),
            keys: self.manager.key_count(),
        }
    }

    async fn rows(&self, after: Option<&str>, count: usize) -> Answer {
        let failed = |reason: String| Answer::Failed { reason };
        let keys = match self.manager.keys("", after, count, ReadConsistency::Eventual).await {
            Ok(keys) => keys,
            Err(error) => return failed(error.to_string()),
        };
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            match self.manager.read::<String>(key.clone(), ReadConsistency::Eventual).await {
                Ok(found) => rows.push((key.to_string(), found.value.unwrap_or_default())),
                Err(error) => return failed(error.to_string()),
            }
        }
        Answer::Rows(rows)
    }

    /// What a kill does, as far as one process can: nothing more reaches the broker, not even that the node is gone. Returns
    /// once the store is free.
    pub(crate) async fn kill(&self) {
        self.switch.cut();
        let _ = self.manager.close().await;
    }
}

fn written(outcome: Result<archipelago::manager::leader_follower::WriteReceipt, WriteError>) -> Answer {
    match outcome {
        Ok(receipt) => Answer::Written { sequence: receipt.sequence, term: receipt.term },
        Err(WriteError::AlreadyExists { version, .. }) => Answer::Exists { version },
        Err(error @ (WriteError::OutcomeUnknown { .. } | WriteError::StoreFailed { .. })) => {
            Answer::Unknown { reason: error.to_string() }
        }
        Err(error) => Answer::NotWritten { reason: error.to_string() },
    }
}
