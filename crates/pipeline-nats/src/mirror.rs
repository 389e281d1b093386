//! A mirror of the stream of a log, in the same JetStream or in that of another domain.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{LogState, PipelineError};
use async_nats::jetstream::{
    self,
    stream::{Config, External, Source},
};

use crate::{config::NatsConfig, stream::LogStream};

/// How long the state of the log is waited for by those who can do without.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The mirror `name` of the log `origin`, in the JetStream that `context` speaks to.
pub(crate) fn mirror_of(origin: &LogStream, name: &str, context: jetstream::Context) -> LogStream {
    LogStream {
        name: format!("{}_mirror_{name}", origin.name).into(),
        context,
        origin: Some(Arc::new(origin.clone())),
        ..origin.clone()
    }
}

/// How a mirror is made.
pub(crate) fn wanted(mirror: &LogStream, origin: &LogStream, config: &NatsConfig) -> Config {
    Config {
        name: mirror.name.to_string(),
        description: Some(format!("Archipelago: a mirror of the events of namespace {}", config.namespace)),
        subjects: Vec::new(),
        mirror: Some(Source {
            name: origin.name.to_string(),
            // Not by `domain`: async-nats sends it along, and servers refuse fields that they do not know.
            external: config
                .origin_domain()
                .map(|domain| External { api_prefix: format!("$JS.{domain}.API"), delivery_prefix: None }),
            ..Source::default()
        }),
        ..origin.wanted(config)
    }
}

/// Whether a mirror that was found is of the stream that is wanted.
pub(crate) fn is_same(found: &Source, wanted: &Source) -> bool {
    let prefix = |source: &Source| source.external.as_ref().map(|external| external.api_prefix.clone());
    let whole = |source: &Source| source.filter_subject.is_none() && source.start_sequence.is_none();
    found.name == wanted.name && prefix(found) == prefix(wanted) && whole(found)
}

pub(crate) fn describe(wanted: &Source) -> String {
    let prefix = wanted.external.as_ref().map(|external| format!(" behind {:?}", external.api_prefix));
    format!("all of {:?}{}", wanted.name, prefix.unwrap_or_default())
}

/// Fails if the mirror has what the log, looked at later, has not: it is a mirror of what the log was. A log that cannot be
/// reached is taken for sound.
pub(crate) async fn check(mirror: &LogState, origin: &LogStream) -> Result<(), PipelineError> {
    match state_of(origin).await {
        Ok(state) if state.last_sequence < mirror.last_sequence => {
            Err(regressed(mirror, mirror.last_sequence, &state))
        }
        Err(error) if error.is_loss() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Why the mirror does not reach to `after`.
pub(crate) async fn behind(mirror: &LogState, origin: &LogStream, after: u64) -> PipelineError {
    let reason = match state_of(origin).await {
        Ok(state) if state.last_sequence < after => return regressed(mirror, after, &state),
        Err(error) if error.is_loss() => return error,
        Ok(_) => "has yet to get there".to_owned(),
        Err(error) => format!("cannot tell whether the log does: {error}"),
    };
    let LogState { id, last_sequence, .. } = mirror;
    let reason = format!("the mirror {:?} ends at {last_sequence} and not at {after}, and {reason}", id.name);
    PipelineError::Unavailable { reason }
}

async fn state_of(origin: &LogStream) -> Result<LogState, PipelineError> {
    let late = |_| origin.links.unavailable("the log did not answer");
    tokio::time::timeout(ORIGIN_TIMEOUT, origin.state()).await.map_err(late)?
}

fn regressed(mirror: &LogState, after: u64, origin: &LogState) -> PipelineError {
    let last_sequence = origin.last_sequence;
    PipelineError::LogRegressed { name: mirror.id.name.clone(), after, last_sequence }
}
