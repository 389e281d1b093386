use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

/// How much is read before it is passed on.
const CHUNK_BYTES: usize = 64 * 1024;

/// A TCP relay in front of a server, on a port of its own: whoever connects through it can be cut off from the server and
/// nobody else is.
///
/// It runs on the tokio runtime that it was started on, and ends when it is dropped, with all its connections.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    passage: watch::Sender<Passage>,
    listener: JoinHandle<()>,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Open,
    Stalled,
    Cut,
}

impl TcpProxy {
    /// Relays connections to `target`, which need not listen yet.
    ///
    /// # Errors
    /// If the system gives no port.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(target: SocketAddr) -> io::Result<TcpProxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (passage, state) = watch::channel(Passage::Open);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, state.clone()));
            }
        });
        Ok(TcpProxy { port, passage, listener })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes, in either direction, and nobody is told: connections stay open, as in a network that
    /// drops every packet. What is sent meanwhile waits, and passes once it is [healed](Self::heal).
    pub fn stall(&self) {
        self.passage.send_replace(Passage::Stalled);
    }

    /// Closes all connections, and new ones at once, until it is [healed](Self::heal).
    pub fn cut(&self) {
        self.passage.send_replace(Passage::Cut);
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.passage.send_replace(Passage::Open);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // The connections end with the passage.
        self.listener.abort();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, mut passage: watch::Receiver<Passage>) {
    if !opens(&mut passage).await {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Small messages go at once, as without it.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, passage.clone()) => {}
        () = pass(from_server, to_client, passage) => {}
    }
}

/// Passes on what comes, until an end is closed or it is cut.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passage: watch::Receiver<Passage>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        tokio::select! {
            read = from.read(&mut chunk) => {
                let Ok(bytes) = read else { return };
                if bytes == 0 || !opens(&mut passage).await || to.write_all(&chunk[..bytes]).await.is_err() {
                    return;
                }
            }
            () = is_cut(&mut passage) => return,
        }
    }
}

/// Waits while it is stalled; false once it is cut.
async fn opens(passage: &mut watch::Receiver<Passage>) -> bool {
    passage
        .wait_for(|passage| *passage != Passage::Stalled)
        .await
        .is_ok_and(|passage| *passage == Passage::Open)
}

async fn is_cut(passage: &mut watch::Receiver<Passage>) {
    let _ = passage.wait_for(|passage| *passage == Passage::Cut).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(50);
    const DEADLINE: Duration = Duration::from_secs(10);

    /// A client and the server's end of its connection.
    async fn connected() -> (TcpProxy, TcpListener, TcpStream, TcpStream) {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = TcpProxy::start(server.local_addr().unwrap()).await.unwrap();
        let client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let (there, _) = server.accept().await.unwrap();
        (proxy, server, client, there)
    }

    async fn read(from: &mut TcpStream) -> Option<[u8; 2]> {
        let mut bytes = [0; 2];
        let read = timeout(DEADLINE, from.read_exact(&mut bytes)).await.expect("something happens");
        read.is_ok().then_some(bytes)
    }

    #[tokio::test]
    async fn what_is_sent_while_it_stalls_passes_once_it_is_healed_in_both_directions() {
        let (proxy, _server, mut client, mut there) = connected().await;
        client.write_all(b"a1").await.unwrap();
        assert_eq!(read(&mut there).await, Some(*b"a1"));
        proxy.stall();
        client.write_all(b"a2").await.unwrap();
        there.write_all(b"b1").await.unwrap();
        let mut byte = [0];
        assert!(timeout(SILENCE, there.read(&mut byte)).await.is_err());
        assert!(timeout(SILENCE, client.read(&mut byte)).await.is_err());
        proxy.heal();
        assert_eq!((read(&mut there).await, read(&mut client).await), (Some(*b"a2"), Some(*b"b1")));
    }

    #[tokio::test]
    async fn a_cut_closes_connections_stalled_ones_too_and_a_healed_proxy_takes_new_ones() {
        let (proxy, server, mut client, mut there) = connected().await;
        proxy.stall();
        client.write_all(b"a1").await.unwrap();
        proxy.cut();
        assert_eq!((read(&mut client).await, read(&mut there).await), (None, None));
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(read(&mut refused).await, None);
        proxy.heal();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let (mut there, _) = timeout(DEADLINE, server.accept()).await.unwrap().unwrap();
        client.write_all(b"a2").await.unwrap();
        assert_eq!(read(&mut there).await, Some(*b"a2"));
    }
}
