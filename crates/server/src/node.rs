//! A node: its namespaces, served.

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    app::App,
    config::{Config, ConfigError, NamespaceSection},
    listener::Listener,
    measures::Measures,
    namespace::Namespace,
    router, tls,
};

/// The namespace of a node that was given none.
const NAMESPACE_DEFAULT: &str = "default";

/// Why a node did not start. What was started before is closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened at.
    #[error("cannot listen at {listen}, http.listen: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file of the certificate cannot be used.
    #[error("{}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A namespace cannot be started.
    #[error("the namespace {namespace:?} cannot be started: {source}")]
    Namespace {
        /// The namespace.
        namespace: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A node that runs. Dropped, it ends at once; what was acknowledged is in its store.
#[derive(Debug)]
pub struct Node {
    app: App,
    address: SocketAddr,
    drain_timeout: Duration,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// What [`Node::drain`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections were cut off because their requests took longer than `node.drain_timeout_ms`.
    pub was_cut_off: bool,
    /// A store could not be closed cleanly; what was acknowledged is in it.
    pub store_failed: bool,
}

impl Node {
    /// Starts the namespaces and serves them. The broker need not be there.
    ///
    /// # Errors
    /// [`NodeError`] says which option is wrong.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(config: Config) -> Result<Node, NodeError> {
        config.check()?;
        let tls = tls::acceptor(&config.http)?;
        let listen = config.http.listen;
        let failed = |source| NodeError::Listen { listen, source };
        let socket = TcpListener::bind(listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let advertised = advertised(&config, address);
        let measures = Measures::new();
        let namespaces = start_all(&config, advertised.as_deref(), &measures).await?;
        let name = config.node.name.clone().unwrap_or_default();
        let app = App::new(name, advertised, namespaces, config.http.clone(), measures);
        let access = Arc::new(Access::new(&config, address));
        let stop = CancellationToken::new();
        let listener = Listener {
            socket,
            tls,
            limits: config.http.clone(),
            router: router::router(&app, &access),
            refusals: app.refusals().clone(),
            stop: stop.clone(),
        };
        let serving = tokio::spawn(listener.run());
        let drain_timeout = Duration::from_millis(config.node.drain_timeout_ms);
        tracing::info!(%address, "the node is up");
        Ok(Node { app, address, drain_timeout, stop, serving })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends: is not ready any more, finishes what is under way within `node.drain_timeout_ms`, brings what is queued to the
    /// broker, and closes the stores.
    pub async fn drain(mut self) -> Drained {
        self.app.drain();
        let ended = async {
            self.app.idle().await;
            self.stop.cancel();
            let _ = (&mut self.serving).await;
        };
        let was_cut_off = timeout(self.drain_timeout, ended).await.is_err();
        self.serving.abort();
        let closed = futures::future::join_all(self.app.namespaces().values().map(Namespace::close)).await;
        for error in closed.iter().filter_map(|closed| closed.as_ref().err()) {
            tracing::error!(%error, "a namespace was not closed cleanly");
        }
        Drained { was_cut_off, store_failed: closed.iter().any(Result::is_err) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.app.drain();
        self.serving.abort();
    }
}

/// Where clients reach the node: as configured, or where it listens, unless that is every address of the machine.
fn advertised(config: &Config, listening: SocketAddr) -> Option<String> {
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    let own = (!listening.ip().is_unspecified()).then(|| format!("{scheme}://{listening}"));
    config.http.advertise.as_ref().map(|address| address.trim_end_matches('/').to_owned()).or(own)
}

async fn start_all(
    config: &Config,
    address: Option<&str>,
    measures: &Measures,
) -> Result<BTreeMap<String, Namespace>, NodeError> {
    let alone = BTreeMap::from([(NAMESPACE_DEFAULT.to_owned(), NamespaceSection::default())]);
    let wanted = if config.namespaces.is_empty() { &alone } else { &config.namespaces };
    let mut started = BTreeMap::new();
    for (name, options) in wanted {
        match Namespace::start(name, options, config, address, measures).await {
            Ok(namespace) => drop(started.insert(name.clone(), namespace)),
            Err(error) => {
                futures::future::join_all(started.values().map(Namespace::close)).await;
                return Err(error);
            }
        }
    }
    Ok(started)
}
