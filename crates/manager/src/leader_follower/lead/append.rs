use std::{sync::atomic::Ordering, time::Duration};

use archipelago_engine::mutated;
use archipelago_pipeline::ExpectedEnd;
use archipelago_proto::EntryBatch;
use archipelago_store::StoreError;
use futures::{FutureExt, TryFutureExt, stream::FuturesOrdered};
use tokio::time::Instant;

use super::{
    super::{metrics::add, node::Node, state, take_over::Halt},
    leading::{Committing, Flight, Leading, stored},
};

impl Node {
    /// Sends what waits, as long as there is room on the way.
    pub(super) async fn send(&mut self, leading: &mut Leading) {
        while !leading.is_in_doubt && leading.flights.len() < self.shared.options.in_flight_max {
            let Some(batch) = leading.proposer.seal(self.clock.now_unix_ms()) else { return };
            self.send_batch(leading, batch).await;
        }
    }

    async fn send_batch(&mut self, leading: &mut Leading, batch: EntryBatch) {
        let encoded = batch.encode();
        // Before a follower can have it.
        self.shared.sent.fetch_max(batch.last_index(), Ordering::AcqRel);
        if mutated!(AcknowledgeBeforeLog) {
            leading.answer(batch.last_index());
        }
        if mutated!(AppendUnexpecting)
            && let Ok(log) = self.shared.pipeline.state().await
        {
            leading.expected = ExpectedEnd::At(leading.expected.sequence().max(log.last_sequence));
        }
        let sent = match leading.is_in_doubt {
            true => None,
            false => {
                let appending =
                    self.shared.pipeline.append(&self.shared.node, encoded.clone(), leading.expected).await;
                appending.inspect_err(|error| tracing::debug!(%error, "an append was not sent")).ok()
            }
        };
        match sent {
            Some(appending) => {
                add(&self.shared.counters.messages_appended, 1);
                leading.expected = ExpectedEnd::Own(appending.sequence);
                let (began, took) = (Instant::now(), self.shared.telemetry.append.clone());
                let ack = appending.ack.inspect_ok(move |_| took.record(began.elapsed()));
                leading.acks.push_back(ack.boxed());
                leading.flights.push_back(Flight { batch, encoded, sequence: appending.sequence });
            }
            None => {
                leading.is_in_doubt = true;
                leading.flights.push_back(Flight { batch, encoded, sequence: 0 });
            }
        }
    }

    /// Begins to store what the broker acknowledged.
    pub(super) fn store(&mut self, leading: &mut Leading) -> Result<(), StoreError> {
        if leading.committing.is_some() || leading.decided.is_empty() {
            return Ok(());
        }
        let flights = std::mem::take(&mut leading.decided);
        let mut group = self.state.group();
        for flight in &flights {
            self.add(&mut group, &flight.batch, flight.encoded.clone(), 0)?;
            self.log.wrote(flight.sequence, flight.batch.last_index());
        }
        if let Some(place) = self.place() {
            group.at(place);
        }
        let batch = self.state.prepare(&mut group);
        let store = self.shared.store.clone();
        let stored = state::commit(store, batch, self.shared.options.durability).boxed();
        leading.committing = Some(Committing { stored, group, flights });
        Ok(())
    }

    pub(super) fn committed_by_leader(&mut self, leading: &mut Leading, committing: Committing) {
        let Committing { group, flights, .. } = committing;
        self.state.install(&group);
        self.committed(group);
        for flight in &flights {
            leading.proposer.stored(&flight.batch);
            self.marks.note(flight.batch.last_index(), flight.sequence);
        }
        let index = self.state.history().index;
        self.shared.peers().wrote(index, Instant::now());
        leading.answer(index);
    }

    /// Waits until all that the broker acknowledged is stored.
    pub(super) async fn finish_storing(&mut self, leading: &mut Leading) -> Result<(), StoreError> {
        loop {
            self.store(leading)?;
            if leading.committing.is_none() {
                return Ok(());
            }
            let committing = stored(&mut leading.committing).await?;
            self.committed_by_leader(leading, committing);
        }
    }

    /// An append failed, or the log is not as it should be: what became of everything is read from the log, and what it
    /// does not hold is appended again. Entries keep their indexes, so nothing counts twice.
    pub(super) async fn resolve(&mut self, leading: &mut Leading) -> Result<Result<(), Halt>, StoreError> {
        loop {
            add(&self.shared.counters.appends_failed, 1);
            self.finish_storing(leading).await?;
            leading.acks = FuturesOrdered::new();
            leading.checking = None;
            self.unsettled = leading.unsettled();
            if let Err(halt) = self.read_to_end(Some(leading.term)).await? {
                return Ok(Err(halt));
            }
            if let Some(halt) = self.halt(Some(leading.term)) {
                return Ok(Err(halt));
            }
            let index = self.state.history().index;
            while leading.flights.front().is_some_and(|flight| flight.batch.last_index() <= index) {
                let flight = leading.flights.pop_front().expect("there is one");
                leading.proposer.stored(&flight.batch);
            }
            leading.answer(index);
            match self.put_back().await? {
                Ok(()) => {}
                Err(error) => {
                    self.append_failed(&error).await;
                    continue;
                }
            }
            self.puller = None;
            leading.is_in_doubt = false;
            leading.expected = self.log.end();
            for flight in std::mem::take(&mut leading.flights) {
                self.send_batch(leading, flight.batch).await;
            }
            if !leading.is_in_doubt {
                return Ok(Ok(()));
            }
            self.wait(Duration::from_millis(50)).await;
        }
    }
}
