//! The child: one master on a folder, that does what standard input asks.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago::{
    Ack, FjallStore, LinkState, MultiMasterManager, NatsConfig, NatsPipeline, Notification, Notifications,
    OnStart, SessionToken, Strategy, Switch, UpdateError, WriteOptions, WriteReceipt,
    clock::{Incarnation, ReplicaId},
    crdt::{GCounter, OrSet, PnCounter},
    manager::{VersionContent, WriteError},
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::{
    child::{self, Numbered, answer},
    clock::SetClock,
    protocol::{
        AckWanted, Actor, Amounts, Answer, CRDTS, Counted, Held, HeldValue, MasterOptions, Op, Read,
        Reclaimable, Request, Status, Told, Write, Written, now_unix_ms, number_of, value_of,
    },
};

/// How many writes of a `Fill` or `Clear` are under way at once: enough to share the syncs of the disk.
const BULK_WRITES: usize = 512;

/// How long a write waits for the broker or a peer; then it is acknowledged all the same.
const ACK_DEADLINE: Duration = Duration::from_secs(2);

/// How long a session waits for what it has seen elsewhere.
const SESSION_DEADLINE: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Master {
    manager: MultiMasterManager,
    clock: SetClock,
    switch: Switch,
    /// The name of this process inside of CRDTs.
    process: ReplicaId,
    told: Arc<Mutex<Told>>,
}

/// Two counters and a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    hits: GCounter,
    balance: PnCounter,
    elements: OrSet<u64>,
}

/// Does what standard input asks until it ends.
pub(crate) async fn serve() -> ExitCode {
    let mut queue = child::requests();
    let mut master: Option<Arc<Master>> = None;
    while let Some(Numbered { number, body }) = queue.recv().await {
        match (body, &master) {
            (Request::Start(options), None) => match Master::start(options).await {
                Ok(started) => {
                    master = Some(Arc::new(started));
                    answer(number, Answer::Done);
                }
                Err(reason) => answer(number, refused(reason)),
            },
            (body, Some(master)) => {
                let master = master.clone();
                tokio::spawn(async move { answer(number, master.answer(body).await) });
            }
            (_, None) => answer(number, refused("it is not started")),
        }
    }
    ExitCode::SUCCESS
}

impl Master {
    /// Opens the store and starts the master; the server need not be reachable.
    async fn start(options: MasterOptions) -> Result<Master, String> {
        let config = NatsConfig::new(options.servers.as_str(), options.namespace.as_str())
            .replicas(options.replicas)
            .on_start(OnStart::Background);
        let pipeline = NatsPipeline::connect(config).await.map_err(|error| error.to_string())?;
        let switch = Switch::new(Arc::new(pipeline));
        let folder = options.folder.clone();
        let store = tokio::task::spawn_blocking(move || FjallStore::open(folder)).await;
        let store = store.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let process = ReplicaId::new(&options.name, Incarnation::from_bits(rand::random()));
        let clock = SetClock::default();
        let manager = MultiMasterManager::builder()
            .master_id(options.name)
            .namespace(options.namespace)
            .store(store)
            .pipeline(switch.clone())
            .conflict_strategy(Strategy::Lww)
            .prefix_strategy(CRDTS, Strategy::CrdtMerge)
            .heartbeat_interval(Duration::from_millis(options.heartbeat_ms))
            .clock(clock.clone())
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let told = Arc::default();
        tokio::spawn(listen(manager.clone(), manager.subscribe(), Arc::clone(&told)));
        Ok(Master { manager, clock, switch, process: process.map_err(|error| error.to_string())?, told })
    }

    async fn answer(&self, request: Request) -> Answer {
        match self.try_answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => refusal,
        }
    }

    async fn try_answer(&self, request: Request) -> Result<Answer, Answer> {
        Ok(match request {
            Request::Start(_) => refused("it is started already"),
            Request::Write(write) => self.write(write).await?,
            Request::Read(Read { id, after }) => {
                self.has_seen(&after).await?;
                let number = match self.register(&id).await?.map(|held| held.value) {
                    Some(HeldValue::Number(number)) => Some(number),
                    Some(HeldValue::Damaged(what)) => return Err(refused(what)),
                    Some(HeldValue::Removed) | None => None,
                };
                Answer::Seen { number, seen: self.manager.session_token() }
            }
            Request::SetClock { offset_ms } => {
                self.clock.set(offset_ms);
                Answer::Done
            }
            Request::Cut => {
                self.switch.cut();
                Answer::Done
            }
            Request::Heal => {
                self.switch.heal();
                Answer::Done
            }
            Request::Status => Answer::Status(Box::new(self.status().await?)),
            Request::Digest => {
                let (vector, digest) = self.manager.state_digest().await.map_err(refused)?;
                Answer::Digest { vector, digest: digest.to_string() }
            }
            Request::Registers { ids } => {
                let held = futures::stream::iter(&ids).then(|id| self.register(id));
                Answer::Registers(held.try_collect().await?)
            }
            Request::Crdts { ids } => {
                let held = futures::stream::iter(&ids).then(|id| self.counted(id));
                Answer::Crdts(held.try_collect().await?)
            }
            Request::Fill { prefix, from, count } => {
                self.bulk(from, count, |number| {
                    let (manager, id) = (&self.manager, format!("{prefix}{number}"));
                    async move { manager.write(id, &value_of(number)).await }
                })
                .await?
            }
            Request::Clear { prefix, from, count } => {
                self.bulk(from, count, |number| self.manager.delete(format!("{prefix}{number}"))).await?
            }
            Request::Visible { prefix, limit } => {
                let ids = self.manager.entity_ids(&prefix, None, limit).await.map_err(refused)?;
                Answer::Visible(ids.len())
            }
            Request::Retire { name } => {
                self.manager.retire(&name).await.map_err(refused)?;
                Answer::Done
            }
            Request::Reclaimable => {
                let report = self.manager.reclaimable(0).await.map_err(refused)?;
                let held_back_by = report.held_back_by.iter().map(|held| held.master_id.to_string());
                Answer::Reclaimable(Reclaimable {
                    tombstones: report.tombstones,
                    reclaimable: report.reclaimable,
                    held_back_by: held_back_by.collect(),
                })
            }
            Request::Close => {
                self.manager.close().await.map_err(refused)?;
                Answer::Done
            }
        })
    }

    async fn write(&self, write: Write) -> Result<Answer, Answer> {
        let Write { id, op, ack, after } = write;
        if let Some(after) = after {
            self.has_seen(&after).await?;
        }
        let ack = match ack {
            AckWanted::Local => Ack::Local,
            AckWanted::Pipeline => Ack::Pipeline,
            AckWanted::OnePeer => Ack::Peers(1),
        };
        let options = WriteOptions::ack(ack).within(ACK_DEADLINE);
        let mut took_effect = true;
        let receipt = match op {
            Op::Put(number) => {
                self.manager.write_with(id, &value_of(number), options).await.map_err(write_error)?
            }
            Op::Delete => self.manager.delete_with(id, options).await.map_err(write_error)?,
            Op::Count { by, actor } => {
                let me = self.actor(actor);
                self.update(id, move |tally| {
                    tally.hits.increment(me.clone(), by.hits).map_err(|error| error.to_string())?;
                    let size = by.balance.unsigned_abs();
                    let moved = match by.balance < 0 {
                        true => tally.balance.decrement(me, size),
                        false => tally.balance.increment(me, size),
                    };
                    moved.map(drop).map_err(|error| error.to_string())
                })
                .await?
            }
            Op::Add { element, actor } => {
                let me = self.actor(actor);
                let add = move |tally: &mut Tally| tally.elements.insert(me, element).map(drop);
                self.update(id, move |tally| add(tally).map_err(|error| error.to_string())).await?
            }
            Op::Take { element } => {
                let (tell, told) = std::sync::mpsc::channel();
                let receipt = self.update(id, move |tally| {
                    let _ = tell.send(tally.elements.remove_in_place(&element));
                    Ok(())
                });
                let receipt = receipt.await?;
                took_effect = told.try_recv().unwrap_or(false);
                receipt
            }
        };
        Ok(Answer::Written(Written { seen: receipt.token, dot: receipt.dot, hlc: receipt.hlc, took_effect }))
    }

    /// Waits until all of this is applied.
    async fn has_seen(&self, seen: &SessionToken) -> Result<(), Answer> {
        match self.manager.wait_for(seen, SESSION_DEADLINE).await {
            true => Ok(()),
            false => Err(refused("it lacks what the session has seen")),
        }
    }

    fn actor(&self, actor: Actor) -> ReplicaId {
        match actor {
            Actor::Master => self.manager.master_id(),
            Actor::Process => self.process.clone(),
        }
    }

    async fn update(
        &self,
        id: String,
        change: impl FnOnce(&mut Tally) -> Result<(), String> + Send + 'static,
    ) -> Result<WriteReceipt, Answer> {
        let updated = self.manager.update::<Tally, String, _>(id, change).await;
        updated.map_err(|error| match error {
            UpdateError::Write(error) => write_error(error),
            error => refused(error),
        })
    }

    /// Many writes at once; acknowledged when all of them are.
    async fn bulk<F>(&self, from: u64, count: u64, write: impl Fn(u64) -> F) -> Result<Answer, Answer>
    where
        F: Future<Output = Result<WriteReceipt, WriteError>>,
    {
        let writes = futures::stream::iter(from..from + count).map(write).buffer_unordered(BULK_WRITES);
        writes.try_for_each(|_| async { Ok(()) }).await.map_err(write_error)?;
        Ok(Answer::Done)
    }

    async fn register(&self, id: &str) -> Result<Option<Held>, Answer> {
        let Some(view) = self.manager.entity(id).await.map_err(refused)? else { return Ok(None) };
        let newest =
            view.versions.into_iter().max_by(|one, other| (one.hlc, &one.dot).cmp(&(other.hlc, &other.dot)));
        Ok(newest.map(|version| {
            let value = match version.content {
                VersionContent::Removed => HeldValue::Removed,
                VersionContent::Whole(value) => {
                    number_of(&value).map_or_else(|| HeldValue::Damaged(value.to_string()), HeldValue::Number)
                }
                VersionContent::Fields(fields) => HeldValue::Damaged(format!("{fields:?}")),
            };
            Held { dot: version.dot, hlc: version.hlc, value }
        }))
    }

    async fn counted(&self, id: &str) -> Result<Option<Counted>, Answer> {
        let tally = self.manager.read::<Tally>(id).await.map_err(refused)?;
        Ok(tally.map(|tally| Counted {
            amounts: Amounts {
                hits: u64::try_from(tally.hits.value()).unwrap_or(u64::MAX),
                balance: i64::try_from(tally.balance.value()).unwrap_or(i64::MAX),
            },
            elements: tally.elements.iter().copied().collect::<BTreeSet<u64>>(),
        }))
    }

    async fn status(&self) -> Result<Status, Answer> {
        let metrics = self.manager.metrics();
        let members = self.manager.members().await.map_err(refused)?.into_iter();
        let members = members.map(|member| (member.master_id.to_string(), format!("{:?}", member.state)));
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Status {
            replica: self.manager.master_id(),
            vector: self.manager.vector_clock(),
            outbox: metrics.outbox_len,
            buffered: metrics.event_buffer_size,
            tombstones: metrics.tombstones,
            repairs: metrics.repairs,
            logs_lost: metrics.logs_lost,
            messages_unreadable: metrics.messages_unreadable,
            events_below_floor: metrics.events_below_floor,
            link: match self.manager.link_state() {
                LinkState::Up => "up".to_owned(),
                other => format!("{other:?}"),
            },
            members: members.collect(),
            told,
        })
    }
}

/// Remembers what is told.
async fn listen(manager: MultiMasterManager, mut notifications: Notifications, told: Arc<Mutex<Told>>) {
    while let Some(notification) = notifications.next().await {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match notification {
            Notification::LogLost { .. } => told.log_lost_unix_ms.push(now_unix_ms()),
            Notification::Fenced { .. } => told.fenced += 1,
            Notification::Reincarnated { .. } => told.reincarnated += 1,
            Notification::NameShared { .. } => told.names_shared += 1,
            Notification::Returned { .. } => told.returned += 1,
            Notification::Diverged { .. } => told.diverged += 1,
            Notification::RepairFailed { from, reason } => {
                told.repair_failed = Some(format!("{from}: {reason}"))
            }
            Notification::StoreFailed { reason } => told.store_failed = Some(reason),
            Notification::Missed(missed) => {
                told.missed += missed;
                // It may be among what was missed; the count is never wrong.
                let lost = usize::try_from(manager.metrics().logs_lost).unwrap_or(usize::MAX);
                if told.log_lost_unix_ms.len() < lost {
                    told.log_lost_unix_ms.push(now_unix_ms());
                }
            }
            _ => {}
        }
    }
}

fn write_error(error: WriteError) -> Answer {
    let outcome_unknown = matches!(error, WriteError::StoreFailed { .. });
    Answer::Refused { reason: error.to_string(), outcome_unknown }
}

fn refused(reason: impl ToString) -> Answer {
    Answer::Refused { reason: reason.to_string(), outcome_unknown: false }
}
