use archipelago_proto::{ForwardedWrite, Operation};
use tokio::sync::oneshot;

use super::{RoleError, WriteError};

/// What the owner of the state is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Write.
    Write { write: ForwardedWrite, reply: oneshot::Sender<Result<Written, WriteError>> },
    /// Put an entry into the log that is about no key.
    Push { operation: Operation, reply: oneshot::Sender<Result<Written, WriteError>> },
    /// Lead.
    Promote { reply: oneshot::Sender<Result<(), RoleError>> },
    /// Lead no more.
    Demote { reply: oneshot::Sender<Result<(), RoleError>> },
    /// Take the state of another node.
    Resync,
}

/// A write that is in the log and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) term: u64,
    pub(super) index: u64,
}
