use std::{net::TcpListener, ops::Range};

use super::{NatsServer, NatsServerError};

/// What a server knows of the cluster that it is a part of.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) name: String,
    pub(crate) route_port: u16,
    pub(crate) route_ports: Vec<u16>,
}

/// Nats-servers that replicate their streams among one another, so that some of them may be lost.
///
/// Each is a [`NatsServer`] that can be killed, paused and started again. They do not tell clients of one another: a client
/// knows those whose addresses it was given.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts so many servers, and waits until each accepts clients. Until they have elected a leader, JetStream refuses
    /// requests for some seconds.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn start(size: usize) -> Result<NatsCluster, NatsServerError> {
        let route_ports = free_ports(0..size)?;
        let mut servers = Vec::new();
        for (number, route_port) in route_ports.iter().enumerate() {
            let membership = Membership {
                name: format!("server-{}", number + 1),
                route_port: *route_port,
                route_ports: route_ports.clone(),
            };
            servers.push(NatsServer::builder().member_of(membership).start().await?);
        }
        Ok(NatsCluster { servers })
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
