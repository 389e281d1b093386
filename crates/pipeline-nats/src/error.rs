use std::{error::Error, time::Duration};

use archipelago_pipeline::PipelineError;
use async_nats::{
    ConnectError, ConnectErrorKind,
    jetstream::{
        self, ErrorCode,
        context::{
            CreateStreamError, CreateStreamErrorKind, DeleteStreamError, DeleteStreamErrorKind,
            GetStreamError, GetStreamErrorKind, RequestError, RequestErrorKind,
        },
        stream::{
            ConsumerError, ConsumerErrorKind, LastRawMessageError, LastRawMessageErrorKind, PurgeError,
            PurgeErrorKind,
        },
    },
};

use crate::link::Links;

/// The server limits of the account or of the configuration are reached, or a cluster has no leader just now.
const PASSING: [ErrorCode; 3] =
    [ErrorCode::CLUSTER_NOT_AVAILABLE, ErrorCode::CLUSTER_NO_PEERS, ErrorCode::CLUSTER_INCOMPLETE];

pub(crate) fn from_connect(error: &ConnectError, links: &Links) -> PipelineError {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            PipelineError::Unauthorized { reason: format!("{}: authorization violation", links.urls) }
        }
        ConnectErrorKind::Authentication => {
            PipelineError::Unauthorized { reason: format!("{}: {error}", links.urls) }
        }
        ConnectErrorKind::ServerParse => {
            PipelineError::Misconfigured { reason: format!("{}: {error}", links.urls) }
        }
        _ => links.unavailable(&error.to_string()),
    }
}

/// What the JetStream API answered about the stream `name`.
pub(crate) fn from_api(error: &jetstream::Error, name: &str) -> PipelineError {
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => PipelineError::LogMissing { name: name.to_owned() },
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => no_jetstream(),
        ErrorCode::STREAM_NAME_EXIST | ErrorCode::STREAM_SUBJECT_OVERLAP => PipelineError::Misconfigured {
            reason: format!(
                "the stream {name:?} cannot be made: {error}; rename or delete the one in its way"
            ),
        },
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => PipelineError::Misconfigured {
            reason: format!("{error}: more than one replica needs a cluster; set replicas to 1"),
        },
        code if PASSING.contains(&code) => PipelineError::Unavailable { reason: error.to_string() },
        _ => PipelineError::Refused { reason: error.to_string() },
    }
}

pub(crate) fn from_get_stream(
    error: &GetStreamError,
    name: &str,
    links: &Links,
    timeout: Duration,
) -> PipelineError {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => from_api(&error, name),
        _ => from_request(error, links, timeout),
    }
}

pub(crate) fn from_create_stream(
    error: &CreateStreamError,
    name: &str,
    links: &Links,
    timeout: Duration,
) -> PipelineError {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => from_api(&error, name),
        CreateStreamErrorKind::JetStreamUnavailable => no_jetstream(),
        CreateStreamErrorKind::TimedOut => no_answer(links, timeout),
        _ => links.unavailable(&error.to_string()),
    }
}

pub(crate) fn from_consumer(
    error: &ConsumerError,
    name: &str,
    links: &Links,
    timeout: Duration,
) -> PipelineError {
    match error.kind() {
        ConsumerErrorKind::JetStream(error) => from_api(&error, name),
        ConsumerErrorKind::TimedOut => no_answer(links, timeout),
        _ => from_request(error, links, timeout),
    }
}

/// Whatever went wrong with what async-nats calls `name`.
pub(crate) fn from_any(
    error: &(dyn Error + 'static),
    name: &str,
    links: &Links,
    timeout: Duration,
) -> PipelineError {
    match answer(error) {
        Some(answer) => from_api(&answer, name),
        None => from_request(error, links, timeout),
    }
}

/// What the JetStream API answered, if it did. It is a source of an error, or part of the kind of one.
pub(crate) fn answer(error: &(dyn Error + 'static)) -> Option<jetstream::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(answer) = error.downcast_ref::<jetstream::Error>() {
            return Some(answer.clone());
        }
        if let Some(GetStreamErrorKind::JetStream(answer)) = error.downcast_ref().map(GetStreamError::kind) {
            return Some(answer);
        }
        if let Some(DeleteStreamErrorKind::JetStream(answer)) =
            error.downcast_ref().map(DeleteStreamError::kind)
        {
            return Some(answer);
        }
        if let Some(CreateStreamErrorKind::JetStream(answer)) =
            error.downcast_ref().map(CreateStreamError::kind)
        {
            return Some(answer);
        }
        if let Some(ConsumerErrorKind::JetStream(answer)) = error.downcast_ref().map(ConsumerError::kind) {
            return Some(answer);
        }
        if let Some(PurgeErrorKind::JetStream(answer)) = error.downcast_ref().map(PurgeError::kind) {
            return Some(answer);
        }
        if let Some(LastRawMessageErrorKind::JetStream(answer)) =
            error.downcast_ref().map(LastRawMessageError::kind)
        {
            return Some(answer);
        }
        cause = error.source();
    }
    None
}

/// A request that got no answer of the JetStream API; the cause is a source of `error`.
fn from_request(error: &(dyn Error + 'static), links: &Links, timeout: Duration) -> PipelineError {
    let mut cause = Some(error);
    while let Some(source) = cause.filter(|cause| !cause.is::<RequestError>()) {
        cause = source.source();
    }
    match cause.and_then(|cause| cause.downcast_ref::<RequestError>()).map(RequestError::kind) {
        Some(RequestErrorKind::NoResponders) => no_jetstream(),
        Some(RequestErrorKind::TimedOut) => no_answer(links, timeout),
        _ => links.unavailable(&error.to_string()),
    }
}

pub(crate) fn no_jetstream() -> PipelineError {
    PipelineError::Misconfigured {
        reason: "JetStream is not enabled: start nats-server with -js, or put `jetstream {}` into its \
                 configuration and give the account access to it"
            .to_owned(),
    }
}

fn no_answer(links: &Links, timeout: Duration) -> PipelineError {
    links.unavailable(&format!(
        "JetStream gave no answer within {timeout:?} (a cluster without a leader, or an account without the \
         permission to use $JS.API.>)"
    ))
}
