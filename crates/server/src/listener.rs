//! Connections: how many, how slow they may be, and how they end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{config::HttpSection, stall::Stalling};

/// The largest head of a request, in bytes; what is read ahead of a body counts, too.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long nothing is accepted after the system refused to accept, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and serves them.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) limits: HttpSection,
    pub(crate) router: Router,
    /// No more connections are taken, and those that there are end after the request that they are at.
    pub(crate) stop: CancellationToken,
}

/// What each connection needs.
#[derive(Clone)]
struct Serving {
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
    stall_timeout: Duration,
    router: Router,
    stop: CancellationToken,
}

impl Listener {
    /// Serves until it is stopped and every connection has ended.
    pub(crate) async fn run(self) {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let serving = Serving {
            tls: self.tls,
            header_timeout: Duration::from_millis(self.limits.header_timeout_ms),
            stall_timeout: Duration::from_millis(self.limits.stream_stall_timeout_ms),
            router: self.router,
            stop: self.stop.clone(),
        };
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                // What is done is let go of.
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                // Whoever finds no place waits in the queue of the system.
                accepted = accept(&self.socket, &places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let serving = serving.clone();
                    connections.spawn(async move {
                        serving.serve(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

async fn accept(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

impl Serving {
    async fn serve(self, stream: TcpStream) {
        let stream = Stalling::new(stream, self.stall_timeout);
        let Some(tls) = self.tls.clone() else { return self.speak(stream).await };
        match timeout(self.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client did not shake hands"),
            Err(_) => tracing::debug!("a client was too slow to shake hands"),
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = TowerToHyperService::new(self.router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
