use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{LeaseEntry, PipelineError, lease_ttl_differs};
use async_nats::{
    HeaderMap,
    jetstream::{
        message::{PublishMessage, StreamMessage},
        stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType},
    },
};
use bytes::Bytes;

use crate::{
    ack::Ack,
    config::{NatsConfig, Storage},
    error,
    stream::LogStream,
};

/// The broker remembers no message ids for a lease; this is the longest that it may.
const DUPLICATE_WINDOW_MAX: Duration = Duration::from_secs(120);

/// The header by which a message of a bucket says that it takes the value away, and that by which a server says that it
/// did so itself.
const OPERATION: &str = "KV-Operation";
const DELETED: &str = "DEL";
const MARKER_REASON: &str = "Nats-Marker-Reason";

/// The key-value bucket of one lease, with one key. The stream behind it is spoken to directly: what async-nats offers for
/// buckets reads from any replica, and forgets the time to live.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// The stream over the connection for publishing, and over that for reading.
    out: LogStream,
    pub(super) stream: LogStream,
    config: Arc<NatsConfig>,
    pub(super) subject: Arc<str>,
    /// Where the key is written to: between domains, its subject alone does not travel.
    put_subject: Arc<str>,
    pub(super) ttl: Duration,
    /// How long an answer is waited for.
    pub(super) deadline: Duration,
}

/// What became of a write.
pub(super) enum Written {
    /// It is stored with this revision.
    At(u64),
    /// Another revision is there than was expected.
    Refused,
    /// Another write is about to be stored: whether this one would fit is not known yet.
    Busy,
    /// There is no bucket.
    Missing,
}

/// What the key holds.
pub(super) enum Found {
    Nothing,
    /// That the lease was given up.
    Marker(u64),
    Held(LeaseEntry),
}

impl Found {
    pub(super) fn of(revision: u64, headers: Option<&HeaderMap>, value: Bytes) -> Found {
        let has = |name: &str| headers.and_then(|headers| headers.get(name)).is_some();
        match has(OPERATION) || has(MARKER_REASON) {
            true => Found::Marker(revision),
            false => Found::Held(LeaseEntry { revision, value }),
        }
    }

    pub(super) fn revision(&self) -> Option<u64> {
        match self {
            Found::Nothing => None,
            Found::Marker(revision) => Some(*revision),
            Found::Held(entry) => Some(entry.revision),
        }
    }

    pub(super) fn held(self) -> Option<LeaseEntry> {
        match self {
            Found::Held(entry) => Some(entry),
            Found::Nothing | Found::Marker(_) => None,
        }
    }
}

/// The bucket of the lease of a namespace.
fn bucket_name(namespace: &str) -> String {
    format!("archipelago_{namespace}_lease")
}

/// The stream behind it.
pub(crate) fn stream_name(namespace: &str) -> String {
    format!("KV_{}", bucket_name(namespace))
}

impl Bucket {
    pub(super) fn new(
        out: &LogStream,
        stream: &LogStream,
        config: &Arc<NatsConfig>,
        ttl: Duration,
    ) -> Bucket {
        let name = bucket_name(&config.namespace);
        let deadline = config.ack_timeout.min(ttl / 2);
        let bucket =
            |stream: &LogStream| stream.other(format!("KV_{name}"), format!("$KV.{name}."), deadline);
        let subject = format!("$KV.{name}.leader");
        let put_subject = match config.origin_domain() {
            Some(domain) => format!("$JS.{domain}.API.{subject}"),
            None => subject.clone(),
        };
        Bucket {
            out: bucket(out),
            stream: bucket(stream),
            config: config.clone(),
            subject: subject.into(),
            put_subject: put_subject.into(),
            ttl,
            deadline,
        }
    }

    /// Makes the bucket unless it exists, and sees to it that its entries expire after the time to live.
    pub(super) async fn open(&self) -> Result<(), PipelineError> {
        let found = self.made().await?;
        if found.max_age == self.ttl { Ok(()) } else { self.change_ttl(found).await }
    }

    /// Makes the bucket unless it exists, and checks that its entries expire after the time to live.
    pub(super) async fn ensure(&self) -> Result<(), PipelineError> {
        let found = self.made().await?.max_age;
        if found == self.ttl { Ok(()) } else { Err(lease_ttl_differs(&self.stream.name, found, self.ttl)) }
    }

    async fn made(&self) -> Result<Config, PipelineError> {
        let wanted = self.wanted();
        let call = async {
            let made = self.stream.context.get_or_create_stream(wanted).await;
            made.map_err(|error| {
                error::from_create_stream(&error, &self.stream.name, &self.stream.links, self.deadline)
            })
        };
        let made = self.answered(self.stream.links.request(self.stream.role, call)).await?;
        let found = made.cached_info().config.clone();
        self.check_compatible(&found)?;
        Ok(found)
    }

    /// Changes the time to live of a lease that nobody holds.
    async fn change_ttl(&self, found: Config) -> Result<(), PipelineError> {
        if self.look().await?.held().is_some() {
            return Err(lease_ttl_differs(&self.stream.name, found.max_age, self.ttl));
        }
        let changed = Config { max_age: self.ttl, duplicate_window: self.duplicate_window(), ..found };
        let call = async {
            let changed = self.stream.context.update_stream(changed).await;
            changed.map_err(|error| {
                error::from_create_stream(&error, &self.stream.name, &self.stream.links, self.deadline)
            })
        };
        self.answered(self.stream.links.request(self.stream.role, call)).await.map(|_| ())
    }

    /// What the leader of the bucket knows, within the deadline.
    pub(super) async fn look(&self) -> Result<Found, PipelineError> {
        let call = async {
            let stream = self.stream.context.get_stream_no_info(&*self.stream.name).await;
            let stream = stream.map_err(|error| self.stream.links.unavailable(&error.to_string()))?;
            match stream.get_last_raw_message_by_subject(&self.subject).await {
                Ok(StreamMessage { sequence, headers, payload, .. }) => {
                    Ok(Found::of(sequence, Some(&headers), payload))
                }
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Found::Nothing),
                Err(error) => {
                    let links = &self.stream.links;
                    match error::from_any(&error, &self.stream.name, links, self.deadline) {
                        PipelineError::LogMissing { .. } => Ok(Found::Nothing),
                        error => Err(error),
                    }
                }
            }
        };
        self.answered(self.stream.links.request(self.stream.role, call)).await
    }

    /// Writes the key, if it stands at the revision `expected`; 0 if it holds nothing.
    pub(super) async fn put(&self, value: Bytes, expected: u64) -> Result<Written, PipelineError> {
        self.write(PublishMessage::build().payload(value), expected).await
    }

    /// Takes the value away, if the key stands at the revision `expected`.
    pub(super) async fn delete(&self, expected: u64) -> Result<Written, PipelineError> {
        self.write(PublishMessage::build().header(OPERATION, DELETED), expected).await
    }

    async fn write(&self, message: PublishMessage, expected: u64) -> Result<Written, PipelineError> {
        let message = message.expected_last_subject_sequence(expected);
        let call = async {
            Ack::send(&self.out, self.put_subject.to_string(), message, self.deadline).await?.wait().await
        };
        let timed_out = |_| PipelineError::AckTimeout { deadline: self.deadline };
        match tokio::time::timeout(self.deadline, call).await.map_err(timed_out)? {
            Ok(ack) => Ok(Written::At(ack.sequence)),
            Err(PipelineError::WrongLastSequence { last_sequence: Some(_), .. }) => Ok(Written::Refused),
            Err(PipelineError::WrongLastSequence { .. }) => Ok(Written::Busy),
            Err(PipelineError::LogMissing { .. }) => Ok(Written::Missing),
            Err(error) => Err(error),
        }
    }

    /// A request that has no effect if its answer is late, or may be repeated.
    async fn answered<T>(
        &self,
        request: impl Future<Output = Result<T, PipelineError>>,
    ) -> Result<T, PipelineError> {
        let late = |_| self.stream.links.unavailable(&format!("no answer within {:?}", self.deadline));
        tokio::time::timeout(self.deadline, request).await.map_err(late)?
    }

    fn wanted(&self) -> Config {
        Config {
            name: self.stream.name.to_string(),
            description: Some(format!("Archipelago: who leads the namespace {}", self.config.namespace)),
            subjects: vec![format!("{}>", self.stream.subject_prefix)],
            storage: match self.config.storage {
                Storage::File => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            max_messages_per_subject: 1,
            max_bytes: -1,
            max_messages: -1,
            max_message_size: -1,
            max_consumers: -1,
            max_age: self.ttl,
            duplicate_window: self.duplicate_window(),
            discard: DiscardPolicy::New,
            num_replicas: self.config.replicas,
            // As of every key-value bucket.
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        }
    }

    fn duplicate_window(&self) -> Duration {
        self.ttl.min(DUPLICATE_WINDOW_MAX)
    }

    /// Operators may replicate a lease as they like, but not change what it is.
    fn check_compatible(&self, found: &Config) -> Result<(), PipelineError> {
        let wanted = self.wanted();
        let is_bucket = found.subjects == wanted.subjects
            && found.max_messages_per_subject == 1
            && found.mirror.is_none()
            && !found.no_ack
            && !found.sealed;
        if is_bucket {
            return Ok(());
        }
        let reason = format!(
            "the stream {:?} is not the bucket of a lease: it must have the subjects {:?}, keep one message for each, \
             and be no mirror; delete it",
            found.name, wanted.subjects
        );
        Err(PipelineError::Misconfigured { reason })
    }
}
