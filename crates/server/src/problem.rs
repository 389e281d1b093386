//! What went wrong, as RFC 9457 has it: `application/problem+json` with a type that programs can rely on.

mod leader;

use archipelago::engine::MemberError;
use archipelago::proto::{DecodeError, EncodeError};
use archipelago::{
    SnapshotStoreError, UpdateError,
    leader_follower::LeaderInfo,
    manager::{DiffError, ReadError, RetireError, SnapshotError, WriteError},
};
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// What the type of each problem begins with.
pub const PROBLEM_TYPE_PREFIX: &str = "urn:archipelago:problem:";

/// Where the leader is reached, with a refusal of a follower: the same request goes to the same path there.
pub const LEADER_HEADER: HeaderName = HeaderName::from_static("archipelago-leader");

/// After how many seconds what may pass by itself may be tried again.
const RETRY_AFTER_S: u32 = 1;

macro_rules! problem_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// The type of a problem: stable, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ProblemType { $($(#[doc = $doc])+ $variant,)+ }

        impl ProblemType {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [ProblemType] = &[$(ProblemType::$variant),+];

            /// The name, the last part of the type.
            pub const fn name(self) -> &'static str {
                match self { $(ProblemType::$variant => $name),+ }
            }

            /// The status of the response.
            pub const fn status(self) -> StatusCode {
                match self { $(ProblemType::$variant => StatusCode::$status),+ }
            }

            /// What it is, in a few words; the same each time.
            pub const fn title(self) -> &'static str {
                match self { $(ProblemType::$variant => $title),+ }
            }
        }
    };
}

problem_types! {
    /// A parameter, a header or a body cannot be understood.
    InvalidRequest = "invalid-request", BAD_REQUEST, "The request cannot be understood";
    /// No token, or one that nobody has.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid token is needed";
    /// The role of the token is not enough, or the request comes from a foreign page.
    Forbidden = "forbidden", FORBIDDEN, "This is not allowed";
    /// There is no such path.
    NoSuchPath = "no-such-path", NOT_FOUND, "There is no such path";
    /// There is no such namespace on this node.
    NoSuchNamespace = "no-such-namespace", NOT_FOUND, "There is no such namespace on this node";
    /// The entity was never written, or was removed.
    NoSuchEntity = "no-such-entity", NOT_FOUND, "There is no such entity";
    /// The entity has no such field.
    NoSuchField = "no-such-field", NOT_FOUND, "The entity has no such field";
    /// No member of that name is known.
    NoSuchMember = "no-such-member", NOT_FOUND, "No such member is known";
    /// There is no such snapshot.
    NoSuchSnapshot = "no-such-snapshot", NOT_FOUND, "There is no such snapshot";
    /// The path is not for this method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The path is not for this method";
    /// The response cannot be given in a form that is asked for.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "There is no such form of the response";
    /// The request took too long.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request took too long";
    /// The field is a CRDT, and a plain value would replace it with all that others wrote into it.
    CrdtField = "crdt-field", CONFLICT, "The field is a CRDT, or is not one of that kind";
    /// The strategy of the entity has no CRDTs.
    WrongStrategy = "wrong-strategy", CONFLICT, "The strategy of the entity does not do this";
    /// The namespace is of a mode that does not do this.
    WrongMode = "wrong-mode", CONFLICT, "The mode of the namespace does not do this";
    /// The node was not configured for this.
    NotConfigured = "not-configured", CONFLICT, "The node is not configured for this";
    /// The node must not lead: it is not eligible, or lacks entries.
    NotEligible = "not-eligible", CONFLICT, "The node cannot lead";
    /// The entity is in a form that only newer programs know.
    NewerSchema = "newer-schema", CONFLICT, "The entity is in a newer form";
    /// The entity is not in the state that `If-Match` or `If-None-Match` names.
    VersionMismatch = "version-mismatch", PRECONDITION_FAILED, "The entity is not in the expected state";
    /// The body, or a value in it, is over a limit.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The body or a value is too large";
    /// The body is neither JSON nor MessagePack.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body is in an unknown form";
    /// The value cannot be written.
    InvalidValue = "invalid-value", UNPROCESSABLE_ENTITY, "The value cannot be written";
    /// What is stored is damaged.
    Damaged = "damaged", INTERNAL_SERVER_ERROR, "What is stored cannot be read";
    /// The store failed; whether the write survives is unknown.
    StoreFailed = "store-failed", INTERNAL_SERVER_ERROR, "The store failed";
    /// A fault of the node itself.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The node failed";
    /// What was asked for may have been done, or may be done yet: look before trying again.
    OutcomeUnknown = "outcome-unknown", GATEWAY_TIMEOUT, "It is not known whether it was done";
    /// This node follows, and the leader writes.
    NotLeader = "not-leader", SERVICE_UNAVAILABLE, "This node does not lead";
    /// Nothing was written, and the same may succeed now.
    NotWritten = "not-written", SERVICE_UNAVAILABLE, "Nothing was written";
    /// Nobody could show in time that it leads.
    NoLeader = "no-leader", SERVICE_UNAVAILABLE, "No leader could confirm the read";
    /// This node could not make sure in time that it is as fresh as was asked.
    TooStale = "too-stale", SERVICE_UNAVAILABLE, "This node is not as fresh as was asked";
    /// This node takes the state of another one, and shows nothing until it has it.
    Resyncing = "resyncing", SERVICE_UNAVAILABLE, "This node takes the state anew";
    /// Another node that was asked did not do it.
    NoAnswer = "no-answer", SERVICE_UNAVAILABLE, "Another node did not answer";
    /// This node has not applied yet what the session or the context has seen.
    NotCaughtUp = "not-caught-up", SERVICE_UNAVAILABLE, "This node has not seen that yet";
    /// Too many writes wait for the broker.
    OutboxFull = "outbox-full", SERVICE_UNAVAILABLE, "Too many writes wait for the broker";
    /// Another process uses the identity of this node, which takes another one.
    Fenced = "fenced", SERVICE_UNAVAILABLE, "The node is taking another identity";
    /// The node is at a limit of its own.
    Busy = "busy", SERVICE_UNAVAILABLE, "The node is at a limit";
    /// The node is about to end.
    Draining = "draining", SERVICE_UNAVAILABLE, "The node is ending";
}

/// A problem, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemType,
    pub(crate) detail: String,
    /// It may pass by itself.
    may_pass: bool,
    /// Who leads, if that is what the client should know.
    leader: Option<LeaderInfo>,
}

/// Who leads a namespace.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Leader {
    /// The name of the node.
    node: String,
    /// Where clients reach it, if it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl From<LeaderInfo> for Leader {
    fn from(leader: LeaderInfo) -> Self {
        Leader { node: leader.id, address: leader.address }
    }
}

/// The body of a problem.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemBody {
    /// The type, `urn:archipelago:problem:` and a name that never changes its meaning.
    #[serde(rename = "type")]
    kind: String,
    /// What it is, the same each time.
    title: &'static str,
    /// The status of the response.
    status: u16,
    /// What it is this time, for a person to read.
    detail: String,
    /// Who leads, with `not-leader`, if somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<Leader>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let may_pass = matches!(
            kind,
            ProblemType::NotCaughtUp
                | ProblemType::OutboxFull
                | ProblemType::Fenced
                | ProblemType::Busy
                | ProblemType::Draining
                | ProblemType::NotLeader
                | ProblemType::NotWritten
                | ProblemType::NoLeader
                | ProblemType::TooStale
                | ProblemType::Resyncing
                | ProblemType::NoAnswer
        );
        Problem { kind, detail: detail.into(), may_pass, leader: None }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Problem::new(ProblemType::InvalidRequest, detail)
    }

    pub(crate) fn no_fields() -> Self {
        Problem::invalid("a patch is a map from names of fields to values")
    }

    pub(crate) fn no_such_entity(id: &str) -> Self {
        Problem::new(ProblemType::NoSuchEntity, format!("{id:?} was never written, or was removed"))
    }

    pub(crate) fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("{PROBLEM_TYPE_PREFIX}{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            leader: self.leader.clone().map(Leader::from),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        response.extensions_mut().insert(self.kind);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.may_pass {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        let address = self.leader.as_ref().and_then(|leader| leader.address.as_deref());
        if let Some(address) = address.and_then(|address| HeaderValue::try_from(address).ok()) {
            headers.insert(LEADER_HEADER, address);
        }
        if self.kind == ProblemType::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        use archipelago::engine::WriteError as Refused;
        let detail = error.to_string();
        let kind = match error {
            WriteError::Value(error) => value_problem(&error),
            WriteError::Refused(refused) => match refused {
                Refused::EntityId { .. } => ProblemType::InvalidRequest,
                Refused::Value(error) => value_problem(&error),
                Refused::Malformed(error) => decode_problem(&error),
                Refused::ContextAhead => ProblemType::NotCaughtUp,
                Refused::Fenced { .. } => ProblemType::Fenced,
                Refused::Read(_) => ProblemType::Damaged,
                // The clock is exhausted, or what a later build of the engine knows.
                _ => ProblemType::Internal,
            },
            WriteError::Schema { .. } => ProblemType::InvalidValue,
            WriteError::NewerSchema { .. } => ProblemType::NewerSchema,
            WriteError::Unexpected { .. } => ProblemType::VersionMismatch,
            WriteError::OutboxFull { .. } => ProblemType::OutboxFull,
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
            ReadError::Store(_) => ProblemType::StoreFailed,
            ReadError::Damaged(_) | ReadError::Record { .. } | ReadError::Index { .. } => {
                ProblemType::Damaged
            }
            ReadError::Schema { .. } => ProblemType::InvalidValue,
            ReadError::NewerSchema { .. } => ProblemType::NewerSchema,
            ReadError::Closed => ProblemType::Draining,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<UpdateError<Problem>> for Problem {
    fn from(error: UpdateError<Problem>) -> Self {
        match error {
            UpdateError::Refused(problem) => problem,
            UpdateError::Read(error) => error.into(),
            UpdateError::Write(error) => error.into(),
            _ => Problem::new(ProblemType::Internal, "the update failed"),
        }
    }
}

impl From<RetireError> for Problem {
    fn from(error: RetireError) -> Self {
        let kind = match &error {
            RetireError::Closed => ProblemType::Draining,
            RetireError::Member(MemberError::Unknown { .. }) => ProblemType::NoSuchMember,
            RetireError::Member(MemberError::Own { .. }) => ProblemType::InvalidRequest,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<DiffError> for Problem {
    fn from(error: DiffError) -> Self {
        let kind = match &error {
            DiffError::Unknown { .. } => ProblemType::NoSuchMember,
            DiffError::NoPipeline => ProblemType::NotConfigured,
            DiffError::StrategyMismatch { .. } => ProblemType::WrongStrategy,
            DiffError::Closed => ProblemType::Draining,
            DiffError::Pipeline(_) | DiffError::Stranger | DiffError::Timeout { .. } => ProblemType::NoAnswer,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<SnapshotError> for Problem {
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            SnapshotError::Snapshots(
                SnapshotStoreError::NotFound { .. } | SnapshotStoreError::InvalidName { .. },
            )
            | SnapshotError::ForeignNamespace { .. } => ProblemType::NoSuchSnapshot,
            SnapshotError::Damaged { .. } | SnapshotError::Snapshots(SnapshotStoreError::Damaged { .. }) => {
                ProblemType::Damaged
            }
            SnapshotError::Endless => ProblemType::Busy,
            SnapshotError::Closed => ProblemType::Draining,
            SnapshotError::Store(_) => ProblemType::StoreFailed,
            _ => ProblemType::Internal,
        };
        Problem::new(kind, error.to_string())
    }
}

fn value_problem(error: &EncodeError) -> ProblemType {
    match error {
        EncodeError::OverLimit { .. } => ProblemType::TooLarge,
        _ => ProblemType::InvalidValue,
    }
}

fn decode_problem(error: &DecodeError) -> ProblemType {
    match error {
        DecodeError::OverLimit { .. } => ProblemType::TooLarge,
        _ => ProblemType::InvalidValue,
    }
}
