use std::{io, path::PathBuf};

use crate::interrupt::Interrupted;

/// Why a command came to nothing: what happened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperateError {
    #[error("{url:?} is no address of a node; --node is http://host:port or https://host:port")]
    Address { url: String },
    #[error("no node answers at {url}: {reason}; check --node, and that `archipelago serve` runs there")]
    Unreachable { url: String, reason: String },
    #[error(
        "the node at {url} is not to be trusted: {reason}; name the authority of its certificate with --ca"
    )]
    Untrusted { url: String, reason: String },
    #[error("{detail} ({status} {name}){}", advice(.name))]
    Problem { status: u16, name: String, detail: String },
    #[error("what answers at {url} is no node: {reason}; check --node")]
    Foreign { url: String, reason: String },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("the token cannot stand in a header: it has characters that no token has; check --token")]
    Token,
    #[error("the id {id:?} cannot be written in a path: it must not be empty, \".\" or \"..\"")]
    Id { id: String },
    #[error("{what} is no JSON: {reason}; a text is written with quotes: '\"text\"'")]
    Value { what: String, reason: String },
    #[error("{}, line {line}: {reason}", path.display())]
    Line { path: PathBuf, line: u64, reason: String },
    #[error("{reason}")]
    Refused { reason: String },
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Store(String),
    /// The outcome itself is a failure, and was told.
    #[error("")]
    Told,
    /// Whoever read the output has seen enough.
    #[error("")]
    NobodyReads,
    #[error("interrupted")]
    Interrupted,
    #[error("interrupted after {done} {unit}; run the same command again, and it goes on there")]
    InterruptedAt { done: u64, unit: &'static str },
}

impl OperateError {
    /// The name of the problem that a node told, as `docs/NODE.md` lists them.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            OperateError::Problem { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            OperateError::Unreachable { .. } => true,
            // A follower writes no sooner for being asked again.
            OperateError::Problem { name, .. } if name == "not-leader" => false,
            OperateError::Problem { status, .. } => *status == 503 || *status == 408,
            _ => false,
        }
    }
}

impl From<Interrupted> for OperateError {
    fn from(_: Interrupted) -> Self {
        OperateError::Interrupted
    }
}

/// What to do about a problem, where its detail does not say it.
fn advice(name: &str) -> &'static str {
    match name {
        "unauthorized" => {
            "; give a token with ARCHIPELAGO_TOKEN, --token-file or --token: `archipelago token new` makes one"
        }
        "forbidden" => "; use a token of a role that may do this",
        "no-such-namespace" => "; check --namespace: `archipelago status` shows which there are",
        "no-such-entity" => "; `archipelago ls` shows which there are",
        "no-such-member" => "; `archipelago members list` shows who there is",
        "no-such-path" => "; the node may be of another version than this program",
        "not-leader" => "; name the leader with --node: `archipelago nodes` shows who leads",
        "wrong-mode" => "; `archipelago status` shows the mode of each namespace",
        "version-mismatch" => "; read it again, and decide anew",
        "too-large" => "; http.body_bytes_max of the node bounds it",
        "request-timeout" | "not-caught-up" | "outbox-full" | "fenced" | "busy" | "draining" => {
            "; try again later, or at another node"
        }
        _ => "",
    }
}
