use std::{net::SocketAddr, time::Duration};

use archipelago_testkit::{
    TcpProxy,
    nats::{NatsCluster, NatsServer},
};
use async_nats::jetstream;

use crate::failure::{Failure, Outcome};

/// How many servers a cluster has, and how often it keeps the log.
const CLUSTER_SERVERS: usize = 3;
/// How long a cluster may take to serve, or a server to catch up.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(60);
/// How often a state that cannot be awaited is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Where the log is.
#[derive(Debug)]
pub(crate) enum Broker {
    One(Box<NatsServer>),
    Cluster(NatsCluster),
}

/// One node's way to all servers.
#[derive(Debug)]
pub(crate) struct Way {
    proxies: Vec<TcpProxy>,
}

impl Broker {
    pub(crate) async fn start(is_cluster: bool) -> Outcome<Broker> {
        if !is_cluster {
            let server = NatsServer::start().await.map_err(Failure::broken("start a server"))?;
            return Ok(Broker::One(Box::new(server)));
        }
        let cluster = NatsCluster::start(CLUSTER_SERVERS).await.map_err(Failure::broken("start servers"))?;
        let broker = Broker::Cluster(cluster);
        broker
            .until("the cluster serves", async |broker| broker.jetstream().await?.query_account().await.ok())
            .await?;
        Ok(broker)
    }

    pub(crate) fn servers(&self) -> &[NatsServer] {
        match self {
            Broker::One(server) => std::slice::from_ref(&**server),
            Broker::Cluster(cluster) => cluster.servers(),
        }
    }

    pub(crate) fn server(&mut self, number: usize) -> &mut NatsServer {
        match self {
            Broker::One(server) => server,
            Broker::Cluster(cluster) => cluster.server(number),
        }
    }

    pub(crate) fn urls(&self) -> String {
        self.servers().iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn replicas(&self) -> usize {
        self.servers().len()
    }

    pub(crate) async fn way(&self) -> Outcome<Way> {
        let mut proxies = Vec::new();
        for server in self.servers() {
            let target = SocketAddr::from(([127, 0, 0, 1], server.port()));
            proxies.push(TcpProxy::start(target).await.map_err(Failure::broken("start a relay"))?);
        }
        Ok(Way { proxies })
    }

    /// JetStream behind the back of the nodes; `None` while there is no connection.
    async fn jetstream(&self) -> Option<jetstream::Context> {
        Some(jetstream::new(async_nats::connect(self.urls().split(',').collect::<Vec<_>>()).await.ok()?))
    }

    pub(crate) async fn delete_stream(&self, name: &str) -> Outcome {
        let jetstream = self.jetstream().await.ok_or_else(|| Failure::Broken("no server answers".into()))?;
        jetstream.delete_stream(name).await.map(drop).map_err(Failure::broken("delete the stream"))
    }

    /// Waits until every server that keeps one of these streams has all of it.
    pub(crate) async fn whole(&self, streams: &[String]) -> Outcome {
        let what = "all servers have all of the log";
        self.until(what, async |broker| {
            let jetstream = broker.jetstream().await?;
            for name in streams {
                let stream = jetstream.get_stream(name).await.ok()?;
                let cluster = stream.cached_info().cluster.clone()?;
                let others = cluster.replicas.iter();
                let current = others.filter(|replica| replica.current && !replica.offline).count();
                (cluster.leader.is_some() && current + 1 >= broker.replicas()).then_some(())?;
            }
            Some(())
        })
        .await
    }

    async fn until<T>(&self, what: &str, look: impl AsyncFn(&Broker) -> Option<T>) -> Outcome {
        let looking = async {
            while look(self).await.is_none() {
                tokio::time::sleep(POLL).await;
            }
        };
        let late = |_| Failure::Late {
            what: what.to_owned(),
            within_s: CLUSTER_DEADLINE.as_secs(),
            state: String::new(),
        };
        tokio::time::timeout(CLUSTER_DEADLINE, looking).await.map_err(late)
    }
}

impl Way {
    /// The addresses that lead over it.
    pub(crate) fn urls(&self) -> String {
        let urls = self.proxies.iter().map(|proxy| format!("nats://127.0.0.1:{}", proxy.port()));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Nothing passes, and nobody is told.
    pub(crate) fn stall(&self) {
        self.proxies.iter().for_each(TcpProxy::stall);
    }

    /// Connections are closed.
    pub(crate) fn cut(&self) {
        self.proxies.iter().for_each(TcpProxy::cut);
    }

    pub(crate) fn heal(&self) {
        self.proxies.iter().for_each(TcpProxy::heal);
    }
}
