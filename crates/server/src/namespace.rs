//! A namespace that runs on this node.

use std::{path::Path, sync::Arc, time::Duration};

use archipelago::{
    Durability, FjallStore, LinkState, MultiMasterManager, Notification, Strategy,
    manager::{CloseError, MultiMasterBuilder},
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{Config, Mode, NamespaceSection},
    nats,
    node::NodeError,
};

/// A namespace, as it runs here.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) options: NamespaceSection,
    pub(crate) running: Running,
    caught_up: watch::Receiver<bool>,
    failure: watch::Receiver<Option<String>>,
    _waiting: AbortOnDropHandle<()>,
}

/// What runs, by mode. Each request says what it means for each of them.
#[derive(Clone, Debug)]
pub(crate) enum Running {
    /// This node is one of the masters.
    MultiMaster(MultiMasterManager),
}

impl Namespace {
    /// Opens the store and starts what runs on it. The broker need not be there.
    pub(crate) async fn start(
        name: &str,
        options: &NamespaceSection,
        config: &Config,
    ) -> Result<Namespace, NodeError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Namespace {
            namespace: name.to_owned(),
            source,
        };
        let store = open(&config.node.data.join(name)).await.map_err(failed)?;
        let pipeline = nats::pipeline(&config.nats, name).await.map_err(|error| failed(error.into()))?;
        let running = match options.mode {
            Mode::MultiMaster => {
                let builder = master(name, options, config).store(store);
                let builder = match pipeline {
                    Some(pipeline) => builder.pipeline(pipeline),
                    None => builder,
                };
                Running::MultiMaster(builder.start().await.map_err(|error| failed(error.into()))?)
            }
        };
        let (is_caught_up, caught_up) = watch::channel(false);
        let waiting = running.clone();
        // It holds the master: without the namespace nobody is to.
        let waiting = AbortOnDropHandle::new(tokio::spawn(async move {
            let Running::MultiMaster(master) = waiting;
            if master.caught_up().await.is_ok() {
                is_caught_up.send_replace(true);
            }
        }));
        let failure = watch_failure(&running);
        Ok(Namespace { options: options.clone(), running, caught_up, failure, _waiting: waiting })
    }

    /// Why it takes no more writes until the node is started again, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Whether it has caught up with the others since it was started. Once it has, that stays so: a master that is cut off
    /// goes on.
    pub(crate) fn is_caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    /// How it stands with the broker, in a word and, if something is wrong, in a sentence.
    pub(crate) fn link(&self) -> (&'static str, Option<String>) {
        let Running::MultiMaster(master) = &self.running;
        match master.link_state() {
            LinkState::Absent => ("absent", None),
            LinkState::Up => ("up", None),
            LinkState::Down { reason } => ("down", Some(reason)),
            LinkState::Lost { reason } => ("lost", Some(reason)),
            _ => ("unknown", None),
        }
    }

    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        match &self.running {
            Running::MultiMaster(master) => master.close().await.map(drop),
        }
    }
}

/// Remembers why the store failed, if it does.
fn watch_failure(running: &Running) -> watch::Receiver<Option<String>> {
    let (failed, failure) = watch::channel(None);
    let Running::MultiMaster(master) = running;
    let mut notifications = master.subscribe();
    tokio::spawn(async move {
        while let Some(notification) = notifications.next().await {
            if let Notification::StoreFailed { reason } = notification {
                failed.send_replace(Some(reason));
            }
        }
    });
    failure
}

async fn open(folder: &Path) -> Result<FjallStore, Box<dyn std::error::Error + Send + Sync>> {
    let folder = Arc::<Path>::from(folder);
    let opened = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(FjallStore::open(&folder)?)
    });
    opened.await?
}

fn master(name: &str, options: &NamespaceSection, config: &Config) -> MultiMasterBuilder {
    let mut builder = MultiMasterManager::builder()
        .master_id(config.node.name.clone().unwrap_or_default())
        .namespace(name)
        .durability(Durability::from(config.node.durability))
        .conflict_strategy(Strategy::from(options.strategy))
        .heartbeat_interval(Duration::from_millis(options.heartbeat_interval_ms))
        .max_drift(Duration::from_millis(options.max_drift_ms))
        .outbox_events_max(options.outbox_events_max)
        .event_buffer_size(options.event_buffer_events_max)
        .repair_bytes_max(options.repair_bytes_max)
        .scrub_entities_per_beat(options.scrub_entities_per_beat)
        .conflict_journal_max(options.conflict_journal_max);
    for (prefix, strategy) in &options.prefix_strategies {
        builder = builder.prefix_strategy(prefix, Strategy::from(*strategy));
    }
    builder
}
