//! What must hold, whatever breaks: one property a file. Each holds the replicas against the [`Ledger`], which knows every
//! write as its author does.

pub(crate) mod acknowledged;
mod bounds;
pub(crate) mod causality;
mod checkpoint;
pub(super) mod clocks;
mod conflicts;
pub(crate) mod convergence;
mod counters;
mod digest;
pub(super) mod floors;
mod sessions;
pub(crate) mod state;
mod tombstones;

use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{Dot, Hlc, VersionVector};
use archipelago_engine::{Commit, Engine};
use archipelago_proto::{EntityId, Limits};
use bytes::Bytes;

use super::{
    Dice, Ledger, Scenario,
    broker::Broker,
    disk::Rows,
    outcome::INVARIANT,
    view::{IslandView, Source, Verdict},
    world::Input,
};

pub(crate) use sessions::Seen;

/// A property that does not hold: its name, and what is wrong.
pub(crate) type Broken = (&'static str, String);

/// How often the state of an entity is held against the ledger: once in so many flushes that changed it.
const STATE_EVERY: u64 = 4;
/// How often the digest is computed anew: once in so many flushes.
const DIGEST_EVERY: u64 = 256;

/// What the checkers remember of each replica.
#[derive(Debug)]
pub(super) struct Checks {
    /// What each had applied when it was looked at last.
    seen: BTreeMap<usize, VersionVector>,
    /// What somebody left to repair.
    left: BTreeSet<Dot>,
    dice: Dice,
}

/// What a flush did.
#[derive(Debug)]
pub(super) struct Flushed {
    input: Input,
    /// The entities that changed, as they were before.
    before: BTreeMap<EntityId, Option<Bytes>>,
    /// What was applied and what conflicted, in order.
    told: Vec<Told>,
    /// The greatest stamp that was applied.
    latest: Hlc,
    now_unix_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Applied(Dot),
    Conflict(Dot),
}

impl Flushed {
    pub(super) fn new(input: Input, now_unix_ms: u64) -> Self {
        Flushed { input, before: BTreeMap::new(), told: Vec::new(), latest: Hlc::ZERO, now_unix_ms }
    }

    /// This commit is about to be stored.
    pub(super) fn before(&mut self, commit: &Commit, rows: &Rows) {
        for (entity, _) in &commit.entities {
            self.before.entry(entity.clone()).or_insert_with(|| rows.entities.get(entity).cloned());
        }
    }

    pub(super) fn applied(&mut self, dot: Dot, hlc: Hlc) {
        self.latest = self.latest.max(hlc);
        self.told.push(Told::Applied(dot));
    }

    pub(super) fn conflicted(&mut self, dot: Dot) {
        self.told.push(Told::Conflict(dot));
    }
}

impl Checks {
    pub(super) fn new(seed: u64) -> Self {
        Checks { seen: BTreeMap::new(), left: BTreeSet::new(), dice: Dice::keyed(seed, [CHECKS, 0, 0]) }
    }

    /// A replica starts from this, or goes on under another identity.
    pub(super) fn starts(&mut self, at: usize, rows: &Rows, broker: &Broker) -> Result<(), Broken> {
        self.seen.insert(at, rows.vector.clone());
        checkpoint::check(rows, broker, &self.left)
    }

    /// Somebody leaves this write of the log to repair.
    pub(super) fn left_to_repair(&mut self, dot: Dot) {
        self.left.insert(dot);
    }

    /// A replica has carried out what its engine wanted done.
    pub(super) fn flushed(
        &mut self,
        at: usize,
        engine: &Engine,
        rows: &Rows,
        ledger: &Ledger,
        flushed: &Flushed,
        scenario: &Scenario,
    ) -> Result<(), Broken> {
        let limits = Limits::default();
        let island = IslandView { source: Source::Running { engine, rows }, limits: &limits };
        let seen = self.seen.entry(at).or_default();
        bounds::check(engine)?;
        let max_drift_ms = u64::try_from(engine.config().max_drift.as_millis()).unwrap_or(u64::MAX);
        clocks::applied(flushed.latest, flushed.now_unix_ms, max_drift_ms)?;
        if *seen != *engine.vector() {
            causality::check(seen, engine.vector(), ledger)?;
            seen.clone_from(engine.vector());
        }
        if flushed.input != Input::Other && !flushed.before.is_empty() {
            conflicts::check(&island, flushed, ledger)?;
        }
        for entity in flushed.before.keys() {
            if self.dice.below(STATE_EVERY) == 0 {
                state::check(&island, entity, ledger)?;
            }
        }
        if self.dice.below(DIGEST_EVERY) == 0 {
            digest::check(&island, scenario)?;
        }
        Ok(())
    }

    /// Nothing breaks any more, and all should be equal.
    pub(super) fn end(verdict: &Verdict<'_>, scenario: &Scenario) -> Result<(), Broken> {
        acknowledged::check(verdict)?;
        convergence::check(verdict, scenario)?;
        for island in verdict.islands() {
            digest::check(island, scenario)?;
            for entity in scenario.entities() {
                state::check(island, entity, verdict.ledger)?;
            }
        }
        scenario.invariants().iter().try_for_each(|(name, invariant)| {
            invariant(verdict).map_err(|detail| (INVARIANT, format!("{name}: {detail}")))
        })
    }
}

/// Sets these dice apart from others of the same seed.
const CHECKS: u64 = 5;
