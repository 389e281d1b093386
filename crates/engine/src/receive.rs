//! Events from elsewhere: applied once what they depend on is there, and waiting until then.

use std::sync::Arc;

use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::{Family, Join};
use archipelago_proto::{Event, Record};

use crate::{
    Engine, Notice, ReadError, Records,
    causal_buffer::{Buffered, Covered, Waiting, is_next},
    entity, mutated,
    own_writes::LivePage,
    peers::SUCCESSION_MS,
};

/// What became of an event from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is part of the next commit.
    Applied,
    /// It was applied before.
    Duplicate,
    /// It waits for what it depends on, or for its time.
    Waits,
    /// It found no room to wait. If it came from the log, [`Effect::Rewind`](crate::Effect::Rewind) will have it read again in time.
    TurnedAway,
    /// It carries this replica's identity, but is not this replica's.
    Fenced,
    /// It was admitted by a replica that lacked what everyone has applied by now, or by this replica under an identity that it
    /// had before. So it comes by repair instead.
    BelowFloor,
    /// It, or another event of its message, has a CRDT to join of a kind or version that only a newer build knows.
    /// Nothing of the message was taken.
    Unreadable,
}

impl Engine {
    /// Takes in the events of one message: of the log at `position`, or of another road.
    ///
    /// If one of them has a CRDT to join of which this build does not know the kind, the message as a whole is left to a
    /// newer build, as by [`handle_unreadable`](Self::handle_unreadable): whoever cannot join would lose what is new.
    ///
    /// # Errors
    /// [`ReadError`]: events before the failing one are applied, the others are not, and the checkpoint stays before
    /// the message; drop the engine or hand the message in again.
    pub fn handle_events(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        position: Option<u64>,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Vec<Received>, ReadError> {
        let events: Vec<Event> = events.into_iter().collect();
        if events.iter().any(|event| self.has_unknown_crdt(event)) {
            if let Some(position) = position {
                self.handle_unreadable(position);
            }
            return Ok(vec![Received::Unreadable; events.len()]);
        }
        let (mut received, mut live) = (Vec::with_capacity(events.len()), LivePage::of(events.len()));
        for event in events {
            received.push(self.receive(event, position, now_unix_ms, &mut live, records)?);
        }
        if let Some(position) = position {
            self.progress.handled(position);
        }
        Ok(received)
    }

    fn has_unknown_crdt(&self, event: &Event) -> bool {
        let family = self.config.strategies.strategy(&event.entity).family();
        matches!(family, Family::Joined(Join::Crdts))
            && entity::has_unknown_crdt(&event.op, &self.config.limits)
    }

    fn receive(
        &mut self,
        event: Event,
        position: Option<u64>,
        now_unix_ms: u64,
        live: &mut LivePage,
        records: &dyn Records,
    ) -> Result<Received, ReadError> {
        let is_own = event.dot.actor == self.config.replica;
        let applied = self.vector.get(&event.dot.actor);
        if event.dot.sequence <= applied
            && (is_own || !mutated!(ApplyTwice))
            && (!is_own || self.is_own_write(&event, live, records)?)
        {
            self.counters.duplicates_ignored += u64::from(!is_own);
            if is_own && position.is_some() {
                self.own_writes.confirm(event.dot.sequence);
            }
            return Ok(Received::Duplicate);
        }
        if self.buffer.holds_other(&event, position) {
            self.counters.duplicates_ignored += 1;
            return Ok(Received::Duplicate);
        }
        if is_own {
            // Read again after a crash, it fences again; and a new incarnation of this replica will need it.
            if let Some(position) = position {
                self.progress.hold(position);
            }
            self.fence(event.dot);
            return Ok(Received::Fenced);
        }
        if !self.covered.has(&event.deps) {
            let own_elsewhere = event.deps.get(&self.config.replica);
            if own_elsewhere > self.vector.get(&self.config.replica) {
                self.fence(Dot::new(self.config.replica.clone(), own_elsewhere));
            }
        }
        // What this replica wrote itself has another name here. Under the old one others may know something else, and whatever
        // that is comes from them.
        let is_disowned = self.disowned.iter().any(|disowned| disowned.is_of(&event));
        if is_disowned || self.is_below_floor(&event, position) {
            self.counters.events_below_floor += 1;
            return Ok(Received::BelowFloor);
        }
        let due_unix_ms = self.due(event.hlc);
        let is_covered =
            |covered: &mut Covered| covered.check(&event.deps, &self.vector) || mutated!(SkipCausalBuffer);
        if due_unix_ms <= now_unix_ms && is_next(&event, applied) && is_covered(&mut self.covered) {
            let record = self.record(&event.entity, records)?;
            self.apply(event, record);
            self.apply_waiting(now_unix_ms, records)?;
            return Ok(Received::Applied);
        }
        let buffered =
            self.buffer.insert(Waiting { event, position, due_unix_ms, since_unix_ms: now_unix_ms });
        if let (Some(position), Buffered::Waits | Buffered::TurnedAway) = (position, buffered) {
            self.progress.hold(position);
        }
        Ok(match buffered {
            Buffered::Waits | Buffered::Known => Received::Waits,
            Buffered::TurnedAway => Received::TurnedAway,
        })
    }

    /// The message at `position` holds nothing for this replica, or nothing that anyone can read.
    pub fn handle_nothing(&mut self, position: u64) {
        self.progress.handled(position);
    }

    /// The message at `position` can only be read by a newer build: the checkpoint stays before it, so that the
    /// newer build reads it.
    pub fn handle_unreadable(&mut self, position: u64) {
        self.progress.hold(position);
        self.progress.handled(position);
    }

    /// Time has passed: applies what was stamped too far ahead before, and leaves to repair what has waited for long for
    /// something that is not going to come: a write of a replica that is gone, whose writes before are nowhere.
    ///
    /// # Errors
    /// [`ReadError`]; what was not applied still waits.
    pub fn handle_tick(&mut self, now_unix_ms: u64, records: &dyn Records) -> Result<(), ReadError> {
        self.apply_waiting(now_unix_ms, records)?;
        self.give_up_on_the_gone(now_unix_ms);
        Ok(())
    }

    /// Should somebody have applied what is given up here, it comes with the state of that one.
    fn give_up_on_the_gone(&mut self, now_unix_ms: u64) {
        let since_unix_ms = now_unix_ms.saturating_sub(SUCCESSION_MS);
        let members = &self.members;
        while let Some(waiting) =
            self.buffer.take_hopeless(since_unix_ms, now_unix_ms, |origin| members.is_gone(origin))
        {
            if let Some(position) = waiting.position {
                self.progress.release(position);
            }
            self.counters.events_below_floor += 1;
            self.notices.push(Notice::LeftToRepair { dot: waiting.event.dot });
        }
    }

    fn apply_waiting(&mut self, now_unix_ms: u64, records: &dyn Records) -> Result<(), ReadError> {
        while let Some(waiting) = self.buffer.take_ready(&self.vector, now_unix_ms) {
            let position = waiting.position;
            if !self.vector.contains(&waiting.event.dot) {
                match self.record(&waiting.event.entity, records) {
                    Ok(record) => self.apply(waiting.event, record),
                    Err(error) => {
                        self.buffer.insert(waiting);
                        return Err(error);
                    }
                }
            }
            if let Some(position) = position {
                self.progress.release(position);
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: Event, record: Record) {
        self.is_alone = false;
        let own_seen = event.deps.get(&self.config.replica);
        self.own_writes.followed(&event.dot, own_seen, self.session_start);
        if !mutated!(ClockIgnoresRemote) {
            self.clock.observe(event.hlc);
        }
        self.vector.see(&event.dot);
        Arc::make_mut(&mut self.deps).see(&event.dot);
        self.place(record, &event);
        self.open.applied(&event.dot.actor, event.dot.sequence);
        self.counters.events_applied += 1;
        self.notices.push(Notice::Applied {
            dot: event.dot,
            entity: event.entity,
            hlc: event.hlc,
            trace: event.trace,
        });
    }

    pub(crate) fn due(&self, hlc: Hlc) -> u64 {
        let max_drift_ms = u64::try_from(self.config.max_drift.as_millis()).unwrap_or(u64::MAX);
        if mutated!(IgnoreQuarantine) {
            return 0;
        }
        hlc.unix_ms().saturating_sub(max_drift_ms)
    }

    /// There is a history of this replica that it does not know.
    pub(crate) fn fence(&mut self, dot: Dot) {
        self.doubt = None;
        self.take_no_writes(dot);
    }

    /// Another process has this replica's identity.
    pub(crate) fn fence_beside_twin(&mut self, dot: Dot) {
        if self.fenced.is_none() {
            self.doubt = Some(self.own_writes.doubt_beside_twin(self.session_start));
        }
        self.take_no_writes(dot);
    }

    fn take_no_writes(&mut self, dot: Dot) {
        if self.fenced.is_none() && !mutated!(ForkNotFenced) {
            self.notices.push(Notice::Fenced { dot: dot.clone() });
            self.fenced = Some(dot);
        }
    }
}
