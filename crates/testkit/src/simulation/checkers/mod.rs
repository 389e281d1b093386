//! What must hold, whatever breaks: one property a file. Each holds the replicas against the [`Ledger`], which knows every
//! write as its author does.

pub(crate) mod acknowledged;
mod bounds;
pub(crate) mod causality;
mod conflicts;
pub(crate) mod convergence;
mod counters;
mod digest;
mod sessions;
pub(crate) mod state;
mod tombstones;

use std::collections::BTreeMap;

use archipelago_clock::{Dot, VersionVector};
use archipelago_engine::{Commit, Engine};
use archipelago_proto::{EntityId, Limits};
use bytes::Bytes;

use super::{
    Dice, Ledger, Scenario,
    disk::Rows,
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Applied(Dot),
    Conflict(Dot),
}

impl Flushed {
    pub(super) fn new(input: Input) -> Self {
        Flushed { input, before: BTreeMap::new(), told: Vec::new() }
    }

    /// This commit is about to be stored.
    pub(super) fn before(&mut self, commit: &Commit, rows: &Rows) {
        for (entity, _) in &commit.entities {
            self.before.entry(entity.clone()).or_insert_with(|| rows.entities.get(entity).cloned());
        }
    }

    pub(super) fn applied(&mut self, dot: Dot) {
        self.told.push(Told::Applied(dot));
    }

    pub(super) fn conflicted(&mut self, dot: Dot) {
        self.told.push(Told::Conflict(dot));
    }
}

impl Checks {
    pub(super) fn new(seed: u64) -> Self {
        Checks { seen: BTreeMap::new(), dice: Dice::keyed(seed, [CHECKS, 0, 0]) }
    }

    /// A replica starts from this, or goes on under another identity.
    pub(super) fn starts(&mut self, at: usize, vector: &VersionVector) {
        self.seen.insert(at, vector.clone());
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
            invariant(verdict).map_err(|detail| ("invariant", format!("{name}: {detail}")))
        })
    }
}

/// Sets these dice apart from others of the same seed.
const CHECKS: u64 = 5;
