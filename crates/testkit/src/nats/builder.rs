use std::path::PathBuf;

use super::{NatsServer, NatsServerError, cluster::Membership};

/// The settings of a [`NatsServer`] to be.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started before `start`"]
pub struct NatsServerBuilder {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) max_payload_bytes: Option<u32>,
    pub(crate) store_dir: Option<PathBuf>,
    pub(crate) membership: Option<Membership>,
    pub(crate) settings: String,
    pub(crate) jetstream: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl NatsServerBuilder {
    /// Refuses clients that do not present this user and password. Default: everyone is let in.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// The largest message that is accepted, in bytes. Default: the server's own, 1 MiB.
    pub fn max_payload_bytes(mut self, max_payload_bytes: u32) -> Self {
        self.max_payload_bytes = Some(max_payload_bytes);
        self
    }

    /// Keeps what JetStream stores in this folder, and leaves it there when the server is dropped. Default: a
    /// temporary folder that is removed then.
    pub fn store_dir(mut self, store_dir: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(store_dir.into());
        self
    }

    /// Adds lines to the server's configuration file, such as `http: "127.0.0.1:-1"`. Default: none.
    pub fn settings(mut self, settings: impl Into<String>) -> Self {
        self.settings = settings.into();
        self
    }

    /// Adds settings to the section `jetstream` of that file, such as `sync_interval: always`. Default: none.
    pub fn jetstream(mut self, settings: impl Into<String>) -> Self {
        self.jetstream = settings.into();
        self
    }

    /// Makes it one of a cluster.
    pub(crate) fn member_of(mut self, membership: Membership) -> Self {
        self.membership = Some(membership);
        self
    }

    /// Starts the server and waits until it accepts clients.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub async fn start(self) -> Result<NatsServer, NatsServerError> {
        NatsServer::start_with(self).await
    }
}
