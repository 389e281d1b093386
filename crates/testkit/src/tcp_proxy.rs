use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// How much is read before it is passed on.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many pieces are on their way at most, in one direction of one connection.
const PIECES_MAX: usize = 64;

/// How much later a piece arrives that was lost and sent again: what most systems wait at least.
const RESEND: Duration = Duration::from_millis(200);

/// A TCP relay in front of a server, on a port of its own: whoever connects through it can be cut off from the server and
/// nobody else is.
///
/// It runs on the tokio runtime that it was started on, and ends when it is dropped, with all its connections.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    state: watch::Sender<State>,
    listener: JoinHandle<()>,
}

/// One of the two ways of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// What clients say.
    Server,
    /// What the server says.
    Client,
}

/// How bad a line is, in each direction.
///
/// There is no loss in TCP: what is lost is sent again, and everything behind it waits; and some connections break. So that
/// is what happens here. It is decided for each piece that is read, which is one message or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// How long everything takes.
    pub latency: Duration,
    /// Up to so much longer.
    pub jitter: Duration,
    /// Of so many pieces in a thousand another copy must be sent: they, and what is behind them, come 200 ms later.
    pub lost_per_mille: u16,
    /// At so many pieces in a thousand the connection breaks.
    pub reset_per_mille: u16,
    /// Decides all that chance decides.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    to_server: Passage,
    to_client: Passage,
    line: Line,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    Stalled,
    Cut,
}

impl State {
    fn all(passage: Passage) -> State {
        State { to_server: passage, to_client: passage, line: Line::default() }
    }

    fn passage(&self, towards: Towards) -> Passage {
        match towards {
            Towards::Server => self.to_server,
            Towards::Client => self.to_client,
        }
    }
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
        let (state, seen) = watch::channel(State::default());
        let listener = tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((client, _)) = listener.accept().await {
                connections += 1;
                tokio::spawn(relay(client, target, connections, seen.clone()));
            }
        });
        Ok(TcpProxy { port, state, listener })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes, in either direction, and nobody is told: connections stay open, as in a network that
    /// drops every packet. What is sent meanwhile waits, and passes once it is [healed](Self::heal).
    pub fn stall(&self) {
        self.state.send_replace(State::all(Passage::Stalled));
    }

    /// The same in one direction only: one end is heard, and hears nothing.
    pub fn stall_towards(&self, towards: Towards) {
        let (stalled, open) = (Passage::Stalled, Passage::Open);
        let (to_server, to_client) = match towards {
            Towards::Server => (stalled, open),
            Towards::Client => (open, stalled),
        };
        self.state.send_replace(State { to_server, to_client, line: Line::default() });
    }

    /// Closes all connections, and new ones at once, until it is [healed](Self::heal).
    pub fn cut(&self) {
        self.state.send_replace(State::all(Passage::Cut));
    }

    /// Everything passes, as over such a line, until it is [healed](Self::heal).
    pub fn degrade(&self, line: Line) {
        self.state.send_replace(State { line, ..State::default() });
    }

    /// Lets everything pass again at once.
    pub fn heal(&self) {
        self.state.send_replace(State::default());
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // The connections end with the state.
        self.listener.abort();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, connection: u64, state: watch::Receiver<State>) {
    let way = |towards| Way { towards, state: state.clone(), dice: Dice::new(connection, towards) };
    let (mut there, back) = (way(Towards::Server), way(Towards::Client));
    if !there.opens().await {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Small messages go at once, as without it.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = there.pass(from_client, to_server) => {}
        () = back.pass(from_server, to_client) => {}
    }
}

/// One direction of a connection.
#[derive(Clone, Debug)]
struct Way {
    towards: Towards,
    state: watch::Receiver<State>,
    dice: Dice,
}

/// The connection is at its end.
struct Ended;

impl Way {
    /// Passes on what comes, until an end is closed or it is cut.
    async fn pass(self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let (mut reads, mut writes, mut cut) = (self.clone(), self.clone(), self);
        let passing = async { tokio::try_join!(reads.read(from, pieces), writes.write(to, queue)) };
        tokio::select! {
            _ = passing => {}
            () = cut.is_cut() => {}
        }
    }

    async fn read(
        &mut self,
        mut from: OwnedReadHalf,
        pieces: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> Result<(), Ended> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut last_due = Instant::now();
        loop {
            let bytes = from.read(&mut chunk).await.map_err(|_| Ended)?;
            if bytes == 0 {
                // What is on its way still arrives.
                return Ok(());
            }
            let line = self.state.borrow().line;
            if self.dice.per_mille(line, line.reset_per_mille) {
                return Err(Ended);
            }
            let resend = if self.dice.per_mille(line, line.lost_per_mille) { RESEND } else { Duration::ZERO };
            let due = Instant::now() + line.latency + line.jitter.mul_f64(self.dice.fraction(line)) + resend;
            // In order: what is behind a late one is late, too.
            last_due = last_due.max(due);
            pieces.send((last_due, chunk[..bytes].to_vec())).await.map_err(|_| Ended)?;
        }
    }

    async fn write(
        &mut self,
        mut to: OwnedWriteHalf,
        mut queue: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) -> Result<(), Ended> {
        while let Some((due, piece)) = queue.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if !self.opens().await {
                return Err(Ended);
            }
            to.write_all(&piece).await.map_err(|_| Ended)?;
        }
        Ok(())
    }

    /// Waits while it is stalled; false once it is cut.
    async fn opens(&mut self) -> bool {
        let towards = self.towards;
        self.state
            .wait_for(|state| state.passage(towards) != Passage::Stalled)
            .await
            .is_ok_and(|state| state.passage(towards) == Passage::Open)
    }

    async fn is_cut(&mut self) {
        let towards = self.towards;
        let _ = self.state.wait_for(|state| state.passage(towards) == Passage::Cut).await;
    }
}

/// What chance decides on one way: a SplitMix64 (Steele, Lea and Flood, 2014) of the line's seed and the way's own number.
#[derive(Clone, Debug)]
struct Dice {
    number: u64,
    thrown: u64,
}

impl Dice {
    fn new(connection: u64, towards: Towards) -> Dice {
        Dice { number: connection * 2 + u64::from(towards == Towards::Client), thrown: 0 }
    }

    fn throw(&mut self, line: Line) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        self.thrown += 1;
        let place = (self.number << 40) + self.thrown;
        let mut mixed = line.seed.wrapping_add(place.wrapping_mul(GAMMA));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn per_mille(&mut self, line: Line, chance: u16) -> bool {
        self.throw(line) % 1_000 < u64::from(chance)
    }

    /// At least 0 and less than 1.
    fn fraction(&mut self, line: Line) -> f64 {
        let bits = u32::try_from(self.throw(line) >> 32).unwrap_or(u32::MAX);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn what_is_stalled_in_one_direction_passes_in_the_other() {
        for towards in [Towards::Server, Towards::Client] {
            let (proxy, _server, mut client, mut there) = connected().await;
            proxy.stall_towards(towards);
            let (near, far) = match towards {
                Towards::Server => (&mut client, &mut there),
                Towards::Client => (&mut there, &mut client),
            };
            far.write_all(b"b1").await.unwrap();
            assert_eq!(read(near).await, Some(*b"b1"), "{towards:?}");
            near.write_all(b"a1").await.unwrap();
            assert!(timeout(SILENCE, far.read(&mut [0])).await.is_err(), "{towards:?}");
            proxy.heal();
            assert_eq!(read(far).await, Some(*b"a1"), "{towards:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_line_holds_each_piece_back_for_as_long_as_it_says_and_keeps_their_order() {
        let (proxy, _server, mut client, mut there) = connected().await;
        let latency = Duration::from_millis(80);
        proxy.degrade(Line { latency, jitter: latency, seed: 1, ..Line::default() });
        let began = Instant::now();
        for number in 0..20 {
            client.write_all(&[b'a', number]).await.unwrap();
        }
        for number in 0..20 {
            assert_eq!(read(&mut there).await, Some([b'a', number]));
        }
        assert!(began.elapsed() >= latency, "{:?}", began.elapsed());
        // What is on its way when an end is closed arrives.
        client.write_all(b"a!").await.unwrap();
        drop(client);
        assert_eq!((read(&mut there).await, read(&mut there).await), (Some(*b"a!"), None));
    }

    #[tokio::test]
    async fn a_lost_piece_comes_later_and_a_reset_closes_the_connection() {
        let (proxy, server, mut client, mut there) = connected().await;
        proxy.degrade(Line { lost_per_mille: 1_000, ..Line::default() });
        let began = Instant::now();
        client.write_all(b"a1").await.unwrap();
        assert_eq!(read(&mut there).await, Some(*b"a1"));
        assert!(began.elapsed() >= RESEND, "{:?}", began.elapsed());
        proxy.degrade(Line { reset_per_mille: 1_000, ..Line::default() });
        client.write_all(b"a2").await.unwrap();
        assert_eq!((read(&mut there).await, read(&mut client).await), (None, None));
        proxy.heal();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let (mut there, _) = timeout(DEADLINE, server.accept()).await.unwrap().unwrap();
        client.write_all(b"a3").await.unwrap();
        assert_eq!(read(&mut there).await, Some(*b"a3"));
    }

    #[test]
    fn chance_is_as_often_as_it_says_and_the_same_for_the_same_seed() {
        let line = Line { seed: 7, ..Line::default() };
        let throw = |seed| {
            let (line, mut dice) = (Line { seed, ..line }, Dice::new(1, Towards::Client));
            (0..10_000).filter(|_| dice.per_mille(line, 100)).count()
        };
        assert!((900..1_100).contains(&throw(7)), "{}", throw(7));
        assert_eq!(throw(7), throw(7));
        let mut dice = Dice::new(2, Towards::Server);
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&dice.fraction(line))));
    }
}
