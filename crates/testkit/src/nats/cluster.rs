use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
};

use super::{NatsServer, NatsServerError};
use crate::TcpProxy;

/// What a server knows of the cluster that it is a part of.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) name: String,
    pub(crate) route_port: u16,
    /// Where it finds the others.
    pub(crate) route_ports: Vec<u16>,
    pub(crate) hearsay: Hearsay,
}

/// Whether servers also find one another by what a third one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hearsay {
    Trusted,
    /// They are told of a place where nobody is: a way around a relay would be a way around a partition.
    Misled,
}

/// Nats-servers that replicate their streams among one another, so that some of them may be lost.
///
/// Each is a [`NatsServer`] that can be killed, paused and started again. They do not tell clients of one another: a client
/// knows those whose addresses it was given.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    /// The ways from each server to the others.
    relays: Vec<Relay>,
}

/// The way that one server goes to another.
#[derive(Debug)]
struct Relay {
    from: usize,
    to: usize,
    proxy: TcpProxy,
}

impl NatsCluster {
    /// Starts so many servers, and waits until each accepts clients. Until they have elected a leader, JetStream refuses
    /// requests for some seconds.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn start(size: usize) -> Result<NatsCluster, NatsServerError> {
        let route_ports = free_ports(0..size)?;
        Self::start_over(&route_ports, Vec::new()).await
    }

    /// The same, each server reaching the others over relays of its own: so [`stall`](Self::stall) and
    /// [`cut`](Self::cut) can part it from them, while its clients still reach it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start_divisible(size: usize) -> Result<NatsCluster, NatsServerError> {
        let route_ports = free_ports(0..size)?;
        let mut relays = Vec::new();
        for from in 0..size {
            for to in (0..size).filter(|to| *to != from) {
                let target = SocketAddr::from(([127, 0, 0, 1], route_ports[to]));
                let proxy = TcpProxy::start(target).await.map_err(NatsServerError::io("start a relay"))?;
                relays.push(Relay { from, to, proxy });
            }
        }
        Self::start_over(&route_ports, relays).await
    }

    /// Over these relays, or directly if there are none.
    async fn start_over(route_ports: &[u16], relays: Vec<Relay>) -> Result<NatsCluster, NatsServerError> {
        let mut servers = Vec::new();
        for (number, route_port) in route_ports.iter().enumerate() {
            let over = relays.iter().filter(|relay| relay.from == number).map(|relay| relay.proxy.port());
            let (route_ports, hearsay) = match relays.is_empty() {
                true => (route_ports.to_vec(), Hearsay::Trusted),
                false => (over.collect(), Hearsay::Misled),
            };
            let name = format!("server-{}", number + 1);
            let membership = Membership { name, route_port: *route_port, route_ports, hearsay };
            servers.push(NatsServer::builder().member_of(membership).start().await?);
        }
        Ok(NatsCluster { servers, relays })
    }

    /// Nothing passes between this server and the others, and nobody is told, until it is [healed](Self::heal).
    ///
    /// # Panics
    /// If the cluster was not started [divisible](Self::start_divisible).
    pub fn stall(&self, number: usize) {
        self.relays_of(number).for_each(TcpProxy::stall);
    }

    /// Closes the connections between this server and the others, until it is [healed](Self::heal).
    ///
    /// # Panics
    /// If the cluster was not started [divisible](Self::start_divisible).
    pub fn cut(&self, number: usize) {
        self.relays_of(number).for_each(TcpProxy::cut);
    }

    /// All servers reach one another again.
    pub fn heal(&self) {
        self.relays.iter().for_each(|relay| relay.proxy.heal());
    }

    fn relays_of(&self, number: usize) -> impl Iterator<Item = &TcpProxy> {
        assert!(!self.relays.is_empty(), "the cluster was not started divisible");
        let are_its = move |relay: &&Relay| relay.from == number || relay.to == number;
        self.relays.iter().filter(are_its).map(|relay| &relay.proxy)
    }

    /// The servers, named `server-1` and so on.
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    /// One of them, to be broken.
    ///
    /// # Panics
    /// If there is none of this number, counted from 0.
    pub fn server(&mut self, number: usize) -> &mut NatsServer {
        &mut self.servers[number]
    }

    /// The addresses of all, as one text: `nats://127.0.0.1:<port>,...`.
    pub fn urls(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }
}

/// Ports that nobody listens on, all different.
fn free_ports(numbers: Range<usize>) -> Result<Vec<u16>, NatsServerError> {
    let listeners: Result<Vec<_>, _> = numbers.map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    let ports: Result<Vec<_>, _> = listeners
        .and_then(|listeners| listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect());
    ports.map_err(NatsServerError::io("find free ports"))
}
