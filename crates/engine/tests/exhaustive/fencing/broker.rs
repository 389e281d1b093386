use std::collections::BTreeSet;

use super::{Flaw, batches::BatchId};

/// What the broker keeps, and what is on its way there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    /// The messages, in order.
    pub(crate) log: Vec<BatchId>,
    /// The token that was given last.
    pub(crate) token: u64,
    /// Appends that were sent. One that never arrives is lost.
    ///
    /// A set: of two equal ones that nobody waits for one changes the log at most, and the other one nothing.
    pub(crate) wire: BTreeSet<Sent>,
}

/// An append on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sent {
    pub(crate) node: usize,
    pub(crate) batch: BatchId,
    /// How many messages the log is to have.
    pub(crate) expected: usize,
    /// Its author waits for the answer.
    pub(crate) is_awaited: bool,
}

impl Broker {
    /// An append arrives: true if it is in the log now.
    pub(crate) fn take(&mut self, sent: &Sent, flaw: Flaw) -> bool {
        self.wire.remove(sent);
        let compares = flaw != Flaw::AppendsWithoutCompare;
        let is_stored = self.log.len() == sent.expected || !compares;
        if is_stored {
            self.log.push(sent.batch);
        }
        if compares {
            // The log grows only: these will not be taken, and nobody waits to hear that.
            let len = self.log.len();
            self.wire.retain(|sent| sent.is_awaited || sent.expected >= len);
        }
        is_stored
    }

    /// A node does not wait for answers any more.
    pub(crate) fn forget(&mut self, node: usize) {
        let forgotten = std::mem::take(&mut self.wire).into_iter().map(|sent| match sent.node == node {
            true => Sent { is_awaited: false, ..sent },
            false => sent,
        });
        let len = self.log.len();
        self.wire = forgotten.filter(|sent| sent.is_awaited || sent.expected >= len).collect();
    }
}
