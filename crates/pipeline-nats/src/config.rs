use std::{fmt, path::PathBuf, time::Duration};

use crate::address::masked;

/// What [`NatsPipeline::connect`](crate::NatsPipeline::connect) does if no broker can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStart {
    /// It fails with [`Unavailable`](archipelago_pipeline::PipelineError::Unavailable).
    #[default]
    FailFast,
    /// It returns a pipeline at once, which is down and goes on trying. What is wrong, be it the network or the
    /// credentials, is the reason in its status.
    Background,
}

/// Where the broker keeps the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In files.
    #[default]
    File,
    /// In memory: fast, and gone with the broker.
    Memory,
}

/// Which copy of the log is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The log itself.
    #[default]
    Origin,
    /// A mirror of the log, the stream `ARCHIPELAGO_<namespace>_mirror_<name>`, so that many replicas of a region read
    /// what crosses the ocean once. [`open`](archipelago_pipeline::Pipeline::open) makes the mirror unless it exists, and
    /// `state` and `subscribe` are about it; its sequences are those of the log. Everything else goes to the log:
    /// publishing, appending, trimming and the lease. What replicas say to one another takes no notice of either.
    ///
    /// A mirror is behind the log by the way there, and further if that way is cut:
    /// [`mirror_lag`](archipelago_pipeline::LogState::mirror_lag) tells how far, as far as the mirror knows. Who has to
    /// know asks the log's writer.
    ///
    /// A mirror keeps what was trimmed from the log. It does not take part in what else happens to it: if the log loses its
    /// tail, or is deleted and made again, `open` and `subscribe` fail with
    /// [`LogRegressed`](archipelago_pipeline::PipelineError::LogRegressed) as long as the mirror has more than the log.
    /// Delete it then; `open` makes it anew.
    Mirror {
        /// The name of the mirror, 1 to 64 of `A-Z a-z 0-9 _ -`.
        name: String,
        /// The JetStream domain in which the log is, if that is not the one of the server that we are connected to: for
        /// example that of the hub, for those who are connected to a leaf node. 1 to 64 of the same characters.
        origin_domain: Option<String>,
    },
}

/// What the subjects begin with on which a replica is answered and nobody else.
pub(crate) fn own_inbox(replica: &str) -> String {
    format!("_INBOX.{replica}")
}

/// Where the broker is, who we are, and the limits of one [`NatsPipeline`](crate::NatsPipeline).
///
/// Its `Debug` output shows no secrets.
#[derive(Clone)]
#[must_use = "nothing happens before `NatsPipeline::connect`"]
pub struct NatsConfig {
    pub(crate) urls: String,
    pub(crate) namespace: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) prefetch_messages_max: usize,
    pub(crate) duplicate_window: Duration,
    pub(crate) replicas: usize,
    pub(crate) storage: Storage,
    pub(crate) on_start: OnStart,
    pub(crate) payload_bytes_max: usize,
    pub(crate) assembly_bytes_max: usize,
    pub(crate) read_from: ReadFrom,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) tls_client: Option<(PathBuf, PathBuf)>,
    pub(crate) domain: Option<String>,
    pub(crate) log_bytes_max: Option<u64>,
    pub(crate) inbox_of: Option<String>,
}

/// Proof of who we are.
#[derive(Clone)]
pub(crate) enum Credentials {
    UserAndPassword { user: String, password: String },
    Token(String),
    File(PathBuf),
    NkeySeed(String),
}

impl NatsConfig {
    /// The servers of one cluster as comma-separated URLs, `nats://host:4222` or with TLS `tls://host:4222`, and the
    /// namespace, 1 to 64 of `A-Z a-z 0-9 _ -`.
    ///
    /// Credentials in a URL (`nats://user:password@host`, percent-encoded) are used unless others are set. Both
    /// arguments are checked by [`NatsPipeline::connect`](crate::NatsPipeline::connect).
    pub fn new(urls: impl Into<String>, namespace: impl Into<String>) -> NatsConfig {
        NatsConfig {
            urls: urls.into(),
            namespace: namespace.into(),
            credentials: None,
            connect_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(5),
            in_flight_max: 256,
            prefetch_messages_max: 256,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
            storage: Storage::File,
            on_start: OnStart::FailFast,
            payload_bytes_max: 64 * 1024 * 1024,
            assembly_bytes_max: 128 * 1024 * 1024,
            read_from: ReadFrom::Origin,
            tls_ca: None,
            tls_client: None,
            domain: None,
            log_bytes_max: None,
            inbox_of: None,
        }
    }

    /// Has answers come on subjects that begin with `_INBOX.` and this name, 1 to 64 of `A-Z a-z 0-9 _ -`, and not on those
    /// that all clients share. With permissions to match ([`NatsPermissions`](crate::NatsPermissions)) nobody else hears
    /// what a replica is answered.
    pub fn own_inbox(mut self, replica: impl Into<String>) -> NatsConfig {
        self.inbox_of = Some(replica.into());
        self
    }

    /// What the subjects of answers begin with.
    pub(crate) fn inbox_prefix(&self) -> String {
        self.inbox_of.as_ref().map_or("_INBOX".to_owned(), |replica| own_inbox(replica))
    }

    /// The certificate of the authority that signed those of the servers, a PEM file, besides those that the system trusts.
    /// With it, no server is spoken to without TLS. Read on each connecting.
    pub fn tls_ca(mut self, certificate: impl Into<PathBuf>) -> NatsConfig {
        self.tls_ca = Some(certificate.into());
        self
    }

    /// The certificate and the private key by which servers know us, PEM files. With them, no server is spoken to without
    /// TLS.
    pub fn tls_client(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> NatsConfig {
        self.tls_client = Some((certificate.into(), key.into()));
        self
    }

    /// The JetStream domain in which the log is, if it is not that of the servers: 1 to 64 of `A-Z a-z 0-9 _ -`. Of no
    /// effect on a [mirror](ReadFrom::Mirror), which names the domain of its origin itself.
    pub fn domain(mut self, domain: impl Into<String>) -> NatsConfig {
        self.domain = Some(domain.into());
        self
    }

    /// The most bytes that the log holds, if it is made by this pipeline. A log that is full refuses instead of forgetting:
    /// writes wait until it is trimmed, as happens below snapshots. Default no limit.
    pub fn log_bytes_max(mut self, bytes: u64) -> NatsConfig {
        self.log_bytes_max = Some(bytes);
        self
    }

    /// Identifies with a user and a password. Replaces other credentials, as the three below do.
    pub fn user_and_password(self, user: impl Into<String>, password: impl Into<String>) -> NatsConfig {
        self.credentials(Credentials::UserAndPassword { user: user.into(), password: password.into() })
    }

    /// Identifies with a token.
    pub fn token(self, token: impl Into<String>) -> NatsConfig {
        self.credentials(Credentials::Token(token.into()))
    }

    /// Identifies with a credentials file, as `nsc generate creds` writes it. Read once, on connecting.
    pub fn credentials_file(self, path: impl Into<PathBuf>) -> NatsConfig {
        self.credentials(Credentials::File(path.into()))
    }

    /// Identifies with the seed of an nkey, `SU...`.
    pub fn nkey_seed(self, seed: impl Into<String>) -> NatsConfig {
        self.credentials(Credentials::NkeySeed(seed.into()))
    }

    fn credentials(mut self, credentials: Credentials) -> NatsConfig {
        self.credentials = Some(credentials);
        self
    }

    /// How long one attempt to connect may take. Default 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> NatsConfig {
        self.connect_timeout = timeout;
        self
    }

    /// How long the answer to a published message, counted from its sending, and to any other request is waited for.
    /// Default 5 seconds.
    pub fn ack_timeout(mut self, timeout: Duration) -> NatsConfig {
        self.ack_timeout = timeout;
        self
    }

    /// How many acknowledgements may be outstanding. Default 256; at least 1.
    pub fn in_flight_max(mut self, count: usize) -> NatsConfig {
        self.in_flight_max = count.max(1);
        self
    }

    /// How many messages one subscription fetches ahead of its reader. Default 256; at least 2. Bounds the memory of
    /// a subscription to about twice as many messages. Of large messages it fetches fewer: 16 MiB at once.
    pub fn prefetch_messages_max(mut self, count: usize) -> NatsConfig {
        self.prefetch_messages_max = count.max(2);
        self
    }

    /// How long the broker remembers message ids, if the log is made by this pipeline. Default 2 minutes.
    pub fn duplicate_window(mut self, window: Duration) -> NatsConfig {
        self.duplicate_window = window;
        self
    }

    /// On how many servers the log is kept, if it is made by this pipeline. Default 1; more need a cluster.
    pub fn replicas(mut self, count: usize) -> NatsConfig {
        self.replicas = count;
        self
    }

    /// Where the log is kept, if it is made by this pipeline. Default [`Storage::File`].
    pub fn storage(mut self, storage: Storage) -> NatsConfig {
        self.storage = storage;
        self
    }

    /// How large a payload may be that is published, announced, asked or answered, in bytes. Default 64 MiB, at least
    /// one byte. More is refused with [`TooLarge`](archipelago_pipeline::PipelineError::TooLarge), and not read from
    /// others, so that it should be the same for all replicas.
    ///
    /// The server's limit on one message (`max_payload`, 1 MiB unless configured) does not matter for this: what is
    /// larger travels in parts. Announcements and questions are sent in one go: keep them well below the server's
    /// `max_pending` (64 MiB unless configured), beyond which it closes the connection of a slow listener.
    pub fn payload_bytes_max(mut self, bytes: usize) -> NatsConfig {
        self.payload_bytes_max = bytes.max(1);
        self
    }

    /// How many bytes of parts that wait for others one subscription, one listener and one question each keep.
    /// Default 128 MiB; one payload may always wait. Beyond that, the payload that was begun first is given up, with a
    /// warning in the log: what it would have brought then comes by repair.
    pub fn assembly_bytes_max(mut self, bytes: usize) -> NatsConfig {
        self.assembly_bytes_max = bytes;
        self
    }

    /// Which copy of the log is read. Default [`ReadFrom::Origin`].
    pub fn read_from(mut self, read_from: ReadFrom) -> NatsConfig {
        self.read_from = read_from;
        self
    }

    /// The JetStream domain of the log, if it is not that of our server.
    pub(crate) fn origin_domain(&self) -> Option<&str> {
        match &self.read_from {
            ReadFrom::Origin => self.domain.as_deref(),
            ReadFrom::Mirror { origin_domain, .. } => origin_domain.as_deref(),
        }
    }

    /// What happens if no broker can be reached on connecting. Default [`OnStart::FailFast`].
    pub fn on_start(mut self, on_start: OnStart) -> NatsConfig {
        self.on_start = on_start;
        self
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("urls", &masked(&self.urls))
            .field("namespace", &self.namespace)
            .field("credentials", &self.credentials)
            .field("connect_timeout", &self.connect_timeout)
            .field("ack_timeout", &self.ack_timeout)
            .field("in_flight_max", &self.in_flight_max)
            .field("prefetch_messages_max", &self.prefetch_messages_max)
            .field("duplicate_window", &self.duplicate_window)
            .field("replicas", &self.replicas)
            .field("storage", &self.storage)
            .field("on_start", &self.on_start)
            .field("payload_bytes_max", &self.payload_bytes_max)
            .field("assembly_bytes_max", &self.assembly_bytes_max)
            .field("read_from", &self.read_from)
            .field("tls_ca", &self.tls_ca)
            .field("tls_client", &self.tls_client)
            .field("domain", &self.domain)
            .field("log_bytes_max", &self.log_bytes_max)
            .field("inbox_of", &self.inbox_of)
            .finish()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::UserAndPassword { user, .. } => write!(f, "UserAndPassword({user:?}, ***)"),
            Credentials::Token(_) => f.write_str("Token(***)"),
            Credentials::File(path) => write!(f, "File({path:?})"),
            Credentials::NkeySeed(_) => f.write_str("NkeySeed(***)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let with = |set: fn(NatsConfig) -> NatsConfig| {
            format!("{:?}", set(NatsConfig::new("nats://u:hunter2@host:4222", "n")))
        };
        for shown in [
            with(|config| config),
            with(|config| config.user_and_password("app", "hunter2")),
            with(|config| config.token("hunter2")),
            with(|config| config.nkey_seed("SUhunter2")),
        ] {
            assert!(!shown.contains("hunter2") && shown.contains("***@host"), "{shown}");
        }
    }
}
