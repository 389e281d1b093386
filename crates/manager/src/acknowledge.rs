//! How far a write must have come before its receipt is given out, and how far it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use archipelago_clock::{Dot, ReplicaId};
use archipelago_engine::Change;
use archipelago_proto::{EntityId, TraceId, encode_value};
use serde::Serialize;

use crate::{Expected, MultiMasterManager, SessionToken, WriteError, WriteReceipt, intent::Intent};

/// How far a write must have come before its receipt is given out. It is stored here in any case, and never undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ack {
    /// It survives the crash that this master's durability names.
    #[default]
    Local,
    /// The broker has acknowledged it.
    Pipeline,
    /// So many other masters have applied it, and it survives there what their durability names. They tell by
    /// heartbeats, so it takes up to a heartbeat interval.
    Peers(usize),
    /// More than half of the masters that this one knows, itself included, have it in the same way. It knows those that
    /// ever wrote and those that it has heard.
    Majority,
}

/// What a write asks for beyond the ordinary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How far it must have come. Default [`Ack::Local`].
    pub ack: Ack,
    /// How long that is waited for; then the receipt says what was reached. Default 5 s.
    pub deadline: Duration,
    /// What the author had seen, if not all that this master has: the token of an earlier read or write. A change made
    /// in between then shows as a conflict instead of being overwritten unseen.
    pub context: Option<SessionToken>,
    /// What the entity must be for the write to happen. Default whatever it is.
    pub expected: Expected,
    /// What the write is a part of: it travels with the write, and is told wherever it is applied. Default nothing.
    pub trace: Option<TraceId>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions {
            ack: Ack::Local,
            deadline: Duration::from_secs(5),
            context: None,
            expected: Expected::Anything,
            trace: None,
        }
    }
}

impl WriteOptions {
    /// The defaults, with this [`ack`](Self::ack).
    pub fn ack(ack: Ack) -> Self {
        WriteOptions { ack, ..Self::default() }
    }

    /// The same, with this [`deadline`](Self::deadline).
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same, with this [`context`](Self::context).
    #[must_use]
    pub fn seen(mut self, context: SessionToken) -> Self {
        self.context = Some(context);
        self
    }

    /// The same, if the entity is as [`expected`](Self::expected).
    #[must_use]
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// The same, as a part of this [`trace`](Self::trace).
    #[must_use]
    pub fn traced(mut self, trace: TraceId) -> Self {
        self.trace = Some(trace);
        self
    }

    pub(crate) fn into_parts(self) -> (Ack, Duration, Intent) {
        let context = self.context.map(|token| token.vector().clone());
        (self.ack, self.deadline, Intent { context, expected: self.expected, trace: self.trace })
    }
}

/// How far a write had come when its receipt was given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// The broker had acknowledged it.
    pub pipeline: bool,
    /// How many other masters had told that they have it.
    pub peers: usize,
    /// False if the deadline passed before it had come as far as was asked, or if this master took another identity
    /// meanwhile, under which it cannot be followed. It goes on all the same.
    pub enough: bool,
}

/// How far the writes of this master have come, under its present identity.
#[derive(Debug)]
pub(crate) struct Spread {
    /// That identity: the sequences are those of its writes, and of no other's.
    pub(crate) replica: ReplicaId,
    /// The broker has acknowledged everything up to this sequence.
    pub(crate) emitted: u64,
    /// Of each other master, up to which sequence it has them.
    pub(crate) peers: BTreeMap<ReplicaId, u64>,
    /// Another master is known to know that this one left.
    pub(crate) is_left: bool,
}

impl Spread {
    pub(crate) fn of(replica: ReplicaId) -> Self {
        Spread { replica, emitted: 0, peers: BTreeMap::new(), is_left: false }
    }

    /// A write under an earlier identity is not found here: it may have got another dot.
    fn reached(&self, dot: &Dot) -> Reached {
        if dot.actor != self.replica {
            return Reached::default();
        }
        let peers = self.peers.values().filter(|have| **have >= dot.sequence).count();
        Reached { pipeline: self.emitted >= dot.sequence, peers, enough: false }
    }
}

impl MultiMasterManager {
    /// [`write`](Self::write) with options: how far the write must have come, and what its author had seen.
    ///
    /// # Errors
    /// As [`write`](Self::write). A deadline that passes is none: the receipt says what was [reached](Reached).
    pub async fn write_with<T>(
        &self,
        entity_id: impl Into<EntityId>,
        value: &T,
        options: WriteOptions,
    ) -> Result<WriteReceipt, WriteError>
    where
        T: Serialize + ?Sized,
    {
        let value = encode_value(value, self.limits())?;
        self.change_with(entity_id.into(), Change::Put(value), options).await
    }

    /// [`patch`](Self::patch) with options.
    ///
    /// # Errors
    /// As [`patch`](Self::patch) and [`write_with`](Self::write_with).
    pub async fn patch_with<T>(
        &self,
        entity_id: impl Into<EntityId>,
        fields: &T,
        options: WriteOptions,
    ) -> Result<WriteReceipt, WriteError>
    where
        T: Serialize + ?Sized,
    {
        let patch = self.patch_of(fields)?;
        self.change_with(entity_id.into(), patch, options).await
    }

    /// [`delete`](Self::delete) with options.
    ///
    /// # Errors
    /// As [`write_with`](Self::write_with).
    pub async fn delete_with(
        &self,
        entity_id: impl Into<EntityId>,
        options: WriteOptions,
    ) -> Result<WriteReceipt, WriteError> {
        self.change_with(entity_id.into(), Change::Delete, options).await
    }

    async fn change_with(
        &self,
        entity: EntityId,
        change: Change,
        options: WriteOptions,
    ) -> Result<WriteReceipt, WriteError> {
        let (ack, deadline, intent) = options.into_parts();
        let mut receipt = self.change(entity, change, intent).await?;
        receipt.reached = self.reach(&receipt.dot, ack, deadline).await;
        Ok(receipt)
    }

    pub(crate) async fn reach(&self, dot: &Dot, ack: Ack, deadline: Duration) -> Reached {
        let mut spread = self.shared().spread.subscribe();
        let enough = |spread: &Spread| {
            let reached = spread.reached(dot);
            match ack {
                Ack::Local => true,
                Ack::Pipeline => reached.pipeline,
                Ack::Peers(peers) => reached.peers >= peers,
                Ack::Majority => reached.peers >= self.masters_known(spread) / 2,
            }
        };
        // Under another identity there is nothing more to learn.
        let is_over = |spread: &Spread| spread.replica != dot.actor || enough(spread);
        match tokio::time::timeout(deadline, spread.wait_for(is_over)).await {
            Ok(Ok(spread)) => Reached { enough: enough(&spread), ..spread.reached(dot) },
            _ => Reached { enough: ack == Ack::Local, ..self.shared().spread.borrow().reached(dot) },
        }
    }

    /// How many masters this one knows, itself included: names that ever wrote, and names that were heard.
    fn masters_known(&self, spread: &Spread) -> usize {
        let vector = self.vector_clock();
        let mut names: BTreeSet<&str> = vector.iter().map(|(replica, _)| replica.name()).collect();
        names.extend(spread.peers.keys().map(ReplicaId::name));
        names.insert(spread.replica.name());
        names.len()
    }
}
