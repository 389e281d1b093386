//! The server or the servers, and each node's way to them.

use std::{net::SocketAddr, time::Duration};

use archipelago_testkit::{
    Line, TcpProxy, Towards,
    nats::{NatsCluster, NatsServer},
};
use async_nats::jetstream;
use clap::ValueEnum;

use crate::failure::{Failure, Outcome};

/// How many servers a cluster has, and how often it keeps the log.
const CLUSTER_SERVERS: usize = 3;
/// How long a cluster may take to serve, or a server to catch up.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(60);
/// How often a state that cannot be awaited is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How many servers keep the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Servers {
    /// One server
    #[default]
    Single,
    /// Three, each with all of the log
    Cluster,
}

impl Servers {
    /// What `--cluster` says.
    pub(crate) fn clustered(is_cluster: bool) -> Servers {
        if is_cluster { Servers::Cluster } else { Servers::Single }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Servers::Single => "single",
            Servers::Cluster => "cluster",
        }
    }

    pub(crate) fn count(self) -> usize {
        match self {
            Servers::Single => 1,
            Servers::Cluster => CLUSTER_SERVERS,
        }
    }
}

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

/// How what is sent is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing passes, and nobody is told.
    Silent,
    /// The same in one direction.
    OneWay(Towards),
    /// Connections are closed.
    Closed,
}

impl Loss {
    /// What a person is told of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Loss::Silent => "silently",
            Loss::OneWay(Towards::Server) => "towards the broker",
            Loss::OneWay(Towards::Client) => "from the broker",
            Loss::Closed => "with closed connections",
        }
    }
}

impl Broker {
    pub(crate) async fn start(servers: Servers) -> Outcome<Broker> {
        if servers == Servers::Single {
            let server = NatsServer::start().await.map_err(Failure::broken("start a server"))?;
            return Ok(Broker::One(Box::new(server)));
        }
        let cluster = NatsCluster::start_divisible(CLUSTER_SERVERS).await;
        let broker = Broker::Cluster(cluster.map_err(Failure::broken("start servers"))?);
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

    /// Waits until every server that keeps one of these streams has all of it; a single one always has.
    pub(crate) async fn whole(&self, streams: &[String]) -> Outcome {
        if self.replicas() == 1 {
            return Ok(());
        }
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

    /// Loses all that is sent over it.
    pub(crate) fn lose(&self, loss: Loss) {
        for proxy in &self.proxies {
            match loss {
                Loss::Silent => proxy.stall(),
                Loss::OneWay(towards) => proxy.stall_towards(towards),
                Loss::Closed => proxy.cut(),
            }
        }
    }

    /// Everything passes, as over such a line; the way to each server has its own chances.
    pub(crate) fn degrade(&self, line: Line) {
        for (number, proxy) in (0..).zip(&self.proxies) {
            proxy.degrade(Line { seed: line.seed.wrapping_add(number), ..line });
        }
    }

    pub(crate) fn heal(&self) {
        self.proxies.iter().for_each(TcpProxy::heal);
    }
}
