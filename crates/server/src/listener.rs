//! Connections: how many, how slow they may be, and how they end.

use std::{convert::Infallible, error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    config::HttpSection,
    places::{Place, Places},
    refusals::{Refusal, Refusals},
    stall::Stalling,
};

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
    pub(crate) refusals: Refusals,
    /// No more connections are taken, and those that there are end after the request that they are at.
    pub(crate) stop: CancellationToken,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What each connection needs.
#[derive(Clone)]
struct Serving {
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
    stall_timeout: Duration,
    router: Router,
    refusals: Refusals,
    stop: CancellationToken,
}

impl Listener {
    /// Serves until it is stopped and every connection has ended.
    pub(crate) async fn run(self) {
        let places = Places::new(self.limits.connections_max);
        let serving = Serving {
            tls: self.tls,
            header_timeout: Duration::from_millis(self.limits.header_timeout_ms),
            stall_timeout: Duration::from_millis(self.limits.stream_stall_timeout_ms),
            router: self.router,
            refusals: self.refusals,
            stop: self.stop.clone(),
        };
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                // What is done is let go of.
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Further ones wait in the queue of the system as long as this one has no place.
                    let place = tokio::select! {
                        biased;
                        () = self.stop.cancelled() => break,
                        place = places.take() => place,
                    };
                    connections.spawn(serving.clone().serve(stream, peer, place));
                }
                // It was gone before it was accepted.
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    tracing::debug!(%error, "no connection can be accepted");
                    serving.refusals.note(Refusal::NotAccepted, None);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Serving {
    async fn serve(self, stream: TcpStream, peer: SocketAddr, place: Arc<Place>) {
        // What is wrong with the connection shows when it is read.
        let _ = stream.set_nodelay(true);
        let stream = Stalling::new(stream, self.stall_timeout);
        let (refusals, waiting) = (self.refusals.clone(), place.clone());
        tokio::select! {
            biased;
            // First, as a request may have come meanwhile.
            () = self.shake_hands(stream, peer, place) => {}
            () = waiting.crowded_out() => refusals.note(Refusal::CrowdedOut, Some(peer)),
        }
    }

    async fn shake_hands(self, stream: Stalling<TcpStream>, peer: SocketAddr, place: Arc<Place>) {
        let Some(tls) = self.tls.clone() else { return self.speak(stream, peer, place).await };
        match timeout(self.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => return self.speak(stream, peer, place).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client did not shake hands"),
            Err(_) => tracing::debug!("a client was too slow to shake hands"),
        }
        self.refusals.note(Refusal::Handshake, Some(peer));
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, place: Arc<Place>) {
        let router = self.router;
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            let at_work = place.work();
            request.extensions_mut().insert(Peer(peer));
            let answering = router.clone().oneshot(request);
            async move {
                let response = answering.await?;
                Ok::<_, Infallible>(response.map(|body| at_work.until_sent(body)))
            }
        });
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
            if let Some(refusal) = refusal_of(&error, &place) {
                self.refusals.note(refusal, Some(peer));
            }
        }
    }
}

/// Whether a connection ended early because its client is slow or sends what it should not.
fn refusal_of(error: &hyper::Error, place: &Place) -> Option<Refusal> {
    let is_stalled = || {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        source.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    };
    match error {
        // A client that has nothing more to ask is no slow one.
        _ if error.is_timeout() => (!place.was_asked()).then_some(Refusal::SlowHead),
        _ if error.is_parse() => Some(Refusal::WrongHead),
        _ if is_stalled() => Some(Refusal::Stalled),
        _ => None,
    }
}
