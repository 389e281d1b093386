use std::sync::{Arc, Mutex, PoisonError};

use archipelago_proto::{EntryBatch, Limits};
use bytes::Bytes;

use super::{super::tap::Witness, world::Clock};

/// What arrived at the log, from whom and when.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) node: String,
    pub(super) batch: EntryBatch,
    /// When the broker had it.
    pub(super) at_ns: u64,
    /// When it was known to be in the log, if it was.
    pub(super) acknowledged_ns: Option<u64>,
}

/// Everything that arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    pub(super) fn all(&self) -> Vec<Arrival> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Notes what one node appends.
#[derive(Debug)]
pub(super) struct NodeWitness {
    pub(super) node: String,
    pub(super) arrivals: Arrivals,
    pub(super) clock: Clock,
}

impl Witness for NodeWitness {
    fn appends(&self, payload: &Bytes) -> usize {
        let batch =
            EntryBatch::decode(payload.clone(), &Limits::default()).expect("a leader appends entries");
        let (at_ns, node) = (self.clock.now_ns(), self.node.clone());
        let mut arrivals = self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(Arrival { node, batch, at_ns, acknowledged_ns: None });
        arrivals.len() - 1
    }

    fn appended(&self, number: usize) {
        let at_ns = self.clock.now_ns();
        self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner)[number].acknowledged_ns = Some(at_ns);
    }
}
