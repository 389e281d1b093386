//! What a broker is and lets us do, looked at without a pipeline: for whoever has to say what is wrong with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archipelago_pipeline::{PipelineError, check_name};
use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::stream::{DiscardPolicy, RetentionPolicy, StorageType},
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    address::{Addresses, masked},
    config::{NatsConfig, Storage},
    connection, error,
    link::Links,
    permissions::{ANSWERS, LogPermissions, NatsPermissions, Permission},
};

/// The most complaints of the server that wait to be looked at; further ones are dropped, and probes then find no answer.
const COMPLAINTS_MAX: usize = 1_024;

/// What the reply subject of a probe begins with. It is the server's own, and whoever publishes with it is refused, but only
/// after the permission to publish was looked at: so the refusal tells whether there is one, and nothing is published.
const RESERVED_REPLY: &str = "_R_.";

/// A connection of its own to the broker, to look at it.
///
/// ```no_run
/// # async fn example() -> Result<(), archipelago_pipeline::PipelineError> {
/// use archipelago_pipeline_nats::{Examination, NatsConfig};
///
/// let mut examination = Examination::connect(NatsConfig::new("nats://127.0.0.1:4222", "orders")).await?;
/// println!("nats-server {}", examination.server_version());
/// for missing in examination.missing_permissions("us-east").await? {
///     println!("{missing}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Examination {
    config: NatsConfig,
    client: Client,
    complaints: mpsc::Receiver<String>,
    urls: String,
}

/// Something that the broker does not let us do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissingPermission {
    /// To publish.
    #[error("the permission to publish on {subject:?}, {purpose}, is missing")]
    Publish {
        /// The subject.
        subject: String,
        /// What for.
        purpose: &'static str,
    },
    /// To subscribe.
    #[error("the permission to subscribe to {subject:?}, {purpose}, is missing")]
    Subscribe {
        /// The subject.
        subject: String,
        /// What for.
        purpose: &'static str,
    },
}

/// What JetStream allows us, and what of it is in use, in bytes; no limit is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountUse {
    /// In files.
    pub file_bytes: u64,
    /// The most in files.
    pub file_bytes_max: Option<u64>,
    /// In memory.
    pub memory_bytes: u64,
    /// The most in memory.
    pub memory_bytes_max: Option<u64>,
}

/// How the stream of a log is set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamSettings {
    /// Its name.
    pub name: String,
    /// On how many servers it is kept.
    pub replicas: usize,
    /// Where it is kept.
    pub storage: Storage,
    /// Messages go by limits alone, and not because someone read them.
    pub is_kept_by_limits: bool,
    /// A stream that is full refuses what is new, instead of forgetting what is old.
    pub refuses_when_full: bool,
    /// After how long messages go by themselves.
    pub max_age: Option<Duration>,
    /// The most bytes that it holds.
    pub bytes_max: Option<u64>,
    /// The most messages that it holds, in all or of one origin.
    pub messages_max: Option<u64>,
    /// How many bytes it holds.
    pub bytes: u64,
    /// For how long the ids of messages are remembered.
    pub duplicate_window: Duration,
    /// Why no log can use it; empty if one can.
    pub unusable: Vec<String>,
    /// By how many milliseconds the clock of the server is ahead of ours, if it told its time.
    pub clock_ahead_ms: Option<i64>,
}

#[derive(Deserialize)]
struct InfoAnswer {
    #[serde(default)]
    error: Option<async_nats::jetstream::Error>,
    #[serde(default)]
    ts: Option<String>,
}

impl Examination {
    /// Connects. Unlike a pipeline, it takes a broker of any version.
    ///
    /// # Errors
    /// As [`NatsPipeline::connect`](crate::NatsPipeline::connect).
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn connect(config: NatsConfig) -> Result<Examination, PipelineError> {
        check_name(&config.namespace)?;
        config.domain.as_deref().map_or(Ok(()), check_name)?;
        config.inbox_of.as_deref().map_or(Ok(()), check_name)?;
        let addresses = Addresses::parse(&config.urls)?;
        let (complain, complaints) = mpsc::channel(COMPLAINTS_MAX);
        let options = ConnectOptions::new()
            .name(format!("archipelago {} examination", config.namespace))
            .custom_inbox_prefix(config.inbox_prefix())
            .connection_timeout(config.connect_timeout)
            .request_timeout(Some(config.ack_timeout))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    // What there is no room for is not waited for.
                    let _ = complain.try_send(error.to_string());
                }
                std::future::ready(())
            });
        let options = connection::secured(connection::identify(options, &config, &addresses).await?, &config);
        let links = Links::new(masked(&config.urls));
        let client = options.connect(&addresses.servers[..]).await;
        let client = client.map_err(|error| error::from_connect(&error, &links))?;
        Ok(Examination { urls: links.urls, config, client, complaints })
    }

    /// The version of the server that we are connected to.
    pub fn server_version(&self) -> String {
        self.client.try_server_info().map(|info| info.version).unwrap_or_default()
    }

    /// Whether it is new enough.
    pub fn is_new_enough(&self) -> bool {
        connection::check_version(&self.client).is_ok()
    }

    /// What it takes as one message, in bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.client.try_server_info().map_or(0, |info| info.max_payload)
    }

    /// What JetStream allows us.
    ///
    /// # Errors
    /// [`PipelineError::Misconfigured`] if it is off, [`PipelineError::Refused`] and [`PipelineError::Unavailable`].
    pub async fn account(&self) -> Result<AccountUse, PipelineError> {
        let context = connection::origin_context(&self.client, &self.config);
        let links = Links::new(self.urls.clone());
        let account = context.query_account().await;
        let account =
            account.map_err(|error| error::from_any(&error, "", &links, self.config.ack_timeout))?;
        let limit = |limit: i64| u64::try_from(limit).ok();
        Ok(AccountUse {
            file_bytes: account.storage,
            file_bytes_max: limit(account.limits.max_storage.unwrap_or(-1)),
            memory_bytes: account.memory,
            memory_bytes_max: limit(account.limits.max_memory.unwrap_or(-1)),
        })
    }

    /// How the stream of the log is set; `None` if there is none yet.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn stream(&self) -> Result<Option<StreamSettings>, PipelineError> {
        let name = self.stream_name();
        let links = Links::new(self.urls.clone());
        let subject = format!("{}.STREAM.INFO.{name}", self.api());
        let sent = SystemTime::now();
        let answer = self.client.request(subject, Bytes::new()).await;
        let answer = answer.map_err(|error| links.unavailable(&error.to_string()))?;
        let took = sent.elapsed().unwrap_or_default();
        let not_understood = |reason: String| PipelineError::Refused { reason };
        let InfoAnswer { error, ts } =
            serde_json::from_slice(&answer.payload).map_err(|error| not_understood(error.to_string()))?;
        match error.map(|error| error::from_api(&error, &name)) {
            Some(PipelineError::LogMissing { .. }) => return Ok(None),
            Some(error) => return Err(error),
            None => {}
        }
        let info: async_nats::jetstream::stream::Info =
            serde_json::from_slice(&answer.payload).map_err(|error| not_understood(error.to_string()))?;
        let stream = crate::stream::LogStream::new(
            connection::origin_context(&self.client, &self.config),
            links.into(),
            crate::link::Role::Consume,
            &self.config,
        );
        let config = &info.config;
        let positive = |limit: i64| u64::try_from(limit).ok().filter(|limit| *limit > 0);
        // The server told its time in the midst of the way there and back.
        let clock_ahead_ms = ts.as_deref().and_then(unix_ms).map(|theirs| theirs - ms(sent + took / 2));
        Ok(Some(StreamSettings {
            replicas: config.num_replicas,
            storage: if config.storage == StorageType::Memory { Storage::Memory } else { Storage::File },
            is_kept_by_limits: config.retention == RetentionPolicy::Limits,
            refuses_when_full: config.discard == DiscardPolicy::New,
            max_age: Some(config.max_age).filter(|age| !age.is_zero()),
            bytes_max: positive(config.max_bytes),
            messages_max: positive(config.max_messages).or(positive(config.max_messages_per_subject)),
            bytes: info.state.bytes,
            duplicate_window: config.duplicate_window,
            unusable: crate::stream::incompatible(config, &stream.wanted(&self.config)),
            clock_ahead_ms,
            name,
        }))
    }

    /// Which of the permissions are missing that a replica of this name needs. Nothing is published or made.
    ///
    /// # Errors
    /// [`PipelineError::Unavailable`] if the server does not answer.
    pub async fn missing_permissions(
        &mut self,
        replica: &str,
    ) -> Result<Vec<MissingPermission>, PipelineError> {
        let mut needed = NatsPermissions::new(&self.config.namespace, replica)?;
        // Not every replica trims the log.
        needed = needed.log(LogPermissions::Make);
        if let Some(domain) = self.config.origin_domain() {
            needed = needed.domain(domain);
        }
        // A probe needs a subject without wildcards.
        let concrete = |subject: &str| subject.replace(['*', '>'], replica);
        let mut missing = Vec::new();
        for Permission { subject, purpose } in needed.publish() {
            let said = self.probe(&concrete(&subject)).await?;
            if !said.last().is_some_and(|last| last.contains(RESERVED_REPLY)) {
                missing.push(MissingPermission::Publish { subject, purpose });
            }
        }
        for Permission { mut subject, purpose } in needed.subscribe() {
            if purpose == ANSWERS {
                subject = format!("{}.>", self.config.inbox_prefix());
            }
            let subscriber = self.client.subscribe(subject.clone()).await;
            let mut subscriber = subscriber.map_err(|error| self.unavailable(&error.to_string()))?;
            // Whatever the server says of it comes before what it says of the probe.
            let said = self.probe(&self.client.new_inbox()).await?;
            if said.iter().any(|said| said.contains("Subscription")) {
                missing.push(MissingPermission::Subscribe { subject, purpose });
            }
            let _ = subscriber.unsubscribe().await;
        }
        Ok(missing)
    }

    /// What the server says when it looks at whether we may publish on a subject, and before.
    async fn probe(&mut self, subject: &str) -> Result<Vec<String>, PipelineError> {
        let reply = format!("{RESERVED_REPLY}{}", self.client.new_inbox());
        let sent = self.client.publish_with_reply(subject.to_owned(), reply.clone(), Bytes::new()).await;
        sent.map_err(|error| self.unavailable(&error.to_string()))?;
        let flushed = self.client.flush().await;
        flushed.map_err(|error| self.unavailable(&error.to_string()))?;
        let mut said = Vec::new();
        let answer = async {
            while let Some(complaint) = self.complaints.recv().await {
                let is_answer = complaint.contains(&reply) || complaint.contains(&format!("\"{subject}\""));
                let is_about_publishing = complaint.to_ascii_lowercase().contains("for publish");
                said.push(complaint);
                if is_answer && is_about_publishing {
                    return true;
                }
            }
            false
        };
        let answered = tokio::time::timeout(self.config.ack_timeout, answer).await;
        match answered {
            Ok(true) => Ok(said),
            _ => Err(self.unavailable("the server did not say whether a permission is there")),
        }
    }

    fn unavailable(&self, reason: &str) -> PipelineError {
        Links::new(self.urls.clone()).unavailable(reason)
    }

    fn stream_name(&self) -> String {
        format!("ARCHIPELAGO_{}", self.config.namespace)
    }

    fn api(&self) -> String {
        self.config.origin_domain().map_or("$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"))
    }
}

impl std::fmt::Debug for Examination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examination").field("config", &self.config).finish_non_exhaustive()
    }
}

fn ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time as the server writes it, `2026-01-31T12:00:00.123456789Z`, in milliseconds.
fn unix_ms(text: &str) -> Option<i64> {
    async_nats::datetime::parse_rfc3339(text).ok().map(|time| ms(SystemTime::from(time)))
}
