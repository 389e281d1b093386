//! Three nodes of which one leads.

use std::net::SocketAddr;

use archipelago_server::config::{ConflictStrategyName, Mode};
use archipelago_testkit::{TcpProxy, nats::NatsServer};

use crate::support::{NAMESPACE, Served};

/// How long a leader that is gone keeps others from leading.
const LEASE_MS: u64 = 2_000;

/// The nodes, each with a way of its own to the broker. The last one never leads.
pub(crate) struct Cluster {
    pub(crate) nodes: [Option<Served>; 3],
    pub(crate) ways: [TcpProxy; 3],
    _nats: NatsServer,
}

impl Cluster {
    pub(crate) async fn start() -> Cluster {
        let nats = NatsServer::start().await.expect("a NATS server");
        let target = SocketAddr::from(([127, 0, 0, 1], nats.port()));
        let way = || async { TcpProxy::start(target).await.expect("a relay") };
        let ways = [way().await, way().await, way().await];
        let mut nodes = [const { None }; 3];
        for (at, name) in ["paris", "oslo", "rome"].into_iter().enumerate() {
            let started = Served::with(ConflictStrategyName::Lww, |config| {
                config.node.name = Some(name.to_owned());
                config.nats.servers = vec![format!("nats://127.0.0.1:{}", ways[at].port())];
                let namespace = config.namespaces.get_mut(NAMESPACE).expect("the namespace");
                namespace.mode = Mode::LeaderFollower;
                namespace.lease_ms = LEASE_MS;
                namespace.promotion_eligible = at < 2;
            });
            nodes[at] = Some(started.await);
        }
        Cluster { nodes, ways, _nats: nats }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        self.nodes.each_ref().map(|node| node.as_ref().expect("it lives").node.address())
    }

    /// Ends a node as a power cut does: it can tell nobody, and gives nothing back.
    pub(crate) fn kill(&mut self, at: usize) {
        self.ways[at].cut();
        self.nodes[at] = None;
    }
}
