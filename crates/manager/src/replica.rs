mod admission;
mod command;
mod examining;
mod neighbours;
mod stored;
mod telling;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use admission::Acknowledgement;
use archipelago_clock::{Dot, ReplicaId, VersionVector};
use archipelago_engine::{Commit, Effect, Engine, LocalWrite, Notice, Received, mutated};
use archipelago_pipeline::LogId;
use archipelago_proto::{DeltaPiece, DeltaRequest, Event, Heartbeat};
use archipelago_store::{Batch, Durability, StoreError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    ApplyError, ConflictReport, Metrics, NotTaken, Notification, StartError, WallClock, acknowledge::Spread,
    heart::Told, intent::Intent, journal::Journal, metrics, outbox::Outbox, persist, repair::Wanted,
    shared::Shared,
};

pub(crate) use admission::Unacknowledged;
pub(crate) use command::{Captured, Command, Content, Edit, Inspection, Message, ReadFrom, Session};
pub(crate) use examining::{Examine, Scrubbing};
pub(crate) use stored::Stored;

/// How many commands one commit may stand for; of those that bring [many](crate::writes::TOGETHER) writes, fewer.
const GROUP_COMMANDS_MAX: usize = 256;
/// How many events of the log one commit may stand for; with the last message it may be more. Each commit costs something,
/// and what many events bring is in no cache any more when it is stored.
const GROUP_EVENTS_MAX: usize = 1_024;
/// How many tombstones one commit may reclaim.
const RECLAIM_MAX: usize = 2_048;
/// How often time alone is looked at.
const TICK: Duration = Duration::from_millis(100);

/// The only owner of the engine: takes in writes and messages, and stores what comes of them in groups.
pub(crate) struct Replica {
    pub(crate) shared: Arc<Shared>,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) durability: Durability,
    pub(crate) outbox: Outbox,
    /// A peer that was silent for longer is not active.
    pub(crate) silence_max: Duration,
    pub(crate) read_from: watch::Sender<ReadFrom>,
    pub(crate) log: Option<Arc<LogId>>,
    pub(crate) journal: Journal,
    pub(crate) unacknowledged: Unacknowledged,
    pub(crate) unanswered: Vec<(Received, oneshot::Sender<Result<Received, ApplyError>>)>,
    /// What had been applied when the store was last synced for the ears of others.
    pub(crate) synced: VersionVector,
    pub(crate) inspections: Vec<oneshot::Sender<Inspection>>,
    pub(crate) beats: Vec<oneshot::Sender<Heartbeat>>,
    pub(crate) gives: Vec<(DeltaRequest, oneshot::Sender<DeltaPiece>)>,
    pub(crate) captures: Vec<(DeltaRequest, oneshot::Sender<Captured>)>,
    pub(crate) examines: Vec<Examine>,
    pub(crate) scrubbing: Scrubbing,
    /// How often some more of what is stored is read again.
    pub(crate) scrub_interval: Duration,
    pub(crate) taken: Vec<(u64, oneshot::Sender<Result<u64, NotTaken>>)>,
    /// Whom the repairer is to ask; full while it is at work.
    pub(crate) repair_from: mpsc::Sender<Wanted>,
    /// What the heart is to put into the log.
    pub(crate) floors: mpsc::Sender<Told>,
    pub(crate) changed_logs: Vec<oneshot::Sender<()>>,
    pub(crate) failed: Option<String>,
    /// The log was handed over to where it ended when it was opened.
    pub(crate) is_end_read: bool,
}

impl Replica {
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut messages: mpsc::Receiver<Message>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut scrub_tick = tokio::time::interval(self.scrub_interval);
        scrub_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.announce();
        let mut closed = None;
        while closed.is_none() {
            if commands.is_closed() && commands.is_empty() {
                break;
            }
            let (mut first_command, mut first_message) = (None, None);
            tokio::select! {
                biased;
                // Seldom, so that it keeps nothing waiting.
                _ = scrub_tick.tick(), if self.scrubbing.entities_per_beat > 0 => self.scrubbing.is_due = true,
                command = commands.recv() => match command {
                    Some(command) => first_command = Some(command),
                    None => break,
                },
                Some(message) = messages.recv() => first_message = Some(message),
                _ = tick.tick() => {}
                // Whatever else there is comes in between.
                () = tokio::task::yield_now(), if self.is_scrubbing() => {}
            }
            // Whatever else is there shares the commit, and neither side can starve the other.
            let more = std::iter::from_fn(|| messages.try_recv().ok());
            let mut room = GROUP_EVENTS_MAX;
            for message in first_message.into_iter().chain(more) {
                room = room.saturating_sub(message.weight());
                self.handle_message(message);
                if room == 0 {
                    break;
                }
            }
            if self.engine.is_fenced() {
                // No write is refused for an identity that is about to change.
                self.flush().await;
            }
            let more = std::iter::from_fn(|| commands.try_recv().ok());
            let (mut group, mut room) = (Vec::new(), GROUP_COMMANDS_MAX);
            for command in first_command.into_iter().chain(more) {
                room = room.saturating_sub(command.weight());
                group.push(command);
                if room == 0 {
                    break;
                }
            }
            closed = self.handle_commands(group).or(closed);
            self.handle_tick();
            self.flush().await;
            self.reclaim().await;
            self.scrub().await;
        }
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    fn handle_commands(&mut self, commands: Vec<Command>) -> Option<oneshot::Sender<()>> {
        let shared = self.shared.clone();
        let records = shared.stored().reading_ahead(commands.iter().flat_map(Command::written));
        commands.into_iter().fold(None, |closed, command| self.handle_command(command, &records).or(closed))
    }

    /// Gives the reply to send once everything is stored, if the command was to close.
    fn handle_command(&mut self, command: Command, records: &Stored<'_>) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Write { write, expected, reply } => match self.expect(&write.entity, &expected) {
                Ok(()) => self.admit(write, records, Acknowledgement::Write(reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::WriteMany { given, reply } => self.admit_many(given, records, reply),
            Command::Update {
                entity,
                edit,
                looks_at,
                intent: Intent { context, expected, trace },
                reply,
            } => {
                let edited =
                    self.expect(&entity, &expected).and_then(|()| self.edit(&entity, looks_at, edit));
                match edited {
                    Ok(Some(change)) => {
                        let write = LocalWrite { entity, change, context, trace };
                        self.admit(write, records, Acknowledgement::Update(reply));
                    }
                    Ok(None) => drop(reply.send(Ok(None))),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Apply { event, reply } => match self.apply(*event) {
                Ok(received) => self.unanswered.push((received, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Inspect { reply } => self.inspections.push(reply),
            Command::Peers { reply } => drop(reply.send(self.peers())),
            Command::Beat { reply } => {
                self.shared.telemetry.counted(&self.shared.metrics());
                self.shared.telemetry.peers_are(&self.peers());
                self.announce();
                self.beats.push(reply);
            }
            Command::Give { request, reply } => self.gives.push((request, reply)),
            Command::Neighbourhood { reply } => drop(reply.send(self.neighbourhood())),
            Command::Capture { request, reply } => self.captures.push((request, reply)),
            Command::Take { fetched, reply } => match self.take(*fetched) {
                Ok(entities) => self.taken.push((entities, reply)),
                Err(not_taken) => drop(reply.send(Err(not_taken))),
            },
            Command::Examine(examine) => self.examines.push(examine),
            Command::Sessions { reply } => drop(reply.send(self.sessions())),
            Command::Hear { heartbeat } => self.hear(*heartbeat),
            Command::Members { reply } => drop(reply.send(self.engine.members().cloned().collect())),
            Command::Retire { name, reply } => {
                drop(reply.send(self.engine.retire(&name, self.clock.now_unix_ms())));
            }
            Command::Leave { is_done, reply } => self.leave(is_done, reply),
            Command::Compact { entity, reply } => match self.compacted(&entity) {
                Ok(Some(change)) => {
                    let write = LocalWrite { entity, change, context: None, trace: None };
                    self.admit(write, records, Acknowledgement::Update(reply));
                }
                Ok(None) => drop(reply.send(Ok(None))),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Reclaimed { reply } => drop(reply.send(self.engine.reclaimed().clone())),
            Command::Reclaimable { reply } => drop(reply.send(self.engine.reclaimable())),
            Command::Close { reply } => return Some(reply),
        }
        None
    }

    fn apply(&mut self, event: Event) -> Result<Received, ApplyError> {
        if let Some(reason) = &self.failed {
            return Err(ApplyError::StoreFailed { reason: reason.clone() });
        }
        let now = self.clock.now_unix_ms();
        let received = self.engine.handle_events([event], None, now, &self.shared.stored());
        match received {
            Ok(received) => Ok(received[0]),
            Err(error) => {
                self.fail(error.to_string());
                Err(ApplyError::StoreFailed { reason: error.to_string() })
            }
        }
    }

    fn handle_message(&mut self, message: Message) {
        let is_old = message.reading != self.read_from.borrow().reading;
        if self.failed.is_some() || (is_old && !matches!(message.content, Content::Changed(_))) {
            return;
        }
        self.log = Some(message.log);
        self.is_end_read |= message.is_end;
        let now = self.clock.now_unix_ms();
        match message.content {
            Content::Nothing => self.engine.handle_nothing(message.sequence),
            Content::Unreadable => self.engine.handle_unreadable(message.sequence),
            Content::Floor(floor) => self.engine.handle_floor(floor, message.sequence),
            Content::Changed(done) => {
                self.engine.reset_log(message.sequence);
                let after = message.sequence;
                self.read_from.send_modify(|from| *from = ReadFrom { reading: from.reading + 1, after });
                self.changed_logs.push(done);
            }
            Content::Events(events) => {
                // The log brings its own writes back to each master. A message has events of one origin.
                let applied = events.first().map_or(0, |first| self.engine.vector().get(&first.dot.actor));
                let new = events.iter().filter(|event| event.dot.sequence > applied);
                let records = self.shared.stored().reading_ahead(new.map(|event| &event.entity));
                match self.engine.handle_events(events, Some(message.sequence), now, &records) {
                    Ok(received) if received.contains(&Received::Unreadable) => {
                        metrics::add(&self.shared.counters.messages_unreadable, 1);
                        let sequence = message.sequence;
                        tracing::error!(
                            sequence,
                            "a CRDT in the log needs a newer build; its message is kept for one"
                        );
                    }
                    Ok(_) => {}
                    Err(error) => self.fail(error.to_string()),
                }
            }
        }
    }

    fn handle_tick(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let now = self.clock.now_unix_ms();
        if let Err(error) = self.engine.handle_tick(now, &self.shared.stored()) {
            self.fail(error.to_string());
        }
    }

    /// Drops tombstones that nobody needs any more, a bounded number at a time.
    async fn reclaim(&mut self) {
        if self.failed.is_some() || self.shared.holds_tombstones() {
            return;
        }
        let (now, records) = (self.clock.now_unix_ms(), self.shared.stored());
        match self.engine.reclaim(RECLAIM_MAX, now, &records) {
            Ok(0) => {}
            Ok(reclaimed) => {
                metrics::add(&self.shared.counters.tombstones_reclaimed, reclaimed as u64);
                self.flush().await;
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Carries out what the engine wants done, and then acknowledges.
    async fn flush(&mut self) {
        if mutated!(AcknowledgeBeforeCommit) {
            self.acknowledge();
        }
        self.carry_out().await;
        if self.failed.is_none() && self.engine.is_fenced() {
            self.reincarnate();
            self.carry_out().await;
        }
        self.publish_counts();
        self.acknowledge();
        self.answer().await;
        self.examine().await;
    }

    /// Takes another identity, as the present one is in other hands.
    fn reincarnate(&mut self) {
        let old = self.shared.replica();
        let incarnation = old.incarnation().next(self.clock.now_unix_ms(), self.shared.random.word());
        let new = ReplicaId::new(old.name(), incarnation).expect("the name is in use");
        if let Err(error) = self.engine.reincarnate(new, &self.shared.stored()) {
            self.fail(error.to_string());
        }
    }

    async fn carry_out(&mut self) {
        if self.failed.is_none() {
            let effects = self.engine.flush(self.clock.now_unix_ms());
            // What is reported of the commit is stored with it.
            let mut conflicts = VecDeque::from(self.reports(&effects));
            let (mut effects, mut is_heard) = (effects.into_iter(), true);
            while let Some(effect) = effects.next() {
                match effect {
                    Effect::Commit(commit) => {
                        if let Err(error) = self.commit(*commit, &conflicts).await {
                            self.fail(error.to_string());
                            break;
                        }
                        self.measure_applied(effects.as_slice());
                        is_heard = self.shared.is_heard();
                    }
                    // There may be thousands in a commit.
                    Effect::Notify(Notice::Applied { trace: None, .. }) if !is_heard => {}
                    Effect::Notify(Notice::Conflict(_)) => self.report(conflicts.pop_front()),
                    Effect::Notify(notice) => self.notify(notice),
                    // Busy with another one; the next heartbeats ask again if need be.
                    Effect::Repair { from, session } => {
                        let lacks = self.lacks(&from);
                        let _ = self.repair_from.try_send(Wanted { from: Some((from, session)), lacks });
                    }
                    // Should it not get through, another one follows.
                    Effect::TellFloor { message: payload } => {
                        let own = &self.engine.config().replica;
                        let last = Dot::new(own.clone(), self.engine.vector().get(own));
                        let _ = self.floors.try_send(Told { payload, last });
                    }
                    Effect::Rewind { after } => {
                        self.read_from
                            .send_modify(|from| *from = ReadFrom { reading: from.reading + 1, after });
                    }
                }
            }
        }
    }

    async fn commit(
        &mut self,
        mut commit: Commit,
        conflicts: &VecDeque<Arc<ConflictReport>>,
    ) -> Result<(), StoreError> {
        if let Some((_, new)) = &commit.replicas {
            self.shared.replicas_grew(new);
        }
        let mut batch = Batch::new();
        if let Some(change) = &commit.reincarnation {
            persist::disown(&mut batch, &*self.shared.store, change).map_err(not_readable)?;
            self.shared.replica_is(change.new.clone());
            self.shared.spread.send_replace(Spread::of(change.new.clone()));
        }
        persist::put(&mut batch, &mut commit, &self.shared.replica(), self.log.as_deref());
        self.shared.live.put(&mut batch, &*self.shared.store, &commit.live).map_err(not_readable)?;
        for conflict in conflicts {
            self.journal.put(&mut batch, conflict);
        }
        // What came from the log can be read from it again: it need not be synced before its checkpoint is.
        let durability =
            if commit.must_last() { self.durability } else { self.durability.min(Durability::Os) };
        // Before the emitter can see it, so that what it takes off the gauge is on it.
        let events =
            commit.outbox.iter().map(|outboxed| outboxed.last_sequence - outboxed.first_sequence + 1);
        let outbox_len = &self.shared.counters.outbox_len;
        metrics::add(outbox_len, events.sum());
        let left = self.outbox.make_room(&mut batch, &*self.shared.store, metrics::value(outbox_len));
        metrics::take(outbox_len, left.map_err(not_readable)?);
        let (store, began) = (self.shared.store.clone(), Instant::now());
        if store.strongest_durability() == Durability::Memory {
            store.commit(batch, durability)?;
        } else {
            let committing = self.shared.tasks.blocking(move || store.commit(batch, durability));
            committing.await.map_err(|error| StoreError::Io { action: "commit", source: error.into() })??;
        }
        self.shared.telemetry.commit.record(began.elapsed());
        if commit.reincarnation.is_some() {
            let left = persist::count_outbox(&*self.shared.store).map_err(not_readable)?;
            metrics::set(&self.shared.counters.outbox_len, left);
        }
        if commit.has_local_writes() {
            self.shared.outbox_grew.notify_one();
        }
        Ok(())
    }

    fn publish_counts(&self) {
        let (engine, counters) = (&self.engine, self.engine.counters());
        let now_unix_ms = self.clock.now_unix_ms();
        self.shared.engine_counted(Metrics {
            writes_local: counters.writes_local,
            events_applied: counters.events_applied,
            duplicates_ignored: counters.duplicates_ignored,
            conflicts_detected: counters.conflicts_detected,
            event_buffer_size: engine.buffered() as u64,
            quarantined: engine.quarantined(now_unix_ms) as u64,
            active_peers: self.active_peers(now_unix_ms),
            vector_clock_nodes: engine.vector().len() as u64,
            tombstones: engine.tombstones(),
            events_below_floor: counters.events_below_floor,
            ..Metrics::default()
        });
        let is_below = !engine.vector().dominates(engine.floor());
        self.shared.is_below_floor.store(is_below, Ordering::Relaxed);
        if self.failed.is_none() {
            if self.is_end_read && !*self.shared.log_is_read.borrow() {
                self.shared.log_is_read.send_replace(true);
            }
            self.shared.vector.send_if_modified(|vector| {
                let changed = vector != engine.vector();
                if changed {
                    vector.clone_from(engine.vector());
                }
                changed
            });
        }
    }

    fn acknowledge(&mut self) {
        self.acknowledge_writes();
        for (received, reply) in self.unanswered.drain(..) {
            let outcome = match &self.failed {
                Some(reason) => Err(ApplyError::StoreFailed { reason: reason.clone() }),
                None => Ok(received),
            };
            let _ = reply.send(outcome);
        }
        for (entities, reply) in self.taken.drain(..) {
            let failed = self.failed.clone().map(|reason| NotTaken::StoreFailed { reason });
            let _ = reply.send(failed.map_or(Ok(entities), Err));
        }
        for done in self.changed_logs.drain(..).filter(|_| self.failed.is_none()) {
            let _ = done.send(());
        }
    }

    /// The engine may be ahead of the store now: nothing more is taken in until the store is opened again.
    fn fail(&mut self, reason: String) {
        if self.failed.is_none() {
            tracing::error!(%reason, "the store failed; no more writes until the manager is started again");
            self.shared.notify(Notification::StoreFailed { reason: reason.clone() });
            self.failed = Some(reason);
        }
    }
}

fn not_readable(error: StartError) -> StoreError {
    StoreError::Io { action: "read what a commit changes", source: error.into() }
}
