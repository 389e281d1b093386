use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use archipelago_pipeline::{LogId, LogState, PipelineError};
use async_nats::jetstream::{
    self, ErrorCode,
    context::CreateStreamError,
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType},
};

use crate::{
    config::{NatsConfig, Storage},
    error,
    link::{Links, Role},
    mirror,
};

/// How a stream of several replicas is asked again before it is taken for shortened: a new leader may need a moment
/// to catch up with what was acknowledged.
const REGRESS_LOOKS: u32 = 5;
const REGRESS_PAUSE: Duration = Duration::from_millis(500);

/// The stream behind one log, seen over one of the two connections.
#[derive(Clone, Debug)]
pub(crate) struct LogStream {
    pub(crate) context: jetstream::Context,
    pub(crate) links: Arc<Links>,
    pub(crate) role: Role,
    pub(crate) name: Arc<str>,
    /// The subjects' common part, up to and with the dot before the origin.
    pub(crate) subject_prefix: Arc<str>,
    pub(crate) timeout: Duration,
    /// The stream of the log, if this is a mirror of it.
    pub(crate) origin: Option<Arc<LogStream>>,
}

impl LogStream {
    pub(crate) fn new(
        context: jetstream::Context,
        links: Arc<Links>,
        role: Role,
        config: &NatsConfig,
    ) -> LogStream {
        LogStream {
            context,
            links,
            role,
            name: format!("ARCHIPELAGO_{}", config.namespace).into(),
            subject_prefix: format!("archipelago.{}.events.", config.namespace).into(),
            timeout: config.ack_timeout,
            origin: None,
        }
    }

    /// Another stream of the same broker, seen over the same connection.
    pub(crate) fn other(&self, name: String, subject_prefix: String, timeout: Duration) -> LogStream {
        LogStream { name: name.into(), subject_prefix: subject_prefix.into(), timeout, ..self.clone() }
    }

    /// Makes the stream, which then ends at `above`, unless it exists, and checks that it can serve.
    pub(crate) async fn open(&self, config: &NatsConfig, above: u64) -> Result<LogState, PipelineError> {
        let wanted = match &self.origin {
            None => {
                Config { first_sequence: (above > 0).then(|| above.saturating_add(1)), ..self.wanted(config) }
            }
            Some(origin) => mirror::wanted(self, origin, config),
        };
        let call = async {
            let mut made = self.context.get_or_create_stream(wanted.clone()).await;
            // Another one made it in between, and has it begin elsewhere.
            if made.as_ref().is_err_and(exists) {
                made = self.context.get_or_create_stream(wanted.clone()).await;
            }
            made.map_err(|error| error::from_create_stream(&error, &self.name, &self.links, self.timeout))
        };
        let stream = self.links.request(self.role, call).await?;
        let info = stream.cached_info();
        check_compatible(&info.config, &wanted)?;
        let state = state_of(info);
        if let Some(origin) = &self.origin {
            mirror::check(&state, origin).await?;
        }
        Ok(state)
    }

    pub(crate) async fn state(&self) -> Result<LogState, PipelineError> {
        Ok(state_of(&self.info().await?))
    }

    /// The state, which is that of the log `id` and reaches to `after`.
    pub(crate) async fn state_beyond(
        &self,
        id: Option<&LogId>,
        after: u64,
    ) -> Result<LogState, PipelineError> {
        let mut looks = 0;
        loop {
            let info = self.info().await?;
            let state = state_of(&info);
            if let Some(expected) = id.filter(|id| **id != state.id) {
                return Err(PipelineError::LogReplaced { expected: expected.clone(), found: state.id });
            }
            if state.last_sequence >= after {
                return Ok(state);
            }
            if let Some(origin) = &self.origin {
                return Err(mirror::behind(&state, origin, after).await);
            }
            looks += 1;
            if info.config.num_replicas <= 1 || looks == REGRESS_LOOKS {
                let last_sequence = state.last_sequence;
                return Err(PipelineError::LogRegressed { name: state.id.name, after, last_sequence });
            }
            tokio::time::sleep(REGRESS_PAUSE).await;
        }
    }

    /// Removes the messages up to and including `up_to`.
    pub(crate) async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        let info = self.info().await?;
        let state = state_of(&info);
        // Purging beyond the end would move the end: sequences were left out.
        let up_to = up_to.min(state.last_sequence);
        if up_to < state.first_sequence {
            return Ok(());
        }
        let call = async {
            let stream = self.context.get_stream_no_info(&*self.name).await;
            let stream = stream.map_err(|error| self.links.unavailable(&error.to_string()))?;
            let purged = stream.purge().sequence(up_to + 1).await;
            purged.map_err(|error| error::from_any(&error, &self.name, &self.links, self.timeout))
        };
        self.links.request(self.role, call).await.map(|_| ())
    }

    /// Removes the stream with all that it holds; it is no error if there is none.
    pub(crate) async fn remove(&self) -> Result<(), PipelineError> {
        let call = async {
            let removed = self.context.delete_stream(&*self.name).await;
            removed.map_err(|error| error::from_any(&error, &self.name, &self.links, self.timeout))
        };
        match self.links.request(self.role, call).await {
            Ok(_) | Err(PipelineError::LogMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn info(&self) -> Result<Info, PipelineError> {
        let call = async {
            let stream = self.context.get_stream(&*self.name).await;
            stream.map_err(|error| error::from_get_stream(&error, &self.name, &self.links, self.timeout))
        };
        Ok(self.links.request(self.role, call).await?.cached_info().clone())
    }

    pub(crate) fn wanted(&self, config: &NatsConfig) -> Config {
        Config {
            name: self.name.to_string(),
            description: Some(format!("Archipelago: the events of namespace {}", config.namespace)),
            subjects: vec![format!("{}*", self.subject_prefix)],
            retention: RetentionPolicy::Limits,
            storage: match config.storage {
                Storage::File => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            // No limits but that. Should an operator set one, the log refuses instead of forgetting.
            max_bytes: config.log_bytes_max.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_age: Duration::ZERO,
            max_consumers: -1,
            discard: DiscardPolicy::New,
            num_replicas: config.replicas,
            duplicate_window: config.duplicate_window,
            ..Config::default()
        }
    }
}

/// What the broker says of the stream, in the words of a pipeline.
fn state_of(info: &Info) -> LogState {
    let created = std::time::SystemTime::from(info.created).duration_since(UNIX_EPOCH).unwrap_or_default();
    let last_sequence = info.state.last_sequence;
    LogState {
        id: LogId {
            name: info.config.name.clone(),
            created_unix_ns: u64::try_from(created.as_nanos()).unwrap_or(u64::MAX),
        },
        // A new stream says 0 here, and an emptied one the next sequence.
        first_sequence: if info.state.messages == 0 { last_sequence + 1 } else { info.state.first_sequence },
        last_sequence,
        mirror_lag: info.config.mirror.is_some().then(|| info.mirror.as_ref().map_or(0, |mirror| mirror.lag)),
    }
}

/// Whether there is a stream of that name with other settings.
fn exists(error: &CreateStreamError) -> bool {
    error::answer(error).is_some_and(|answer| answer.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

fn check_compatible(found: &Config, wanted: &Config) -> Result<(), PipelineError> {
    let wrong = incompatible(found, wanted);
    if wrong.is_empty() {
        return Ok(());
    }
    let reason = format!("the stream {:?} exists with other settings: {}", found.name, wrong.join(", "));
    Err(PipelineError::Misconfigured { reason })
}

/// What makes the stream no log. Operators may size and replicate one as they like, but not change what it is.
pub(crate) fn incompatible(found: &Config, wanted: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut demand = |met: bool, what: String| {
        if !met {
            wrong.push(what);
        }
    };
    demand(found.subjects == wanted.subjects, format!("subjects must be {:?}", wanted.subjects));
    demand(found.retention == wanted.retention, "retention must be limits".to_owned());
    demand(found.storage == wanted.storage, format!("storage must be {:?}", wanted.storage));
    demand(!found.no_ack, "no_ack must be off".to_owned());
    demand(!found.sealed, "the stream must not be sealed".to_owned());
    match &wanted.mirror {
        None => demand(found.mirror.is_none(), "the stream must not be a mirror".to_owned()),
        Some(wanted) => {
            let same = found.mirror.as_ref().is_some_and(|found| mirror::is_same(found, wanted));
            demand(same, format!("the stream must be a mirror of {}", mirror::describe(wanted)));
        }
    }
    demand(found.sources.as_ref().is_none_or(Vec::is_empty), "the stream must have no sources".to_owned());
    demand(found.subject_transform.is_none(), "the stream must not transform subjects".to_owned());
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_in_the_way_is_named() {
        let wanted = Config { subjects: vec!["a.*".into()], ..Config::default() };
        check_compatible(&wanted, &wanted).expect("the same");
        let sized = Config { max_bytes: 1, num_replicas: 3, max_messages: 7, ..wanted.clone() };
        check_compatible(&sized, &wanted).expect("an operator's choice");
        let found = Config { no_ack: true, subjects: vec!["b".into()], ..wanted.clone() };
        let error = check_compatible(&found, &wanted).expect_err("incompatible").to_string();
        assert!(error.contains("no_ack") && error.contains("subjects"), "{error}");
    }
}
