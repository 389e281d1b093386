use std::convert::Infallible;

use archipelago_engine::leader_follower::{Demand, Proposal, Proposer, Refusal};
use archipelago_proto::{EntityId, Entry, EntryBatch, Limits, Operation, PutKind, encode_value};

use super::{
    batches::{Authored, BatchId, Batches},
    disk::{Disk, Past},
};

pub(crate) const NAMESPACE: &str = "orders";
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// The only key.
pub(crate) fn key() -> EntityId {
    "k".into()
}

/// A node: its disk, and the process that uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) disk: Disk,
    /// How many messages of the log are done with.
    pub(crate) place: usize,
    /// The start of the newest term, if it was applied in this life.
    pub(crate) start: Option<BatchId>,
    /// The token of the lease, if it takes that for its own.
    pub(crate) held: Option<u64>,
    pub(crate) role: Role,
    /// How often it was started anew.
    pub(crate) lives: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    #[default]
    Follower,
    Candidate(Claim),
    Leader(Tenure),
}

/// A candidate that tries to start a term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) token: u64,
    pub(crate) flight: Flight,
}

/// What a leader has under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tenure {
    /// What it had applied when it began to lead, its term included.
    pub(crate) since: Past,
    /// All that it wrote in this term.
    pub(crate) taken: Vec<BatchId>,
    /// What was not acknowledged to it yet.
    pub(crate) flights: Vec<Flight>,
    /// How many messages the log will have with them.
    pub(crate) expected: usize,
}

/// An append that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) batch: BatchId,
    pub(crate) expected: usize,
    pub(crate) answer: Option<Answer>,
}

/// What the broker said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// It is in the log, and that many messages are before it.
    Stored(usize),
    Refused,
}

impl Node {
    /// The process ends, and another one begins on its disk.
    pub(crate) fn crash(&mut self) {
        let (disk, place, lives) = (std::mem::take(&mut self.disk), self.place, self.lives + 1);
        *self = Node { disk, place, lives, ..Node::default() };
    }

    /// The batch that starts a term, as a candidate writes it.
    pub(crate) fn start_of_term(&self, node: usize, token: u64) -> Authored {
        let start = Operation::TermStart { node: NAMES[node].into(), session: self.lives + 1, address: None };
        let batch = EntryBatch {
            namespace: NAMESPACE.into(),
            term: token.max(self.disk.past.term + 1),
            first_index: self.disk.past.index + 1,
            before: self.disk.past.chain,
            written_unix_ms: 0,
            entries: vec![Entry::new(start)],
        };
        Authored { batch, node, demanded: None }
    }

    /// Begins to lead in the term that was applied last.
    pub(crate) fn lead(&mut self) {
        self.role = Role::Leader(Tenure {
            since: self.disk.past,
            taken: Vec::new(),
            flights: Vec::new(),
            expected: self.place,
        });
    }
}

impl Tenure {
    /// The proposer of this leader, made again from all that it took.
    fn proposer(&self, disk: &Disk, batches: &Batches) -> Proposer {
        let mut proposer = Proposer::new(NAMESPACE, Limits::default(), self.since.history());
        for number in &self.taken {
            let batch = &batches.of(*number).batch;
            let Operation::Put { key, value, kind } = batch.entries[0].operation.clone() else {
                panic!("a leader of this model takes nothing else")
            };
            let taken = proposer.propose(Proposal::Put { key, value, kind }, Demand::default(), |_| none());
            assert_eq!(taken, Ok(Ok(batch.first_index)));
            assert_eq!(proposer.seal(0).as_ref(), Some(batch), "it writes the same again");
            if batch.last_index() <= disk.past.index {
                proposer.stored(batch);
            }
        }
        proposer
    }

    /// Takes a write, and gives the batch to be sent; nothing if it is refused.
    pub(crate) fn take(
        &self,
        (node, write): (usize, u8),
        demand: Demand,
        disk: &Disk,
        batches: &Batches,
    ) -> Result<Authored, Refusal> {
        let value = encode_value(&write, &Limits::default()).expect("small");
        let put = Proposal::Put { key: key(), value, kind: PutKind::Upsert };
        let mut proposer = self.proposer(disk, batches);
        let taken = proposer.propose(put, demand, |key| Ok::<_, Infallible>(disk.version(key)));
        let Ok(taken) = taken;
        taken?;
        let batch = proposer.seal(0).expect("one write was taken");
        Ok(Authored { batch, node, demanded: demand.version })
    }
}

fn none() -> Result<Option<u64>, Infallible> {
    Ok(None)
}
