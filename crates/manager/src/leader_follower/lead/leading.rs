use std::{collections::VecDeque, time::Duration};

use archipelago_engine::leader_follower::Proposer;
use archipelago_pipeline::{ExpectedEnd, LogId, LogState, PendingAck, PipelineError, PublishAck};
use archipelago_proto::EntryBatch;
use archipelago_store::StoreError;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::oneshot;

use super::{
    super::{WriteError, command::Written, state::Group},
    End,
};

pub(super) type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// The state of the log that is asked for, with where it ends if nobody else wrote.
type Checking = BoxFuture<'static, (u64, Result<LogState, PipelineError>)>;

/// A message on its way to the log.
pub(super) struct Flight {
    pub(super) batch: EntryBatch,
    pub(super) encoded: Bytes,
    /// The place it has if it is accepted.
    pub(super) sequence: u64,
}

/// What a leader has under way.
pub(super) struct Leading {
    pub(super) term: u64,
    pub(super) proposer: Proposer,
    /// Where the log ends, once all that is under way is in it.
    pub(super) expected: ExpectedEnd,
    /// In the order in which they were sent, and with them their acknowledgements.
    pub(super) flights: VecDeque<Flight>,
    pub(super) acks: FuturesOrdered<PendingAck>,
    /// Acknowledged, and not being stored yet.
    pub(super) decided: Vec<Flight>,
    pub(super) committing: Option<Committing>,
    /// Who waits until which entry is stored.
    pub(super) waiters: VecDeque<Waiter>,
    /// Who is to be refused once this node is known to lead still.
    pub(super) refused: Vec<(Reply, WriteError)>,
    /// An append did not succeed, or that is not known: nothing more is sent before the log was read.
    pub(super) is_in_doubt: bool,
    pub(super) checking: Option<Checking>,
}

/// Who waits until an entry is stored.
pub(super) struct Waiter {
    pub(super) index: u64,
    pub(super) reply: Reply,
    /// It is not told of a write of its own, but that it was refused for what was written up to there: which nobody may
    /// hear of before it is sure to stay.
    pub(super) refused: Option<WriteError>,
}

/// What is being stored.
pub(super) struct Committing {
    pub(super) stored: BoxFuture<'static, Result<(), StoreError>>,
    pub(super) group: Group,
    pub(super) flights: Vec<Flight>,
}

impl Leading {
    /// Nothing is under way, and the log ends as `expected`.
    pub(super) fn new(term: u64, proposer: Proposer, expected: ExpectedEnd) -> Self {
        Leading {
            term,
            proposer,
            expected,
            flights: VecDeque::new(),
            acks: FuturesOrdered::new(),
            decided: Vec::new(),
            committing: None,
            waiters: VecDeque::new(),
            refused: Vec::new(),
            is_in_doubt: false,
            checking: None,
        }
    }

    pub(super) fn handle_ack(&mut self, ack: Result<PublishAck, PipelineError>) {
        if self.is_in_doubt {
            return;
        }
        match ack {
            Ok(ack) => {
                let flight = self.flights.pop_front().expect("each acknowledgement has its message");
                if ack.sequence == flight.sequence {
                    self.decided.push(flight);
                    return;
                }
                self.flights.push_front(flight);
            }
            Err(error) => tracing::debug!(%error, "an append was not acknowledged"),
        }
        self.is_in_doubt = true;
    }

    /// The log as it is when nothing was under way.
    pub(super) fn handle_state(
        &mut self,
        log: Option<&LogId>,
        expected: u64,
        state: Result<LogState, PipelineError>,
    ) {
        self.is_in_doubt |= match state {
            Ok(state) => {
                let is_other = log != Some(&state.id);
                let is_longer = state.last_sequence > self.expected.sequence();
                is_other || state.last_sequence < expected || is_longer
            }
            Err(error) => error.is_loss(),
        };
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
            && self.decided.is_empty()
            && self.committing.is_none()
            && self.proposer.is_empty()
    }

    /// What was sent, and is not known to be in the log.
    pub(super) fn unsettled(&self) -> Vec<Bytes> {
        self.flights.iter().map(|flight| flight.encoded.clone()).collect()
    }

    /// Tells those who waited for entries up to this one.
    pub(super) fn answer(&mut self, index: u64) {
        let term = self.term;
        while self.waiters.front().is_some_and(|waiter| waiter.index <= index) {
            let Waiter { index, reply, refused } = self.waiters.pop_front().expect("there is one");
            match refused {
                Some(refused) => self.refused.push((reply, refused)),
                // Whoever gave up waiting is told nothing; the write stands.
                None => drop(reply.send(Ok(Written { term, index }))),
            }
        }
    }

    /// Tells all who still wait that this node leads no more, and gives the reason.
    pub(super) fn give_up(&mut self, end: &End) -> String {
        let reason = match end {
            End::Halted(halt) => halt.to_string(),
            End::Asked(_) => "it was asked to hand over".to_owned(),
        };
        let sent = self.flights.back().map_or(0, |flight| flight.batch.last_index());
        for (reply, _) in self.refused.drain(..) {
            let _ = reply.send(Err(WriteError::NotWritten { reason: reason.clone() }));
        }
        for Waiter { index, reply, refused } in self.waiters.drain(..) {
            let _ = reply.send(Err(match refused.is_none() && index <= sent {
                true => WriteError::OutcomeUnknown { deadline: Duration::ZERO },
                false => WriteError::NotWritten { reason: reason.clone() },
            }));
        }
        reason
    }
}

pub(super) async fn stored(committing: &mut Option<Committing>) -> Result<Committing, StoreError> {
    match committing {
        None => std::future::pending().await,
        Some(under_way) => {
            (&mut under_way.stored).await?;
            Ok(committing.take().expect("it is there"))
        }
    }
}

pub(super) async fn checked(checking: &mut Option<Checking>) -> (u64, Result<LogState, PipelineError>) {
    match checking {
        None => std::future::pending().await,
        Some(under_way) => {
            let state = under_way.await;
            *checking = None;
            state
        }
    }
}
