use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use archipelago_engine::{mutated, pack_messages};
use archipelago_pipeline::{Outgoing, Pipeline, PipelineError, PipelineStatus};
use archipelago_proto::Limits;
use archipelago_store::{Batch, Durability, StoreError, Table};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    LinkState, Notification, StartError,
    backoff::Backoff,
    metrics,
    persist::{self, OutboxKey, Waiting},
    shared::Shared,
};

/// How many messages may wait for their acknowledgement.
const IN_FLIGHT_MESSAGES_MAX: usize = 64;
/// With so many messages under way, only a well-filled one is added: what is written meanwhile shares the next one.
const IN_FLIGHT_EAGER: usize = 4;
/// How many rows of the outbox are looked at for one message, and how many at first: each may fill one.
const ROWS_MAX: usize = 256;
const ROWS_FIRST: usize = 4;

/// Brings what was written here to the log: reads the outbox in order, packs small messages together, and forgets
/// what the broker has acknowledged.
///
/// After a failure it goes back to the oldest message that was not acknowledged, so that the log has the events in
/// order in the end. What is sent twice thereby has no effect at the receivers.
pub(crate) struct Emitter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    /// That of the writes in the outbox.
    pub(crate) durability: Durability,
    pub(crate) stop: CancellationToken,
}

type Sent = (Parcel, Result<(), PipelineError>);

/// How far the outbox is done.
#[derive(Debug)]
struct Place {
    /// Everything before is acknowledged. Kept, because a scan from the very start walks over everything that was ever
    /// removed.
    start: Bound<OutboxKey>,
    /// The last that was acknowledged of all, be it before one that was not.
    furthest: Option<OutboxKey>,
}

/// One message and the rows of the outbox that are in it.
#[derive(Clone, Debug)]
struct Parcel {
    rows: Vec<OutboxKey>,
    message: Bytes,
}

impl Parcel {
    fn events(&self) -> u64 {
        self.rows.iter().map(OutboxKey::events).sum()
    }
}

impl Emitter {
    pub(crate) async fn run(self) {
        let mut log_is_open = self.shared.log_is_open.subscribe();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            open = log_is_open.wait_for(|open| *open) => if open.is_err() { return },
        }
        let mut backoff = Backoff::new(self.shared.random.clone());
        let mut status = self.pipeline.status();
        let mut place = Place { start: Bound::Unbounded, furthest: None };
        let mut link = self.shared.link.subscribe();
        loop {
            let sent = tokio::select! {
                biased;
                // What waits must not be handed to a log that is another one now, or no longer whole, before the receiver
                // has taken note of that.
                _ = link.wait_for(is_lost) => None,
                sent = self.emit(&mut place, &mut backoff) => Some(sent),
            };
            let Some(sent) = sent else {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    back = link.wait_for(|link| !is_lost(link)) => if back.is_err() { return },
                }
                continue;
            };
            match sent {
                Ok(()) => return,
                Err(Failure::Outbox(_)) if self.stop.is_cancelled() => return,
                Err(Failure::Outbox(error)) => {
                    tracing::error!(%error, "the outbox cannot be read; writes stay queued");
                    self.shared.notify(Notification::StoreFailed { reason: error.to_string() });
                    return;
                }
                Err(Failure::Pipeline(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "a message was not acknowledged; sending from there again");
                }
                Err(Failure::Pipeline(error)) => {
                    tracing::error!(%error, "the pipeline refuses messages; writes stay queued");
                    // Connected or not, nothing travels until someone mends this, or the receiver finds the log lost.
                    self.shared.pipeline_is(PipelineStatus::Down { reason: error.to_string() });
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = backoff.wait() => {}
                // A pipeline that comes back is used at once.
                Ok(()) = status.changed() => {}
            }
        }
    }

    /// Sends the outbox from where it stands until a message fails or the manager stops. `place` follows what is done.
    async fn emit(&self, place: &mut Place, backoff: &mut Backoff) -> Result<(), Failure> {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, Sent>> = FuturesUnordered::new();
        let mut outstanding: BTreeSet<OutboxKey> = BTreeSet::new();
        let mut from = place.start;
        loop {
            let grew = self.shared.outbox_grew.notified();
            if in_flight.len() < IN_FLIGHT_MESSAGES_MAX
                && let Some(parcel) = self.next_parcel(from, in_flight.len() < IN_FLIGHT_EAGER)?
            {
                from = parcel.rows.last().map_or(from, |last| Bound::Excluded(*last));
                outstanding.extend(parcel.rows.first());
                let publish = async {
                    self.sync().await?;
                    Ok::<_, Failure>(self.pipeline.publish(self.outgoing(&parcel)).await?)
                };
                let acknowledged = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(()),
                    acknowledged = publish => acknowledged?,
                };
                if mutated!(EmptyOutboxEarly) {
                    self.forget(&parcel)?;
                }
                let (began, telemetry) = (Instant::now(), &self.shared.telemetry);
                telemetry.batch(parcel.events());
                let took = telemetry.publish.clone();
                in_flight.push(Box::pin(async move {
                    let acknowledged = acknowledged.await.map(|_| took.record(began.elapsed()));
                    (parcel, acknowledged)
                }));
                continue;
            }
            if in_flight.is_empty()
                && let Some(furthest) = place.furthest
            {
                // Nothing is left, also of what lies before one that was acknowledged earlier.
                self.tell_emitted(Bound::Excluded(furthest));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                // Before new writes, which never cease while many write: they are looked at in any case.
                Some((parcel, acknowledged)) = in_flight.next() => {
                    acknowledged?;
                    backoff.reset();
                    if self.shared.link.borrow().queues() {
                        self.shared.pipeline_is(self.pipeline.status().borrow().clone());
                    }
                    self.forget(&parcel)?;
                    if let Some(first) = parcel.rows.first() {
                        outstanding.remove(first);
                    }
                    place.furthest = place.furthest.max(parcel.rows.last().copied());
                    place.start = outstanding.first().map_or(from, |oldest| Bound::Included(*oldest));
                    self.tell_emitted(place.start);
                }
                () = grew => {}
            }
        }
    }

    /// Brings to the disk what is about to leave, whatever crash it was to survive until now. What others hear of must not
    /// be forgotten here: another write would get its name.
    async fn sync(&self) -> Result<(), StartError> {
        let store = self.shared.store.clone();
        if self.durability >= store.strongest_durability() {
            return Ok(());
        }
        let synced = self.shared.tasks.blocking(move || store.commit(Batch::new(), Durability::Fsync)).await;
        Ok(synced.map_err(|error| StoreError::Io { action: "sync", source: error.into() })??)
    }

    /// Everything before `start` is acknowledged.
    fn tell_emitted(&self, start: Bound<OutboxKey>) {
        let (key, emitted) = match start {
            Bound::Included(oldest) => (oldest, oldest.first_sequence - 1),
            Bound::Excluded(last) => (last, last.last_sequence),
            Bound::Unbounded => return,
        };
        self.shared.spread.send_if_modified(|spread| {
            let more = key.incarnation == spread.replica.incarnation() && emitted > spread.emitted;
            if more {
                spread.emitted = emitted;
            }
            more
        });
    }

    fn outgoing(&self, parcel: &Parcel) -> Outgoing {
        let (first, last) = (parcel.rows.first(), parcel.rows.last());
        let (first, last) = first.zip(last).expect("a parcel has rows");
        let message_id = format!(
            "{}@{}:{}-{}",
            self.shared.replica().name(),
            first.incarnation,
            first.first_sequence,
            last.last_sequence
        );
        let origin = self.shared.replica().name().into();
        Outgoing { origin, message_id, payload: parcel.message.clone() }
    }

    /// What is packed together should travel as one message of the broker.
    fn packing_limits(&self) -> Limits {
        let mut limits = self.shared.limits.clone();
        if let Some(bytes) = self.pipeline.payload_bytes_good() {
            limits.batch_bytes_target = limits.batch_bytes_target.min(bytes);
            limits.batch_bytes_max = limits.batch_bytes_max.min(bytes);
        }
        limits
    }

    /// The next rows of the outbox as one message; `None` if there are none, or too few to be worth one now.
    fn next_parcel(&self, from: Bound<OutboxKey>, eager: bool) -> Result<Option<Parcel>, StartError> {
        let limits = self.packing_limits();
        let mut rows = self.rows(from, &limits)?;
        let (mut bytes, mut events) = (0, 0);
        // A message is of one identity, and the sequences of another one say nothing here.
        let incarnation = rows.first().map(|row| row.key.incarnation);
        let fitting = rows.iter().take_while(|row| {
            bytes += row.message.len();
            events += row.key.events();
            Some(row.key.incarnation) == incarnation
                && bytes <= limits.batch_bytes_target
                && events <= limits.batch_events_max as u64
        });
        let fitting = fitting.count();
        let filled = fitting < rows.len() || bytes >= limits.batch_bytes_target / 4;
        if rows.is_empty() || !(eager || filled) {
            return Ok(None);
        }
        rows.truncate(fitting.max(1));
        let messages = rows.iter().map(|row| row.message.clone());
        let packed = pack_messages(&self.shared.namespace, messages, &limits);
        let (packed, message) = packed.unwrap_or_else(|| (1, rows[0].message.clone()));
        let rows = rows[..packed].iter().map(|row| row.key).collect();
        Ok(Some(Parcel { rows, message }))
    }

    /// The next rows of the outbox, at least as many as have room in a message.
    fn rows(&self, mut from: Bound<OutboxKey>, limits: &Limits) -> Result<Vec<Waiting>, StartError> {
        let (mut rows, mut bytes, mut events) = (Vec::new(), 0, 0);
        loop {
            let page_rows = ROWS_FIRST.max(rows.len()).min(ROWS_MAX - rows.len());
            let page = persist::outbox(&*self.shared.store, from, page_rows)?;
            let is_last = page.len() < page_rows;
            bytes += page.iter().map(|row| row.message.len()).sum::<usize>();
            events += page.iter().map(|row| row.key.events()).sum::<u64>();
            rows.extend(page);
            let is_enough = bytes > limits.batch_bytes_target || events > limits.batch_events_max as u64;
            match rows.last() {
                Some(last) if !(is_last || is_enough || rows.len() == ROWS_MAX) => {
                    from = Bound::Excluded(last.key)
                }
                _ => return Ok(rows),
            }
        }
    }

    /// The broker has them: they leave the outbox. Should this be lost in a crash, they are sent again.
    fn forget(&self, parcel: &Parcel) -> Result<(), StartError> {
        let mut batch = Batch::new();
        for row in &parcel.rows {
            batch.remove(Table::Outbox, row.bytes());
        }
        self.shared.store.commit(batch, Durability::Memory)?;
        let counters = &self.shared.counters;
        metrics::add(&counters.events_emitted, parcel.events());
        if metrics::take(&counters.outbox_len, parcel.events()) == 0 {
            self.shared.outbox_drained.notify_waiters();
        }
        Ok(())
    }
}

fn is_lost(link: &LinkState) -> bool {
    matches!(link, LinkState::Lost { .. })
}

#[derive(Debug)]
enum Failure {
    Pipeline(PipelineError),
    Outbox(StartError),
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        Failure::Pipeline(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::Outbox(error)
    }
}
