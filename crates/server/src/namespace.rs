//! A namespace that runs on this node.

use std::{path::Path, sync::Arc, time::Duration};

use archipelago::{
    Durability, FjallStore, LeaderFollowerManager, LinkState, MultiMasterManager, SnapshotFolder, Strategy,
    leader_follower::{self, Health, LeaderFollowerBuilder, OnFollower, ReadConsistency},
    manager::MultiMasterBuilder,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{Config, Mode, NamespaceSection},
    measures::Measures,
    nats,
    node::NodeError,
    problem::{Problem, ProblemType},
    signing,
    watching::Watching,
    writing::PatchTurns,
};

/// How long a follower that was started is waited for before it is asked again whether it has caught up.
const CAUGHT_UP_PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited before a node is asked again that shows nothing just now.
const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(100);

/// Anything that may go wrong with a namespace.
pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A namespace, as it runs here.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) options: NamespaceSection,
    pub(crate) running: Running,
    pub(crate) watching: Watching,
    pub(crate) patch_turns: PatchTurns,
    snapshots: Option<SnapshotFolder>,
    caught_up: watch::Receiver<bool>,
    _waiting: AbortOnDropHandle<()>,
}

/// What runs, by mode. Each request says what it means for each of them.
#[derive(Clone, Debug)]
pub(crate) enum Running {
    /// This node is one of the masters.
    MultiMaster(MultiMasterManager),
    /// This node leads, or follows.
    LeaderFollower(LeaderFollowerManager),
}

impl Namespace {
    /// Opens the store and starts what runs on it. The broker need not be there. `address` is where clients reach the node.
    pub(crate) async fn start(
        name: &str,
        options: &NamespaceSection,
        config: &Config,
        address: Option<&str>,
        measures: &Measures,
    ) -> Result<Namespace, NodeError> {
        let failed = |source: AnyError| NodeError::Namespace { namespace: name.to_owned(), source };
        let store = open(&config.node.data.join(name)).await.map_err(failed)?;
        let pipeline = nats::pipeline(config, name).await.map_err(|error| failed(error.into()))?;
        let signatures = signing::signatures(config).map_err(|error| failed(error.into()))?;
        let snapshots = config.snapshots.folder.as_ref().map(SnapshotFolder::new);
        let running = match options.mode {
            Mode::MultiMaster => {
                let builder = master(name, options, config).store(store).recorder(measures.recorder());
                let builder = match pipeline {
                    Some(pipeline) => builder.pipeline(pipeline),
                    None => builder,
                };
                let builder = match signatures {
                    Some(signatures) => builder.signatures(signatures),
                    None => builder,
                };
                Running::MultiMaster(builder.start().await.map_err(|error| failed(error.into()))?)
            }
            Mode::LeaderFollower => {
                let mut builder = node(name, options, config).store(store).recorder(measures.recorder());
                if let Some(pipeline) = pipeline {
                    builder = builder.pipeline(pipeline);
                }
                if let Some(signatures) = signatures {
                    builder = builder.signatures(signatures);
                }
                if let Some(address) = address {
                    builder = builder.address(address);
                }
                Running::LeaderFollower(builder.start().await.map_err(|error| failed(error.into()))?)
            }
        };
        let (is_caught_up, caught_up) = watch::channel(false);
        let waiting = running.clone();
        // It holds what runs: without the namespace nobody is to.
        let waiting = AbortOnDropHandle::new(tokio::spawn(async move {
            if waiting.catch_up().await {
                is_caught_up.send_replace(true);
            }
        }));
        let watching = Watching::begin(&running);
        Ok(Namespace {
            options: options.clone(),
            running,
            watching,
            patch_turns: PatchTurns::default(),
            snapshots,
            caught_up,
            _waiting: waiting,
        })
    }

    /// The master that runs here.
    ///
    /// # Errors
    /// [`ProblemType::WrongMode`]: `what` is only for masters.
    pub(crate) fn master(&self, what: &str) -> Result<&MultiMasterManager, Problem> {
        match &self.running {
            Running::MultiMaster(master) => Ok(master),
            Running::LeaderFollower(_) => Err(self.wrong_mode(what)),
        }
    }

    /// The node that leads or follows here.
    ///
    /// # Errors
    /// [`ProblemType::WrongMode`]: `what` is only for the leader-follower mode.
    pub(crate) fn node(&self, what: &str) -> Result<&LeaderFollowerManager, Problem> {
        match &self.running {
            Running::LeaderFollower(node) => Ok(node),
            Running::MultiMaster(_) => Err(self.wrong_mode(what)),
        }
    }

    fn wrong_mode(&self, what: &str) -> Problem {
        let detail =
            format!("the namespace is of the mode {}, which has no {what}", self.options.mode.name());
        Problem::new(ProblemType::WrongMode, detail)
    }

    /// Where its snapshots are kept.
    ///
    /// # Errors
    /// [`ProblemType::NotConfigured`].
    pub(crate) fn snapshots(&self) -> Result<&SnapshotFolder, Problem> {
        self.snapshots.as_ref().ok_or_else(|| {
            Problem::new(ProblemType::NotConfigured, "this node keeps no snapshots: give it snapshots.folder")
        })
    }

    /// Why it takes no more writes until the node is started again, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.running {
            Running::MultiMaster(_) => self.watching.failure(),
            Running::LeaderFollower(node) => node.failure(),
        }
    }

    /// What was seen of another process that uses the identity of this node, if anything. The node has taken another identity
    /// and goes on; but two stores that were copies of each other are in use, which somebody should know.
    pub(crate) fn fenced(&self) -> Option<String> {
        self.watching.fenced()
    }

    /// Whether it has caught up with the others since it was started. Once it has, that stays so: a master that is cut off
    /// goes on, and a follower answers what asks for no more than it has.
    pub(crate) fn is_caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    /// True while it takes the state of another node, and shows nothing.
    pub(crate) fn is_resyncing(&self) -> bool {
        match &self.running {
            Running::MultiMaster(_) => false,
            Running::LeaderFollower(node) => node.health() == Health::Desynced,
        }
    }

    /// How it stands with the broker, in a word and, if something is wrong, in a sentence.
    pub(crate) fn link(&self) -> (&'static str, Option<String>) {
        let link = match &self.running {
            Running::MultiMaster(master) => master.link_state(),
            Running::LeaderFollower(node) => node.link_state(),
        };
        match link {
            LinkState::Absent => ("absent", None),
            LinkState::Up => ("up", None),
            LinkState::Down { reason } => ("down", Some(reason)),
            LinkState::Lost { reason } => ("lost", Some(reason)),
            _ => ("unknown", None),
        }
    }

    pub(crate) async fn close(&self) -> Result<(), AnyError> {
        match &self.running {
            Running::MultiMaster(master) => Ok(master.close().await.map(drop)?),
            Running::LeaderFollower(node) => Ok(node.close().await?),
        }
    }
}

impl Running {
    /// Waits until it has what the others had when it was started; false if it was closed before.
    async fn catch_up(&self) -> bool {
        match self {
            Running::MultiMaster(master) => master.caught_up().await.is_ok(),
            Running::LeaderFollower(node) => loop {
                // However long ago: that it once had all that was acknowledged by some moment since the start.
                let consistency = ReadConsistency::BoundedStaleness(Duration::MAX);
                match node.reach(consistency, CAUGHT_UP_PATIENCE).await {
                    Ok(()) => return true,
                    Err(leader_follower::ReadError::Closed) => return false,
                    Err(_) => tokio::time::sleep(CAUGHT_UP_PAUSE).await,
                }
            },
        }
    }
}

async fn open(folder: &Path) -> Result<FjallStore, AnyError> {
    let folder = Arc::<Path>::from(folder);
    let opened = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        Ok::<_, AnyError>(FjallStore::open(&folder)?)
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
    if let Some(folder) = &config.snapshots.folder {
        let kept = builder.snapshots(SnapshotFolder::new(folder)).snapshot_keep(config.snapshots.keep);
        builder = kept.trim_log(config.snapshots.trim_log);
        if let Some(every_ms) = config.snapshots.every_ms {
            builder = builder.snapshot_every(Duration::from_millis(every_ms));
        }
    }
    builder
}

fn node(name: &str, options: &NamespaceSection, config: &Config) -> LeaderFollowerBuilder {
    let builder = LeaderFollowerManager::builder()
        .node_id(config.node.name.clone().unwrap_or_default())
        .namespace(name)
        .durability(Durability::from(config.node.durability))
        .role(options.role.into())
        .on_follower(if options.forward_writes { OnFollower::Forward } else { OnFollower::Refuse })
        .lease(Duration::from_millis(options.lease_ms))
        .heartbeat_interval(Duration::from_millis(options.heartbeat_interval_ms))
        .heartbeat_timeout(Duration::from_millis(options.heartbeat_timeout_ms))
        .promotion_eligible(options.promotion_eligible)
        .priority(u8::try_from(options.priority).unwrap_or(leader_follower::PRIORITY_MAX))
        .max_staleness(Duration::from_millis(options.max_staleness_ms))
        .lag_warn(options.lag_warn_entries)
        .resync_threshold(options.resync_threshold_entries)
        .snapshot_timeout(Duration::from_millis(options.resync_timeout_ms))
        .tail_entries_max(options.tail_entries_max)
        .log_entries_max(options.log_entries_max)
        .writes_waiting_max(options.writes_waiting_max)
        .requests_max(options.requests_max)
        .in_flight_max(options.in_flight_max);
    match &options.leader {
        Some(leader) => builder.leader_id(leader),
        None => builder,
    }
}
