//! What goes wrong in leader-follower mode.

use archipelago::leader_follower::{LeaderInfo, ReadError, RoleError, WriteError};

use super::{Problem, ProblemType, value_problem};

impl Problem {
    /// This node follows; the leader is named, if there is one.
    pub(crate) fn not_leader(leader: Option<LeaderInfo>) -> Problem {
        let detail = match &leader {
            Some(leader) => format!("this node follows; the leader is {leader}"),
            None => "this node follows, and nobody leads just now".to_owned(),
        };
        Problem { leader, ..Problem::new(ProblemType::NotLeader, detail) }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let detail = error.to_string();
        let kind = match error {
            WriteError::FollowerReadOnly { leader } => return Problem::not_leader(leader),
            // What was demanded of the entity; a removal that demands nothing is looked at by who removes.
            WriteError::AlreadyExists { .. }
            | WriteError::NotFound { .. }
            | WriteError::VersionMismatch { .. } => ProblemType::VersionMismatch,
            WriteError::Value(error) => value_problem(&error),
            WriteError::NotWritten { .. } => ProblemType::NotWritten,
            WriteError::OutcomeUnknown { .. } => ProblemType::OutcomeUnknown,
            WriteError::StoreFailed { .. } => ProblemType::StoreFailed,
            WriteError::Closed => ProblemType::Draining,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, detail)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Behind { .. } => ProblemType::NotCaughtUp,
            ReadError::TooStale { .. } => ProblemType::TooStale,
            ReadError::NoLeader { .. } => ProblemType::NoLeader,
            ReadError::Desynced => ProblemType::Resyncing,
            ReadError::Value(_) => ProblemType::Damaged,
            ReadError::Store { .. } => ProblemType::StoreFailed,
            ReadError::Unreachable { .. } => ProblemType::NoAnswer,
            ReadError::Closed => ProblemType::Draining,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<RoleError> for Problem {
    fn from(error: RoleError) -> Self {
        let detail = error.to_string();
        let kind = match error {
            RoleError::NotLeader { leader } => return Problem::not_leader(leader),
            RoleError::NotEligible { .. } => ProblemType::NotEligible,
            RoleError::Timeout { .. } => ProblemType::OutcomeUnknown,
            RoleError::NoAnswer { .. } | RoleError::Pipeline(_) => ProblemType::NoAnswer,
            RoleError::Closed => ProblemType::Draining,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, detail)
    }
}
