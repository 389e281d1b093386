use std::rc::Rc;

use archipelago_engine::Received;
use archipelago_proto::{Event, EventBatch, Floor};
use bytes::Bytes;

use super::{Happening, Standing, World, process::Input};
use crate::simulation::{
    Dice, Durability,
    broker::{MessageId, Payload, Place},
    checkers::floors,
    disk::{Change, OutboxKey},
    island::{Island, Reader},
    network::{BROKER, Stray},
};

/// How many messages of the outbox are under way at once.
const IN_FLIGHT_MAX: usize = 4;
/// After how long a message is sent again.
const RETRY_MS: u64 = 1_000;
/// How many messages of the log one commit may stand for.
const GROUP_MESSAGES_MAX: u64 = 8;
/// How often it is looked whether the log lost something.
const WATCH_MS: u64 = 1_000;

impl World<'_> {
    /// Sends what waits in the outbox, in order, as much as may be under way.
    pub(super) fn emit(&mut self, at: usize) {
        loop {
            let island = &mut self.islands[at];
            let Some(running) = &mut island.running else { return };
            if running.in_flight.len() >= IN_FLIGHT_MAX {
                return;
            }
            let mut rows = island.disk.rows.outbox.iter();
            let Some((key, message)) = rows.find(|(key, _)| !running.in_flight.contains(key)) else { return };
            let (key, message) = (*key, message.clone());
            running.in_flight.insert(key);
            if self.case.settings.durability == Durability::Os {
                // What others hear of must not be forgotten here.
                island.disk.sync();
            }
            self.send(at, key, message);
        }
    }

    fn send(&mut self, at: usize, key: OutboxKey, message: Bytes) {
        let Some(running) = &mut self.islands[at].running else { return };
        let limits = self.limits.clone();
        let events = running.decoded.entry(key).or_insert_with(|| {
            Rc::new(
                EventBatch::decode(message, &limits).expect("an engine encodes what it can decode").events,
            )
        });
        let events = events.clone();
        let (life, is_newer) = (self.islands[at].life, self.islands[at].is_newer_build);
        let is_newer = is_newer && self.is_of_a_newer_kind(key);
        self.agenda.put(self.now_ms + RETRY_MS, Happening::Retry { island: at, life, key });
        match self.network.send(at, BROKER, self.now_ms) {
            Ok(journey) => {
                if journey.again_ms.is_some() {
                    self.tally.injected("duplication");
                }
                for arrives_ms in [Some(journey.first_ms), journey.again_ms].into_iter().flatten() {
                    let events = events.clone();
                    self.agenda
                        .put(arrives_ms, Happening::Arrives { island: at, life, key, events, is_newer });
                }
            }
            Err(stray) => self.strayed(stray),
        }
        let mut dice = Dice::keyed(self.case.seed, [GOSSIP, key.1, at as u64]);
        if dice.permille(self.case.settings.gossip_permille) && !self.is_calm {
            let island = dice.index(self.islands.len());
            let delay_ms = dice.below(2_000);
            self.agenda.put(self.now_ms + delay_ms, Happening::Gossip { island, events, is_newer });
        }
    }

    /// Some messages of newer builds are of a kind that older ones do not know.
    fn is_of_a_newer_kind(&self, key: OutboxKey) -> bool {
        self.case.settings.old_builds > 0
            && Dice::keyed(self.case.seed, [NEWER, key.0.bits(), key.1]).permille(300)
    }

    pub(super) fn strayed(&mut self, stray: Stray) {
        match stray {
            Stray::Cut(kind) => self.tally.felt(kind, 1),
            Stray::Lost => {
                self.tally.injected("loss");
                self.tally.felt("loss", 1);
            }
        }
    }

    /// A message comes to the broker.
    pub(super) fn arrives(
        &mut self,
        at: usize,
        life: u64,
        key: OutboxKey,
        events: &Rc<Vec<Event>>,
        is_newer: bool,
    ) {
        if !self.broker.is_up() {
            self.tally.felt("broker_restart", 1);
            return;
        }
        let id = MessageId::Outbox(self.islands[at].name.clone(), key);
        let Some(is_new) = self.broker.append(id, Payload::Events(events.clone()), is_newer, self.now_ms)
        else {
            return;
        };
        if is_new {
            let (log, last) = (self.broker.log, self.broker.last());
            self.trace.note(self.now_ms, || {
                let dots: Vec<String> = events.iter().map(|event| event.dot.to_string()).collect();
                format!("log {}: {last} is {}", log.unwrap_or(0), dots.join(" "))
            });
            self.wake_readers();
        } else {
            self.tally.felt("duplication", 1);
            self.tally.effect("duplicates_refused_by_the_broker", 1);
        }
        if self.now_ms < self.acks_lost_until_ms && !self.is_calm {
            self.tally.felt("lose_acks", 1);
            return;
        }
        match self.network.carry(BROKER, at, self.now_ms) {
            Ok(journey) => {
                self.agenda.put(journey.first_ms, Happening::Acknowledged { island: at, life, key })
            }
            Err(stray) => self.strayed(stray),
        }
    }

    /// The broker has it: it leaves the outbox.
    pub(super) fn emitted(&mut self, at: usize, key: OutboxKey) {
        let island = &mut self.islands[at];
        if let Some(running) = &mut island.running {
            running.in_flight.remove(&key);
            running.decoded.remove(&key);
        }
        if island.disk.rows.outbox.contains_key(&key) {
            island.disk.change(Change::Emitted(key));
        }
        self.send_floor(at);
        self.emit(at);
    }

    /// No acknowledgement came: it is sent again, if it is still there.
    pub(super) fn retry(&mut self, at: usize, key: OutboxKey) {
        let Some(running) = &mut self.islands[at].running else { return };
        if running.in_flight.remove(&key) {
            self.tally.effect("sent_again", 1);
            running.decoded.remove(&key);
            self.emit(at);
        }
    }

    pub(super) fn tell_floor(&mut self, at: usize, message: Bytes) {
        let floor = Floor::decode(message, &self.limits).expect("an engine encodes what it can decode");
        self.floors += 1;
        self.tally.effect("floors_told", 1);
        let replica = self.islands[at].replica();
        self.trace.note(self.now_ms, || format!("{replica} tells the floor {:?}", floor.vector));
        self.check_floor(at, &floor);
        if !self.knows_everyone(at) {
            self.hasty_floors.insert(self.floors);
        }
        // It must not overtake this replica's own writes: those that were admitted without what it covers would count no more.
        let own = self.islands[at].disk.rows.vector.get(self.islands[at].replica());
        if let Some(running) = &mut self.islands[at].running {
            running.floor = Some((Rc::new(floor), self.floors, own));
        }
        self.send_floor(at);
    }

    /// Sends the floor that waits, once everything before it is in the log.
    fn send_floor(&mut self, at: usize) {
        let island = &mut self.islands[at];
        let Some(running) = &mut island.running else { return };
        let is_clear =
            |last: u64| island.disk.rows.outbox.keys().next().is_none_or(|(_, first, _)| *first > last);
        let Some((floor, id, _)) = running.floor.take_if(|(_, _, last)| is_clear(*last)) else { return };
        match self.network.send(at, BROKER, self.now_ms) {
            Ok(journey) => {
                for arrives_ms in [Some(journey.first_ms), journey.again_ms].into_iter().flatten() {
                    self.agenda.put(arrives_ms, Happening::FloorArrives { floor: floor.clone(), id });
                }
            }
            Err(stray) => self.strayed(stray),
        }
    }

    /// Whoever has not been heard of yet is not waited for.
    fn knows_everyone(&self, at: usize) -> bool {
        let Some(running) = &self.islands[at].running else { return false };
        let knows =
            |island: &Island| running.engine.members().any(|member| member.replica == *island.replica());
        self.islands.iter().all(knows)
    }

    fn check_floor(&mut self, at: usize, floor: &Floor) {
        let Some(running) = &self.islands[at].running else { return };
        let awaited = |island: &&Island| {
            let mut members = running.engine.members();
            // Who joined later takes the whole state of another one.
            let is_old = island.settled_ms == 0;
            let is_itself = is_old && !island.has_receded && island.standing == Standing::Member;
            is_itself
                && members.any(|member| member.replica == *island.replica() && member.state.is_awaited())
        };
        let members = self.islands.iter().filter(awaited);
        let members = members.map(|island| (island.replica(), &island.disk.rows.vector));
        if let Err((checker, detail)) = floors::told(&floor.vector, running.engine.floor(), members) {
            self.violates(checker, detail);
        }
    }

    pub(super) fn floor_arrives(&mut self, floor: Rc<Floor>, id: u64) {
        if !self.broker.is_up() {
            return;
        }
        let vector = floor.vector.clone();
        let appended = self.broker.append(MessageId::Floor(id), Payload::Floor(floor), false, self.now_ms);
        if appended == Some(true) {
            if self.hasty_floors.contains(&id) {
                self.hasty_floor.merge(&vector);
            } else {
                // It covers those before it, by whomever they were.
                let own =
                    vector.iter().filter(|(replica, sequence)| self.hasty_floor.get(replica) < *sequence);
                own.for_each(|(replica, sequence)| self.expected_floor.raise(replica.clone(), sequence));
            }
            let last = self.broker.last();
            self.trace.note(self.now_ms, || format!("log: {last} is a floor"));
            self.wake_readers();
        }
    }

    fn wake_readers(&mut self) {
        for at in 0..self.islands.len() {
            self.wake_reader(at);
        }
    }

    fn wake_reader(&mut self, at: usize) {
        let Ok(journey) = self.network.carry(BROKER, at, self.now_ms) else { return };
        let island = &mut self.islands[at];
        if let Some(running) = island.running.as_mut().filter(|running| !running.delivers) {
            running.delivers = true;
            self.agenda.put(journey.first_ms, Happening::Deliver { island: at, life: island.life });
        }
    }

    /// A replica reads some of the log, if it can.
    pub(super) fn deliver(&mut self, at: usize) {
        if let Some(running) = &mut self.islands[at].running {
            running.delivers = false;
        }
        if self.is_slow(at) || !self.can_read(at) || !self.subscribe(at) {
            return;
        }
        let group = 1 + self.dice.below(GROUP_MESSAGES_MAX);
        let mut read = 0;
        while read < group && self.read_one(at) {
            read += 1;
        }
        if read > 0 {
            self.flush(at, Input::Events);
            self.wake_reader(at);
        }
    }

    fn can_read(&self, at: usize) -> bool {
        let now_ms = self.now_ms;
        self.broker.is_up()
            && self.network.reaches(at, BROKER, now_ms)
            && self.network.reaches(BROKER, at, now_ms)
    }

    /// Makes sure that the log is what it was when it was read last. False if the replica does not run.
    fn subscribe(&mut self, at: usize) -> bool {
        let (epoch, now_ms) = (self.broker.epoch, self.now_ms);
        let Some(running) = &mut self.islands[at].running else { return false };
        let Some(reader) = running.reader else { return self.open(at) };
        if reader.epoch == epoch && now_ms < reader.looked_ms + WATCH_MS {
            return true;
        }
        running.reader = Some(Reader { epoch, looked_ms: now_ms, ..reader });
        match self.broker.place(reader.log, reader.last) {
            Place::Sound => true,
            found => self.start_over(at, Some(reader), &found),
        }
    }

    /// The log is opened where it was left.
    fn open(&mut self, at: usize) -> bool {
        let rows = &self.islands[at].disk.rows;
        let Some(log) = rows.log else {
            let log = self.broker.open();
            if self.broker.first() > 1 {
                return self.start_over(at, None, &Place::Gap);
            }
            self.reads_from(at, log, 0);
            return true;
        };
        let checkpoint = rows.checkpoint();
        match self.broker.place(log, checkpoint) {
            Place::Sound => {
                self.reads_from(at, log, checkpoint);
                true
            }
            found => {
                let (epoch, looked_ms) = (self.broker.epoch, self.now_ms);
                if let Some(running) = &mut self.islands[at].running {
                    running.followed_from = checkpoint;
                }
                self.start_over(at, Some(Reader { log, last: checkpoint, epoch, looked_ms }), &found)
            }
        }
    }

    fn reads_from(&mut self, at: usize, log: u64, checkpoint: u64) {
        let (epoch, looked_ms) = (self.broker.epoch, self.now_ms);
        let island = &mut self.islands[at];
        // Which log it is is stored before anything is read of it.
        island.disk.change(Change::Opened { log, checkpoint });
        island.disk.sync();
        if let Some(running) = &mut island.running {
            running.reader = Some(Reader { log, last: checkpoint, epoch, looked_ms });
            running.followed_from = checkpoint;
        }
    }

    /// The log is another one, or lost something: it is followed from where it can be.
    fn start_over(&mut self, at: usize, known: Option<Reader>, found: &Place) -> bool {
        self.tally.effect(if *found == Place::Gap { "gaps_in_the_log" } else { "log_lost" }, 1);
        let log = self.broker.open();
        // It is read again from where it was followed from, where it is the same log.
        let followed_from = self.islands[at].running.as_ref().map_or(0, |running| running.followed_from);
        let read = known.filter(|known| known.log == log).map_or(0, |known| known.last.min(followed_from));
        let sequence = read.max(self.broker.first() - 1).min(self.broker.last());
        self.trace
            .note(self.now_ms, || format!("{at} finds {found:?} and reads log {log} behind {sequence}"));
        let (epoch, looked_ms) = (self.broker.epoch, self.now_ms);
        if let Some(running) = &mut self.islands[at].running {
            running.reader = Some(Reader { log, last: sequence, epoch, looked_ms });
            running.followed_from = sequence;
        }
        self.input(at, Input::Other, |engine, _, _| {
            engine.reset_log(sequence);
            Ok(())
        });
        self.islands[at].running.is_some()
    }

    /// Hands the next message to the engine; false if there is none.
    fn read_one(&mut self, at: usize) -> bool {
        let is_newer_build = self.islands[at].is_newer_build;
        let Some(running) = &mut self.islands[at].running else { return false };
        let Some(reader) = &mut running.reader else { return false };
        let Some(message) = self.broker.next(reader.last) else { return false };
        let (sequence, payload) = (message.sequence, message.payload.clone());
        reader.last = sequence;
        if message.needs_newer_build && !is_newer_build {
            self.steps += 1;
            self.tally.felt("old_build", 1);
            running.engine.handle_unreadable(sequence);
            return true;
        }
        let Some((engine, rows, now)) = self.process(at) else { return false };
        let handled = match payload {
            Payload::Floor(floor) => {
                engine.handle_floor((*floor).clone(), sequence);
                Ok(1)
            }
            Payload::Events(events) => {
                let received = engine.handle_events(events.iter().cloned(), Some(sequence), now, rows);
                received.map(|received| {
                    self.left_to_repair(sequence, &events, &received);
                    self.received(&received)
                })
            }
        };
        match handled {
            Ok(steps) => self.steps += steps,
            Err(error) => self.violates("digest", error.to_string()),
        }
        true
    }

    fn left_to_repair(&mut self, sequence: u64, events: &[Event], received: &[Received]) {
        for (event, _) in events.iter().zip(received).filter(|(_, outcome)| **outcome == Received::BelowFloor)
        {
            self.checks.left_to_repair(event.dot.clone());
            let is_above = self.expected_floor.iter().all(|(replica, sequence)| {
                let of_own = event.dot.actor == *replica && event.dot.sequence > sequence;
                of_own || event.deps.get(replica) >= sequence
            });
            // Behind a later floor it may be once more; it counts where it stands first.
            let is_first = self.broker.first_with(&event.dot) == Some(sequence);
            if !is_above && is_first && self.has_only_the_log() {
                let detail = format!("{} came by the log alone and fell below a floor", event.dot);
                self.violates("floors", detail);
            }
        }
    }

    /// Whether nothing has brought a write yet but the log, and nobody has lost anything or come and gone.
    fn has_only_the_log(&self) -> bool {
        const OTHER_WAYS: [&str; 14] = [
            "gossip",
            "power_loss",
            "empty_disk",
            "restore",
            "twin",
            "lose_tail",
            "recreate",
            "trim",
            "leave",
            "retire",
            "join",
            "kill",
            "kill_in_commit",
            "disk_full",
        ];
        let has_broken = OTHER_WAYS.iter().any(|kind| self.tally.faults.contains_key(kind));
        !has_broken && !self.tally.effects.contains_key("repairs") && self.case.settings.old_builds == 0
    }

    fn received(&mut self, received: &[Received]) -> u64 {
        for outcome in received {
            let effect = match outcome {
                Received::Duplicate => "duplicates_ignored",
                Received::Waits => "events_waited",
                Received::TurnedAway => "events_turned_away",
                Received::BelowFloor => "events_below_floor",
                Received::Fenced => "events_fenced",
                Received::Applied | Received::Unreadable => continue,
            };
            self.tally.effect(effect, 1);
        }
        received.len() as u64
    }

    /// Events that come by another road than the log.
    pub(super) fn gossip(&mut self, at: usize, events: &Rc<Vec<Event>>, is_newer: bool) {
        if self.is_slow(at) || (is_newer && !self.islands[at].is_newer_build) {
            return;
        }
        let Some((engine, rows, now)) = self.process(at) else { return };
        match engine.handle_events(events.iter().cloned(), None, now, rows) {
            Ok(received) => {
                self.tally.injected("gossip");
                let is_news = |received: &&Received| **received != Received::Duplicate;
                self.tally.felt("gossip", received.iter().filter(is_news).count() as u64);
                self.steps += self.received(&received);
                self.flush(at, Input::Events);
            }
            Err(error) => self.violates("digest", error.to_string()),
        }
    }
}

/// Set these dice apart from others of the same seed.
const GOSSIP: u64 = 3;
const NEWER: u64 = 4;
