use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Lease, Listener, PipelineError};

/// Which log this is: a log that was deleted and made again under the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogId {
    /// The name of the log, for example that of the JetStream stream.
    pub name: String,
    /// When the log was created, in nanoseconds since the Unix epoch as the broker counts.
    pub created_unix_ns: u64,
}

/// What a log holds at one moment. Sequences count messages, start at 1 or [further on](Pipeline::open_above) and do not
/// repeat within one [`LogId`], unless the broker loses the tail of the log ([`PipelineError::LogRegressed`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The identity of the log.
    pub id: LogId,
    /// The sequence of the oldest message still held; `last_sequence + 1` if there is none.
    pub first_sequence: u64,
    /// The sequence of the newest message ever appended; the one before the first if there was none.
    pub last_sequence: u64,
    /// If this is a mirror of the log, how many messages it has yet to get, as far as it knows. `None` if it is the log
    /// itself.
    pub mirror_lag: Option<u64>,
}

/// A message to append.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The name of the replica that sends; the last token of the subject, `[A-Za-z0-9_-]{1,64}`.
    pub origin: Arc<str>,
    /// The same for each retry of the same message: lets the broker drop repeats. 1 to 256 visible ASCII characters.
    /// Correctness never rests on it.
    pub message_id: String,
    /// The message.
    pub payload: Bytes,
}

/// A message of the log, as a subscription delivers it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its place in the log.
    pub sequence: u64,
    /// The origin named by its subject. Not authenticated here.
    pub origin: String,
    /// What was published. Anyone who may publish can have written it: decode it with limits.
    ///
    /// `None` if this message is a part of a larger payload that is not complete with it. The payload comes with the
    /// last of its parts, or never, if parts of it are not in the log.
    pub payload: Option<Bytes>,
    /// When the broker stored it.
    pub stored_at: SystemTime,
}

/// The broker has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishAck {
    /// The place of the message in the log.
    pub sequence: u64,
    /// True if the broker had seen the same message id before and stored nothing.
    pub duplicate: bool,
}

impl PublishAck {
    /// That of a payload whose parts were acknowledged so, for implementations of [`Pipeline`]. The place is the last of
    /// theirs, and it is a duplicate if all of them are.
    pub fn of_parts(parts: &[PublishAck]) -> PublishAck {
        PublishAck {
            sequence: parts.iter().map(|part| part.sequence).max().unwrap_or_default(),
            duplicate: parts.iter().all(|part| part.duplicate),
        }
    }
}

/// Resolves once the broker answered, or with [`PipelineError::AckTimeout`] at the pipeline's deadline, counted from
/// the moment the message was sent. Dropping it gives up the answer, not the message.
pub type PendingAck = BoxFuture<'static, Result<PublishAck, PipelineError>>;

/// Where an append expects the log to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedEnd {
    /// At this sequence, whatever stands there.
    At(u64),
    /// At this sequence, with a message of the origin that appends.
    Own(u64),
}

impl ExpectedEnd {
    /// The last sequence that the log is expected to have.
    pub fn sequence(self) -> u64 {
        match self {
            ExpectedEnd::At(sequence) | ExpectedEnd::Own(sequence) => sequence,
        }
    }
}

/// An append that is on its way.
pub struct Appending {
    /// The place that the payload has in the log if it is accepted; that of its last message if it takes several.
    pub sequence: u64,
    /// Resolves once the broker answered, as that of [`Pipeline::publish`].
    pub ack: PendingAck,
}

impl Debug for Appending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appending").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Whether messages can travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineStatus {
    /// Connected.
    Up,
    /// Not connected; the pipeline goes on trying by itself.
    Down {
        /// What a person should read about it.
        reason: String,
    },
}

/// One ordered log of messages that every replica of a namespace appends to and reads.
///
/// Contract: at least once and, from the view of one reader, in one order that all readers share. A message may be
/// stored although its acknowledgement failed or timed out, and a retry may be stored again. Acknowledged
/// messages may be lost by the broker; [`Pipeline::state`] is how that is noticed.
///
/// A payload larger than the broker's limit on one message travels as several, consecutive for their sender, between
/// which those of others may stand. Each of them has a sequence of its own; readers get the whole with the last. Parts
/// of a payload that was never completed stay in the log and have no effect.
///
/// Who must be the only writer appends with [`append`](Self::append), and finds out who that is by
/// [`lease`](Self::lease).
///
/// Beside the log, replicas speak to one another directly: [`announce`](Self::announce), [`ask`](Self::ask) and
/// [`listen`](Self::listen) need no log, and promise nothing but that what arrives is whole.
#[async_trait]
pub trait Pipeline: Debug + Send + Sync + 'static {
    /// Makes the log exist as configured, and tells what it holds.
    ///
    /// Only this call and [`open_above`](Self::open_above) create a log; the others fail with
    /// [`PipelineError::LogMissing`] if it is gone, so that a broker that lost everything is noticed instead of being
    /// papered over.
    async fn open(&self) -> Result<LogState, PipelineError> {
        self.open_above(0).await
    }

    /// The same, but a log that is made takes no sequence up to and including `sequence`: it ends there, as if it had held
    /// as many messages. A log that exists stays as it is, and a mirror begins where its origin does.
    ///
    /// Sequences alone do not tell a log from one of the same name that was deleted. Where there is
    /// [`append`](Self::append), whoever makes a log in the place of another one makes it above all that writers of that
    /// one may expect; else it comes to end where one of them thinks that it does.
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError>;

    /// What the log holds now.
    async fn state(&self) -> Result<LogState, PipelineError>;

    /// Sends a message; returns once it is handed to the connection. Messages are sent in the order of the calls.
    /// Waits while too many acknowledgements are outstanding. The acknowledgement of a payload that takes several
    /// messages is that of all of them, and names the last; a failure in between is an error here or there, and a retry
    /// sends what is missing. Dropping the future in between leaves parts that have no effect.
    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError>;

    /// Compare-and-append: stores the payload only if the log ends as `expected` at that moment. Never taken for a repeat of
    /// another: there is no message id. Of a log that was made again in the meantime it is refused only if that one begins
    /// [above](Self::open_above).
    ///
    /// A log that lost its tail uses sequences again, so that one alone does not tell what stands there. Who appends behind
    /// what it wrote itself expects [`Own`](ExpectedEnd::Own): then a log that lost that, and in which others wrote as much
    /// since, is another end.
    ///
    /// Returns once it is handed to the connection, in the order of the calls, and waits while too many acknowledgements
    /// are outstanding. So appends may be pipelined: the next may be sent at once and expect the
    /// [`sequence`](Appending::sequence) of this one. If one is refused, so are those that were sent on top of it, **with
    /// an exception**: with [`At`](ExpectedEnd::At) sequences are compared and nothing else. If others appended just as many
    /// messages as were refused, the next one finds the end that it expects, and is stored behind theirs. A cluster cannot tell whose a
    /// message is that it has not agreed upon yet, so on top of an append of the same pipeline that is under way
    /// [`Own`](ExpectedEnd::Own) says no more than [`At`](ExpectedEnd::At). Hence
    ///
    /// - who pipelines counts no append as done before all those below it are, and sends nothing on top of one that
    ///   failed;
    /// - readers tell by what is in the payloads (a term, an index) that one does not follow what is before it;
    /// - who wants the broker to refuse it all has one append under way at a time, and puts much into it.
    ///
    /// A payload that takes several messages expects the end of the log to move with them. If somebody else appends in
    /// between, it is refused as a whole: those of its messages that are stored have no effect, but the log ends behind
    /// them. When the refusal is told, none of them is on its way any more.
    ///
    /// # Errors
    /// [`PipelineError::WrongLastSequence`], here or from the acknowledgement: somebody else appended, or the log lost its
    /// tail; with [`Own`](ExpectedEnd::Own) also if it does not hold the message at its end any more. After
    /// [`PipelineError::AckTimeout`], whether it is stored is unknown, and the log itself tells. Otherwise as
    /// [`publish`](Self::publish).
    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError>;

    /// The lease of the namespace, which is made on first use. It lives beside the log, and needs none. All replicas give
    /// the same `ttl`, which is at least [`LEASE_TTL_MIN`](crate::LEASE_TTL_MIN).
    ///
    /// # Errors
    /// [`PipelineError::Misconfigured`] for a `ttl` that is too short, or not that with which somebody holds the lease; if
    /// nobody does, it is changed. Otherwise as [`open`](Self::open).
    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError>;

    /// Delivers every message with a sequence above `after`, in order, and then each new one as it is appended.
    ///
    /// Fails with [`PipelineError::LogRegressed`] if the log ends before `after`. The subscription binds to the log
    /// that exists at this call: a caller that compares [`LogState::id`] does so after subscribing, so that no
    /// replacement slips in between.
    ///
    /// If `after` lies in the midst of a payload that takes several messages, its beginning is read too, unless it is
    /// no longer in the log, or more than a few hundred messages of others stand in between.
    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError>;

    /// Removes every message with a sequence up to and including `up_to` for good. Sequences stay as they are: the
    /// next message gets the one it would have got. What was removed already, or never was, is no error.
    ///
    /// Subscriptions go on, and so does one that begins before `up_to`: whoever had not read what was removed sees a
    /// gap, unless it was on its way already. A payload of which a part was removed does not come any more for those
    /// who begin behind that part.
    ///
    /// # Errors
    /// [`PipelineError::LogMissing`] if there is no log; none is made. After [`PipelineError::Unavailable`] or
    /// [`PipelineError::Refused`] it may or may not be done; doing it again has no further effect.
    async fn trim(&self, up_to: u64) -> Result<(), PipelineError>;

    /// Says `payload` to every replica of the namespace that listens now, this one included. At most once, never
    /// stored, and lost on whoever does not listen.
    ///
    /// # Errors
    /// [`PipelineError::InvalidName`] for `from`, [`PipelineError::TooLarge`], and [`PipelineError::Unavailable`].
    /// Without one, it still may reach nobody.
    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError>;

    /// Asks the replica `to`, and waits for its answer.
    ///
    /// # Errors
    /// [`PipelineError::NoAnswer`] if there is none within `deadline`, or nobody of that name listens; otherwise as
    /// [`announce`](Self::announce).
    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError>;

    /// Listens to announcements, and to what is asked of the replica `name`, from now on.
    ///
    /// # Errors
    /// [`PipelineError::InvalidName`] for `name`, and [`PipelineError::Unavailable`].
    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError>;

    /// The current status, and every change of it.
    fn status(&self) -> watch::Receiver<PipelineStatus>;

    /// The largest payload in bytes that can be published, announced, asked and answered, if known by now.
    fn payload_bytes_max(&self) -> Option<usize>;

    /// The largest payload in bytes that travels as one message, if known by now (a broker tells once connected).
    /// Who packs small things together stays within it. By default [`payload_bytes_max`](Self::payload_bytes_max),
    /// for a pipeline that splits nothing.
    fn payload_bytes_good(&self) -> Option<usize> {
        self.payload_bytes_max()
    }
}

/// A running delivery of messages.
#[async_trait]
pub trait Subscription: Send {
    /// The next message, be it a payload or a part of one. Sequences strictly increase; a gap means that the log no
    /// longer held the messages in between.
    ///
    /// A passing failure (reconnect, restarted broker) is mended inside and not reported. An error ends the
    /// subscription, and each later call repeats it: [`PipelineError::LogMissing`] or
    /// [`PipelineError::LogReplaced`] if the log is no longer the one that was subscribed to,
    /// [`PipelineError::LogRegressed`] if it lost messages that were delivered already.
    ///
    /// Cancel safe: dropping the future before it is ready loses no message.
    async fn next(&mut self) -> Result<Incoming, PipelineError>;
}
