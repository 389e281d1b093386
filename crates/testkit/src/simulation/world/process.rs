use std::{collections::BTreeMap, rc::Rc};

use archipelago_engine::{Effect, Engine, Notice, Reincarnation, Restored};

use super::{Happening, Standing, TICK_MS, World};
use crate::simulation::{
    Durability,
    checkers::Flushed,
    disk::{Change, Rows},
    island::{DiesInCommit, Running},
};

/// What an engine was given before a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The latest write of the ledger.
    Write,
    /// Events and time: conflicts are reported one by one.
    Events,
    /// Somebody's state, or nothing of the kind.
    Other,
}

impl World<'_> {
    /// A process starts on what is stored.
    pub(super) fn start(&mut self, at: usize) {
        if self.islands[at].disk_full_until_ms > self.now_ms && !self.is_calm {
            let (due, life) = (self.islands[at].disk_full_until_ms, self.islands[at].life);
            self.agenda.put(due, Happening::Up { island: at, life });
            return;
        }
        let config = self.config(at);
        let disk = &mut self.islands[at].disk;
        let has_run = std::mem::replace(&mut disk.has_run, true);
        let rows = &disk.rows;
        let mut engine = Engine::new(config, Restored { has_run, ..rows.restored() });
        let mut damaged = None;
        for (entity, record) in &rows.entities {
            damaged = engine.restore(entity, record.clone()).err().or(damaged);
        }
        if let Some(error) = damaged {
            return self.violates("digest", format!("what was stored does not decode: {error}"));
        }
        let island = &mut self.islands[at];
        island.running = Some(Box::new(Running {
            engine,
            reader: None,
            followed_from: 0,
            in_flight: Default::default(),
            decoded: BTreeMap::new(),
            fetch: None,
            delivers: false,
            floor: None,
            unacknowledged: Vec::new(),
        }));
        if island.standing == Standing::Away {
            island.standing = Standing::Member;
        }
        let (life, replica) = (island.life, island.replica().clone());
        self.trace.note(self.now_ms, || format!("{replica} starts as {at}"));
        self.check_start(at);
        self.announce(at);
        let beat = self.now_ms + self.dice.below(self.case.settings.heartbeat_ms);
        self.agenda.put(beat, Happening::Beat { island: at, life });
        self.agenda.put(self.now_ms + self.dice.below(TICK_MS), Happening::Tick { island: at, life });
        self.emit(at);
    }

    fn check_start(&mut self, at: usize) {
        if let Err((checker, detail)) = self.checks.starts(at, &self.islands[at].disk.rows, &self.broker) {
            self.violates(checker, format!("at {}: {detail}", self.islands[at].replica()));
        }
    }

    pub(super) fn announce(&mut self, at: usize) {
        self.input(at, Input::Other, |engine, _, now| {
            engine.announce(now).map_err(|error| format!("a clock is exhausted: {error}"))
        });
    }

    /// The process dies. What it had stored stays.
    pub(super) fn dies(&mut self, at: usize) {
        let island = &mut self.islands[at];
        island.life += 1;
        island.dies_in_commit = None;
        if let Some(running) = island.running.take() {
            for number in running.unacknowledged {
                self.ledger.dropped(number);
            }
        }
    }

    pub(super) fn rises(&mut self, at: usize, after_ms: u64) {
        let life = self.islands[at].life;
        self.agenda.put(self.now_ms + after_ms, Happening::Up { island: at, life });
    }

    pub(super) fn tick(&mut self, at: usize) {
        let life = self.islands[at].life;
        self.agenda.put(self.now_ms + TICK_MS, Happening::Tick { island: at, life });
        if self.is_slow(at) {
            return;
        }
        self.steps += 1;
        self.input(at, Input::Events, |engine, rows, now| {
            engine.handle_tick(now, rows).map_err(|error| error.to_string())
        });
        self.deliver(at);
        self.reclaim(at);
        if self.now_ms % (SCRUB_EVERY * TICK_MS) < TICK_MS {
            self.scrub(at);
        }
    }

    fn reclaim(&mut self, at: usize) {
        self.steps += 1;
        let Some((engine, rows, now)) = self.process(at) else { return };
        match engine.reclaim(2_048, now, rows) {
            Ok(0) => {}
            Ok(reclaimed) => {
                self.tally.effect("tombstones_reclaimed", reclaimed as u64);
                self.trace.note(self.now_ms, || format!("{at} reclaims {reclaimed} tombstones"));
                self.flush(at, Input::Other);
            }
            Err(error) => self.violates("digest", error.to_string()),
        }
    }

    fn scrub(&mut self, at: usize) {
        self.steps += 1;
        let Some((engine, rows, _)) = self.process(at) else { return };
        match engine.scrub(SCRUBBED_AT_ONCE, rows) {
            Ok(_) => self.flush(at, Input::Other),
            Err(error) => self.violates("digest", error.to_string()),
        }
    }

    /// Hands something to the engine of a replica, if it runs, and carries out what comes of it.
    pub(super) fn input<T>(
        &mut self,
        at: usize,
        input: Input,
        hand: impl FnOnce(&mut Engine, &Rows, u64) -> Result<T, String>,
    ) -> Option<T> {
        let (engine, rows, now) = self.process(at)?;
        match hand(engine, rows, now) {
            Ok(outcome) => {
                self.flush(at, input);
                Some(outcome)
            }
            Err(error) => {
                self.violates("digest", error);
                None
            }
        }
    }

    /// The engine of a replica that runs, what it has stored, and what its wall clock shows.
    pub(super) fn process(&mut self, at: usize) -> Option<(&mut Engine, &Rows, u64)> {
        let now_ms = self.now_ms;
        let island = &mut self.islands[at];
        let now = island.clock.unix_ms(now_ms);
        island.running.as_mut().map(|running| (&mut running.engine, &island.disk.rows, now))
    }

    /// Carries out what the engine wants done, and then acknowledges.
    pub(super) fn flush(&mut self, at: usize, input: Input) {
        self.carry_out(at, input);
        if self.islands[at].running.as_ref().is_some_and(|running| running.engine.is_fenced()) {
            self.reincarnate(at);
            self.carry_out(at, Input::Other);
        }
        if let Some(running) = &mut self.islands[at].running {
            for number in std::mem::take(&mut running.unacknowledged) {
                self.ledger.acknowledged(number);
            }
        }
    }

    fn reincarnate(&mut self, at: usize) {
        let (name, clock) = (self.islands[at].name.clone(), self.islands[at].clock);
        let new = self.new_replica(&name, clock);
        if let Some((engine, rows, _)) = self.process(at)
            && let Err(error) = engine.reincarnate(new, rows)
        {
            self.violates("digest", error.to_string());
        }
    }

    fn carry_out(&mut self, at: usize, input: Input) {
        let Some((engine, _, now)) = self.process(at) else { return };
        let effects = engine.flush(now);
        if effects.is_empty() {
            return;
        }
        let mut flushed = Flushed::new(input, now);
        for effect in effects {
            match effect {
                Effect::Commit(commit) => {
                    let rows = &self.islands[at].disk.rows;
                    flushed.before(&commit, rows);
                    if !self.commit(at, Rc::new(*commit)) {
                        return;
                    }
                }
                Effect::Notify(notice) => self.noticed(at, notice, &mut flushed),
                Effect::Repair { from, session } => self.wants_repair(at, from, session),
                Effect::TellFloor { message } => self.tell_floor(at, message),
                Effect::Rewind { after } => {
                    self.tally.effect("log_read_again", 1);
                    if let Some(reader) = self.islands[at].running.as_mut().and_then(|it| it.reader.as_mut())
                    {
                        reader.last = after;
                    }
                }
            }
        }
        let island = &self.islands[at];
        if let Some(running) = &island.running {
            let (rows, engine) = (&island.disk.rows, &running.engine);
            let found = self.checks.flushed(at, engine, rows, &self.ledger, &flushed, self.scenario);
            if let Err((checker, detail)) = found {
                self.violates(checker, format!("at {}: {detail}", self.islands[at].replica()));
            }
        }
    }

    /// Stores it; false if the process is no more.
    fn commit(&mut self, at: usize, commit: Rc<archipelago_engine::Commit>) -> bool {
        let now_ms = self.now_ms;
        let island = &mut self.islands[at];
        if let Some(DiesInCommit { is_stored, down_ms }) = island.dies_in_commit.take() {
            self.tally.felt("kill_in_commit", 1);
            self.trace.note(now_ms, || format!("{at} dies in a commit, stored: {is_stored}"));
            if is_stored {
                self.store(at, &commit);
                // Nobody was told, and it is there.
                if let Some(running) = &mut self.islands[at].running {
                    running.unacknowledged.clear();
                }
            }
            self.dies(at);
            self.rises(at, down_ms);
            return false;
        }
        if now_ms < island.disk_full_until_ms && !self.is_calm {
            self.tally.felt("disk_full", 1);
            self.trace.note(now_ms, || format!("the disk of {at} is full"));
            // After a failed commit nothing is taken in until the store is opened again.
            let left = island.disk_full_until_ms - now_ms;
            self.dies(at);
            self.rises(at, left + 10);
            return false;
        }
        self.store(at, &commit);
        true
    }

    fn store(&mut self, at: usize, commit: &Rc<archipelago_engine::Commit>) {
        let island = &mut self.islands[at];
        let reader = island.running.as_ref().and_then(|running| running.reader);
        let log = reader.map(|reader| reader.log).or(island.disk.rows.log);
        island.disk.change(Change::Commit { commit: commit.clone(), log });
        if commit.must_last() && self.case.settings.durability == Durability::Fsync {
            island.disk.sync();
        }
        if let Some(Reincarnation { old, fork, new, .. }) = &commit.reincarnation {
            self.ledger.renamed(island.lineage, old, *fork, new);
            island.shares_identity = false;
            if let Some(running) = &mut island.running {
                // It may cover what has other names now, and is nowhere to be had under the old ones.
                running.floor = None;
            }
            // Of what it wrote under its old name it may have less by now.
            island.has_receded = true;
            self.tally.effect("reincarnations", 1);
            self.trace.note(self.now_ms, || format!("{old} becomes {new} from {fork} on"));
            self.check_start(at);
            self.forget_tokens_of(old, *fork);
        }
        for (old, new) in &commit.rewritten {
            self.ledger.rewritten(self.islands[at].lineage, old, new);
            self.tally.effect("written_anew", 1);
            self.trace.note(self.now_ms, || format!("{old} becomes {new}"));
        }
        if commit.has_local_writes() {
            match self.case.settings.durability {
                Durability::Fsync => self.emit(at),
                Durability::Os => {
                    let (life, takes_ms) = (self.islands[at].life, 1 + self.dice.below(SYNC_MS_MAX));
                    self.agenda.put(self.now_ms + takes_ms, Happening::Emits { island: at, life });
                }
            }
        }
    }

    fn noticed(&mut self, at: usize, notice: Notice, flushed: &mut Flushed) {
        match notice {
            Notice::Applied { dot, hlc, .. } => {
                self.trace.note(self.now_ms, || format!("{at} applies {dot}"));
                flushed.applied(dot, hlc);
            }
            Notice::Conflict(conflict) => {
                self.tally.effect("conflicts", 1);
                flushed.conflicted(conflict.dot.clone());
            }
            Notice::Quarantined { dot, ahead } => {
                self.tally.effect("quarantined", 1);
                self.trace
                    .note(self.now_ms, || format!("{at} quarantines {dot}: {} ms ahead", ahead.as_millis()));
            }
            Notice::LeftToRepair { dot } => {
                self.tally.effect("events_given_up", 1);
                self.trace.note(self.now_ms, || format!("{at} leaves {dot} to repair"));
                self.checks.left_to_repair(dot);
            }
            Notice::Diverged { replica } => {
                self.tally.effect("divergence_alarms", 1);
                // Copies of one store may stand for different states by one vector, until they are told apart.
                if !self.ledger.has_forked() {
                    let own = self.islands[at].replica().clone();
                    self.violates(
                        "convergence",
                        format!("{own} and {replica} have equal vectors and unequal states"),
                    );
                }
            }
            Notice::Damaged { buckets, .. } => {
                self.violates(
                    "digest",
                    format!("at {at} the digest is not that of what is stored, in {buckets:?}"),
                );
            }
            Notice::Member { replica, state } => {
                self.trace.note(self.now_ms, || format!("{at} hears that {replica} is {}", state.name()));
            }
            Notice::Returned { .. } => self.tally.effect("returned", 1),
            Notice::NameShared { .. } => self.tally.effect("names_shared", 1),
            Notice::Fenced { dot } => {
                self.tally.effect("fenced", 1);
                self.trace.note(self.now_ms, || format!("{at} is fenced by {dot}"));
            }
            _ => {}
        }
    }

    pub(super) fn is_slow(&mut self, at: usize) -> bool {
        let is_slow = self.now_ms < self.islands[at].slow_until_ms;
        self.tally.felt("slow", u64::from(is_slow));
        is_slow
    }
}

/// At one of how many ticks some of what is stored is read again, and how many entities.
const SCRUB_EVERY: u64 = 10;
const SCRUBBED_AT_ONCE: usize = 4;
/// How long it takes to sync what is to be sent.
const SYNC_MS_MAX: u64 = 20;
