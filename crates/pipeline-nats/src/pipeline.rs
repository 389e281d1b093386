use std::{fmt, sync::Arc, time::Duration};

use archipelago_pipeline::{
    Appending, ExpectedEnd, Lease, Listener, LogState, Outgoing, PendingAck, Pipeline, PipelineError,
    PipelineStatus, Subscription, check_name,
};
use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    address::{Addresses, masked},
    config::{NatsConfig, OnStart, ReadFrom},
    connection,
    lease::NatsLease,
    link::{Links, Role},
    mirror::mirror_of,
    parts::Sizes,
    peers::Peers,
    publisher::Publisher,
    reader::Reader,
    stream::LogStream,
};

/// One replica's handle on the log of a namespace, over two connections of its own. Clones share them; they are
/// closed with the last clone and the last subscription.
#[derive(Clone)]
pub struct NatsPipeline {
    config: Arc<NatsConfig>,
    links: Arc<Links>,
    peers: Peers,
    client: Client,
    publisher: Arc<Publisher>,
    /// The stream of the log as seen over the connection for publishing, and over that for reading, which serves all
    /// requests but publishing.
    out: LogStream,
    origin: LogStream,
    /// The stream that is read: that of the log, or a mirror.
    stream: LogStream,
}

impl NatsPipeline {
    /// Connects, and checks that the broker is new enough and has JetStream. With [`OnStart::Background`], returns
    /// before there is a connection, and what is found wrong later is told by the status and by
    /// [`open`](Pipeline::open).
    ///
    /// # Errors
    ///
    /// - [`PipelineError::InvalidName`]: the namespace.
    /// - [`PipelineError::Misconfigured`]: a URL, the credentials file, JetStream is off, the server is older than
    ///   2.10.
    /// - [`PipelineError::Unauthorized`]: the credentials, or the permission to use `$JS.API.>`. Not with [`OnStart::Background`].
    /// - [`PipelineError::Unavailable`]: no server answers. Not with [`OnStart::Background`].
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub async fn connect(config: NatsConfig) -> Result<NatsPipeline, PipelineError> {
        check_name(&config.namespace)?;
        if let ReadFrom::Mirror { name, origin_domain } = &config.read_from {
            check_name(name)?;
            origin_domain.as_deref().map_or(Ok(()), check_name)?;
        }
        config.domain.as_deref().map_or(Ok(()), check_name)?;
        config.inbox_of.as_deref().map_or(Ok(()), check_name)?;
        let addresses = Addresses::parse(&config.urls)?;
        let links = Arc::new(Links::new(masked(&config.urls)));
        let publish = connection::connect(&config, &addresses, &links, Role::Publish).await?;
        let consume = connection::connect(&config, &addresses, &links, Role::Consume).await?;
        let (out, origin) = [(&publish, Role::Publish), (&consume, Role::Consume)]
            .map(|(client, role)| {
                let context = connection::origin_context(client, &config);
                LogStream::new(context, links.clone(), role, &config)
            })
            .into();
        let here = connection::context(&consume, &config);
        let stream = match &config.read_from {
            ReadFrom::Origin => origin.clone(),
            ReadFrom::Mirror { name, .. } => mirror_of(&origin, name, here.clone()),
        };
        if config.on_start == OnStart::FailFast {
            connection::examine(&consume, &here, &links, Role::Consume).await?;
            // The events of the two connections are on their way.
            let mut status = links.status();
            let up = status.wait_for(|status| *status == PipelineStatus::Up);
            let _ = tokio::time::timeout(config.connect_timeout, up).await;
        }
        // No other inbox has this name.
        let name = publish.new_inbox();
        Ok(NatsPipeline {
            out: out.clone(),
            publisher: Arc::new(Publisher::new(out, config.in_flight_max, config.ack_timeout, &name)),
            peers: Peers::new(publish.clone(), consume, links.clone(), &config.namespace),
            config: Arc::new(config),
            links,
            client: publish,
            origin,
            stream,
        })
    }

    /// Removes the log and the lease of the namespace from the broker, with all that they hold, for good. What is not there
    /// is no error. For namespaces that were made for a test or a measurement: whoever still uses this one finds its log
    /// gone, and makes another.
    ///
    /// # Errors
    /// [`PipelineError::Unavailable`], [`PipelineError::Unauthorized`] and [`PipelineError::Refused`]; the one may be removed
    /// then and the other not, and removing again does the rest.
    pub async fn remove(&self) -> Result<(), PipelineError> {
        self.stream.remove().await?;
        let lease = crate::lease::stream_name(&self.config.namespace);
        self.stream.other(lease, String::new(), self.config.ack_timeout).remove().await
    }
}

impl NatsPipeline {
    fn sizes(&self) -> Sizes {
        Sizes {
            payload_bytes_max: self.config.payload_bytes_max,
            message_bytes_max: self.client.try_server_info().map(|info| info.max_payload),
            assembly_bytes_max: self.config.assembly_bytes_max,
        }
    }
}

impl fmt::Debug for NatsPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPipeline")
            .field("config", &self.config)
            .field("status", &*self.links.status().borrow())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Pipeline for NatsPipeline {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        connection::check_version(&self.client)?;
        self.stream.open(&self.config, sequence).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.stream.state().await
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        self.publisher.publish(message, self.sizes()).await
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        self.publisher.append(origin, payload, expected, self.sizes()).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        connection::check_version(&self.client)?;
        Ok(Arc::new(NatsLease::open(&self.out, &self.origin, &self.config, ttl).await?))
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let reader =
            Reader::start(self.stream.clone(), after, self.config.prefetch_messages_max, self.sizes());
        Ok(Box::new(reader.await?))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.origin.trim(up_to).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.peers.announce(from, payload, self.sizes()).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.peers.ask(to, payload, deadline, self.sizes()).await
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        self.peers.listen(name, self.sizes()).await
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.links.status()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.sizes().payload_bytes_max())
    }

    fn payload_bytes_good(&self) -> Option<usize> {
        self.sizes().payload_bytes_good()
    }
}
