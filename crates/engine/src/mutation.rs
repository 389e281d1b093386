//! Deliberate mistakes, by which tests prove that they can catch: with the feature `mutations` alone, which nothing but
//! tests may ask for. A build that has it is not for data that anyone wants to keep.
//!
//! Each [`Mutation`] breaks one promise by one condition, at the place where somebody might get it wrong. A thread makes
//! at most one at a time, and other threads do not see it: simulations run on one thread.
//!
//! ```
//! use archipelago_engine::mutation::Mutation;
//!
//! assert_eq!(Mutation::made(), None);
//! Mutation::SkipCausalBuffer.with(|| assert_eq!(Mutation::made(), Some(Mutation::SkipCausalBuffer)));
//! assert_eq!("skip-causal-buffer".parse(), Ok(Mutation::SkipCausalBuffer));
//! ```
//!
//! Any test can be held against one: each thread begins with the mutation that the environment variable
//! [`ARCHIPELAGO_MUTATION`](VARIABLE) names, and tests that are worth something fail then.
//!
//! Source: DeMillo, Lipton, Sayward: "Hints on Test Data Selection: Help for the Practicing Programmer" (1978), with the
//! mistakes chosen by hand in place of all small changes.

use std::{cell::Cell, fmt, marker::PhantomData, str::FromStr};

/// Names the mutation with which each thread begins.
pub const VARIABLE: &str = "ARCHIPELAGO_MUTATION";

/// Whose code makes the mistake, and so which simulation can show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The engine of masters.
    Masters,
    /// What drives the engine of masters: `MultiMasterManager`.
    MasterManager,
    /// The core of the leader–follower mode.
    LeaderFollower,
    /// What drives that core: `LeaderFollowerManager`.
    NodeManager,
}

macro_rules! mutations {
    ($($part:ident { $($mutation:ident $name:literal $what:literal)* })*) => {
        /// A mistake in the code, made on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Mutation {
            $($(#[doc = $what] $mutation,)*)*
        }

        impl Mutation {
            /// All of them, by part.
            pub const ALL: &[Mutation] = &[$($(Mutation::$mutation,)*)*];

            /// Its name, as in `skip-causal-buffer`.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Mutation::$mutation => $name,)*)*
                }
            }

            /// What is done wrong, and which promise that breaks, in a sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $($(Mutation::$mutation => $what,)*)*
                }
            }

            /// Whose mistake it is.
            pub const fn part(self) -> Part {
                match self {
                    $($(Mutation::$mutation)|* => Part::$part,)*
                }
            }
        }
    };
}

mutations! {
    Masters {
        SkipCausalBuffer "skip-causal-buffer"
            "An event is applied without all that its admitting replica had applied: no causal order of visibility."
        ApplyPastGap "apply-past-gap"
            "An event is applied although earlier ones of its origin are missing, which are taken for duplicates then: acknowledged writes are lost."
        ApplyTwice "apply-twice"
            "An event that was applied before is applied again: applying is not idempotent, and what was superseded comes back."
        DropTurnedAway "drop-turned-away"
            "An event that found no room in the causal buffer is forgotten instead of read again: a bound drops silently."
        UnboundedBuffer "unbounded-buffer"
            "The causal buffer takes in events beyond its limit: a bound does not hold."
        CheckpointPassesWaiting "checkpoint-passes-waiting"
            "Events that wait in memory do not hold the checkpoint: after a crash nobody reads them again."
        CheckpointBeforeState "checkpoint-before-state"
            "The checkpoint is stored before the state that it stands for: a crash in between loses what was read."
        ForkNotFenced "fork-not-fenced"
            "A replica whose identity is in other hands goes on under it: one dot stands for two writes."
        ForgetOwnSequence "forget-own-sequence"
            "After a restart a replica counts its own writes from the beginning: one dot stands for two writes."
        KeepOldDots "keep-old-dots"
            "A replica that takes another identity leaves what it wrote under the old one: those writes never reach the others."
        ForgetClockCeiling "forget-clock-ceiling"
            "After a restart the clock does not begin above all stamps given before: a later write may have the lesser stamp."
        ClockIgnoresRemote "clock-ignores-remote"
            "The clock does not observe the stamps of others' writes: an effect may have a lesser stamp than its cause, and winners depend on the order of arrival."
        IgnoreQuarantine "ignore-quarantine"
            "What is stamped too far ahead is applied at once: never early is what was promised."
        SupersedeNothing "supersede-nothing"
            "A write does not supersede what its author had seen: siblings pile up, and writes that follow one another are told as conflicts."
        TombstonesByContext "tombstones-by-context"
            "A tombstone is superseded by what the author of a write had seen, not by what was seen where it was admitted: whether it was reclaimed before changes the outcome."
        IgnoreStaleToken "ignore-stale-token"
            "A write with the token of an earlier read supersedes all that its replica has: a change in between is overwritten unseen."
        AdmitAheadOfState "admit-ahead-of-state"
            "A write is admitted whose author had seen more than its replica: what arrives later is superseded or not, by the order of arrival."
        TokenWithoutWrite "token-without-write"
            "The token of a receipt does not cover the write: a session does not read its own writes."
        LastArrivalWins "last-arrival-wins"
            "Under last writer wins the write that arrives last wins, whatever its stamp: no convergence."
        WholeRecordStamps "whole-record-stamps"
            "Under field merge a write that meets a later one of the record loses all its fields, not only those that both wrote: no convergence."
        SiblingsByArrival "siblings-by-arrival"
            "Siblings stand in the order of their arrival, not of their dots: a merge function sees another list on each replica."
        HideConflicts "hide-conflicts"
            "Concurrent writes are not reported."
        DigestMissesRepair "digest-misses-repair"
            "The digest does not follow what repair brings: equal states have unequal digests."
        RepairWithoutTombstones "repair-without-tombstones"
            "A delta leaves out entities that were removed: they live on with whoever takes it in."
        RepairPartly "repair-partly"
            "Of a delta in which several entities come one is left out, and the vector moves all the same: acknowledged writes are lost."
        PiecesAreWhole "pieces-are-whole"
            "The pieces of a delta, which are of different moments, are taken for one state: what changed between them is lost."
        TakeBackSuperseded "take-back-superseded"
            "Repair takes what was seen here and superseded for new: what was removed comes back."
        KeepRemovedContent "keep-removed-content"
            "What a CRDT held before it was removed elsewhere is joined with what it holds since, once the removal is reclaimed: what was removed comes back."
        TakePartBelowFloor "take-part-below-floor"
            "A replica that lacks reclaimed removals takes a delta in place of the whole state: what was removed stays."
        KeepUnmetWrites "keep-unmet-writes"
            "What was written before the whole state of another replica was taken stays the same write, although it never met the removals that are gone there: where it did meet them it is another thing."
        TakeFromBehind "take-from-behind"
            "A delta is taken from a replica that lacks what was reclaimed here: what was removed comes back."
        ReclaimAtOnce "reclaim-at-once"
            "Tombstones go as soon as this replica has them: a write that had not seen the removal brings back what was removed."
        StableByOwnVector "stable-by-own-vector"
            "The stable cut is what this replica has applied, whatever the members have: tombstones go before they are stable."
        JoiningNotAwaited "joining-not-awaited"
            "The stable cut does not wait for members that are joining: tombstones go that they do not have."
        CountHeartbeatsEarly "count-heartbeats-early"
            "A heartbeat counts before what it speaks of is applied: a member's writes that are still under way count as made without what it has."
        IgnoreFloor "ignore-floor"
            "An event behind a floor counts although it was admitted without all below it: it does not meet the tombstones that are gone."
    }
    MasterManager {
        AcknowledgeBeforeCommit "acknowledge-before-commit"
            "A write is acknowledged before it is stored: a crash loses an acknowledged write."
        EmptyOutboxEarly "empty-outbox-early"
            "A message leaves the outbox when it is sent, not when the broker has it: one that is lost on the way never reaches the log."
    }
    LeaderFollower {
        IgnoreTerm "ignore-term"
            "An entry of a leader that was deposed counts."
        EntriesPastGap "entries-past-gap"
            "Entries are applied although earlier ones are missing: nodes of one index have different states."
        IgnoreChain "ignore-chain"
            "An entry is applied on another history than the one it was written on: divergence is not seen, and entries that the log lost stay in the state."
        DemandOnStored "demand-on-stored"
            "What a write demands is judged by what is stored alone, not by what is on its way to the log: two writers both create one key."
    }
    NodeManager {
        ServeBeforeEnd "serve-before-end"
            "A leader begins its term where it stands, and not at the end of the log: acknowledged writes are not in its history."
        AppendUnexpecting "append-unexpecting"
            "A leader appends wherever the log ends, not where it knows it to end: a deposed leader goes on writing."
        AcknowledgeBeforeLog "acknowledge-before-log"
            "A write is acknowledged before the broker has it: a leader that is deposed loses acknowledged writes."
        SkipPutBack "skip-put-back"
            "A leader does not put back what the log lost: others never get those entries."
        KeepUnlistedRows "keep-unlisted-rows"
            "A node that takes the state of another keeps rows of its own that are not in it: what was removed stays."
        ReadUnconfirmed "read-unconfirmed"
            "A leader shows a linearizable read without making sure that it still leads: another one may have written since."
        ReadAppliedOnly "read-applied-only"
            "A linearizable read on the leader waits only for what is applied there: a follower may have shown what is still under way."
        IgnoreSession "ignore-session"
            "A read does not wait for what its session has seen: no read of one's own writes."
    }
}

thread_local! {
    static MADE: Cell<Option<Mutation>> = Cell::new(named_by_environment());
}

fn named_by_environment() -> Option<Mutation> {
    let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    Some(name.parse().unwrap_or_else(|error| panic!("{VARIABLE}: {error}")))
}

impl Mutation {
    /// Makes the mistake on this thread while `run` runs.
    pub fn with<T>(self, run: impl FnOnce() -> T) -> T {
        let _making = self.make();
        run()
    }

    /// Makes the mistake on this thread until the guard is dropped; then that of before, if any.
    pub fn make(self) -> Making {
        Making { before: MADE.replace(Some(self)), on_one_thread: PhantomData }
    }

    /// The mistake that this thread makes.
    pub fn made() -> Option<Mutation> {
        MADE.get()
    }

    /// Whether this thread makes it.
    pub fn is_made(self) -> bool {
        Self::made() == Some(self)
    }
}

/// As long as this lives, its thread makes a mistake.
#[derive(Debug)]
#[must_use = "the mistake is made until this is dropped"]
pub struct Making {
    before: Option<Mutation>,
    on_one_thread: PhantomData<*const ()>,
}

impl Drop for Making {
    fn drop(&mut self) {
        MADE.set(self.before);
    }
}

/// There is no mutation of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no mutation has the name {name:?}; `Mutation::ALL` lists them")]
pub struct UnknownMutation {
    /// The name.
    pub name: String,
}

impl FromStr for Mutation {
    type Err = UnknownMutation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|mutation| mutation.name() == name);
        found.copied().ok_or_else(|| UnknownMutation { name: name.to_owned() })
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
