use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago::{
    ConflictReport, FjallStore, LinkState, MemoryBroker, MultiMasterManager, NatsPipeline, Notification,
    Notifications, OnStart, Switch, WriteReceipt,
    manager::{ClashSide, EntityView, VersionContent, WriteError},
    pipeline::Pipeline,
    proto::Limits,
};

use super::protocol::{
    Answer, Conflict, Holding, MasterOptions, Request, Side, Status, Written, fingerprint,
};

/// How long a master waits at its end for the broker to take what is queued.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One master, in this process.
#[derive(Debug)]
pub(crate) struct Master {
    manager: MultiMasterManager,
    switch: Switch,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Master {
    /// Opens the store and starts the master; the NATS server need not be reachable.
    pub(crate) async fn start(
        options: MasterOptions,
        embedded: Option<&MemoryBroker>,
    ) -> Result<Master, String> {
        let pipeline: Arc<dyn Pipeline> = match (&options.server, embedded) {
            (Some(server), _) => {
                let config = server.config(&options.namespace).on_start(OnStart::Background);
                Arc::new(NatsPipeline::connect(config).await.map_err(|error| error.to_string())?)
            }
            (None, Some(embedded)) => Arc::new(embedded.pipeline(&options.namespace)),
            (None, None) => return Err("there is no broker".to_owned()),
        };
        let switch = Switch::new(pipeline);
        let folder = options.folder.clone();
        let store = tokio::task::spawn_blocking(move || FjallStore::open(folder))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let manager = MultiMasterManager::builder()
            .master_id(options.name)
            .namespace(options.namespace)
            .store(store)
            .pipeline(switch.clone())
            .conflict_strategy(options.strategy)
            .limits(limits(options.payload_bytes_max))
            .close_timeout(CLOSE_TIMEOUT)
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let trouble = Arc::default();
        tokio::spawn(listen(manager.subscribe(), Arc::clone(&trouble)));
        Ok(Master { manager, switch, trouble })
    }

    /// Does what is asked.
    pub(crate) async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Start(_) => refused("it is started already"),
            Request::Put { entity, value } => written(self.manager.write(entity, &value).await),
            Request::Patch { entity, fields } => written(self.manager.patch(entity, &fields).await),
            Request::Cut => {
                self.switch.cut();
                Answer::Done
            }
            Request::Heal => {
                self.switch.heal();
                Answer::Done
            }
            Request::Status => Answer::Status(self.status()),
            Request::Digest => match self.manager.state_digest().await {
                Ok((vector, digest)) => Answer::Digest { vector, digest: digest.to_string() },
                Err(error) => refused(error),
            },
            Request::Ids { after, count } => {
                match self.manager.entity_ids("", after.as_deref(), count).await {
                    Ok(ids) => Answer::Ids(ids.iter().map(ToString::to_string).collect()),
                    Err(error) => refused(error),
                }
            }
            Request::Holdings { entities } => self.holdings(&entities).await,
            Request::Conflicts { count } => Answer::Conflicts(self.conflicts(count)),
            Request::Close => match self.manager.close().await {
                Ok(_) => Answer::Done,
                Err(error) => refused(error),
            },
        }
    }

    fn status(&self) -> Status {
        let metrics = self.manager.metrics();
        let link = self.manager.link_state();
        let told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            replica: self.manager.master_id().clone(),
            vector: self.manager.vector_clock(),
            conflicts: metrics.conflicts_detected,
            messages_unreadable: metrics.messages_unreadable,
            logs_lost: metrics.logs_lost,
            repairs: metrics.repairs,
            outbox: metrics.outbox_len,
            down: if let LinkState::Down { reason } = &link { Some(reason.clone()) } else { None },
            trouble: told,
        }
    }

    async fn holdings(&self, entities: &[String]) -> Answer {
        let mut held = Vec::with_capacity(entities.len());
        for entity in entities {
            match self.manager.entity(entity).await {
                Ok(view) => held.push(view.map(holdings).unwrap_or_default()),
                Err(error) => return refused(error),
            }
        }
        Answer::Holdings(held)
    }

    fn conflicts(&self, count: usize) -> Vec<Conflict> {
        let reports = self.manager.conflicts();
        reports.iter().rev().take(count).flat_map(|report| conflicts(report)).take(count).collect()
    }
}

/// The limits of all masters, so that each message fits the broker.
pub(crate) fn limits(payload_bytes_max: Option<usize>) -> Limits {
    let mut limits = Limits::default();
    if let Some(bytes) = payload_bytes_max {
        limits.batch_bytes_max = limits.batch_bytes_max.min(bytes);
        limits.batch_bytes_target = limits.batch_bytes_target.min(bytes / 2);
        limits.value_bytes_max = limits.value_bytes_max.min(bytes / 2);
    }
    limits
}

/// Remembers the first thing that the master cannot mend by itself.
async fn listen(mut notifications: Notifications, trouble: Arc<Mutex<Option<String>>>) {
    while let Some(notification) = notifications.next().await {
        let new = match notification {
            Notification::StoreFailed { reason } => reason,
            Notification::Fenced { dot } => {
                format!("another writer uses its identity: {dot}")
            }
            _ => continue,
        };
        trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(new);
    }
}

fn written(outcome: Result<WriteReceipt, WriteError>) -> Answer {
    match outcome {
        Ok(receipt) => {
            Answer::Written(Written { dot: receipt.dot, hlc: receipt.hlc, queued: receipt.queued })
        }
        Err(error) => Answer::Refused { reason: error.to_string(), retryable: error.is_retryable() },
    }
}

fn refused(reason: impl ToString) -> Answer {
    Answer::Refused { reason: reason.to_string(), retryable: false }
}

fn holdings(view: EntityView) -> Vec<Holding> {
    let versions = view.versions.into_iter().map(|version| {
        let fields: BTreeMap<String, u64> = match &version.content {
            VersionContent::Removed => BTreeMap::new(),
            VersionContent::Whole(value) => {
                let fields = value.as_map().into_iter().flatten();
                fields.map(|(name, value)| (name.clone(), fingerprint(value))).collect()
            }
            VersionContent::Fields(fields) => fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), fingerprint(value.as_ref()?))))
                .collect(),
        };
        Holding { dot: version.dot, hlc: version.hlc, fields }
    });
    versions.collect()
}

fn conflicts(report: &ConflictReport) -> impl Iterator<Item = Conflict> {
    report.clashes.iter().map(|clash| Conflict {
        entity: report.entity_id.to_string(),
        field: clash.field.clone(),
        winner: side(&clash.winner),
        loser: side(&clash.loser),
        reason: clash.reason.to_owned(),
    })
}

fn side(side: &ClashSide) -> Side {
    let master = side.dot.actor.name().to_owned();
    Side { master, dot: side.dot.clone(), hlc: side.hlc, value: side.value.clone() }
}
