use std::{path::Path, sync::Arc, time::Duration};

use archipelago::{OnStart, pipeline::Pipeline};
use tokio::time::Instant;

use super::{
    BenchError,
    broker::Broker,
    member::{Habitat, Member},
    options::{Common, Lease, StoreKind},
    protocol::{NodeOptions, Request, Standing},
};
use crate::{folder::Folder, progress::millis};

/// How long nodes may take to come to have the same.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The nodes, and what carries their log.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) namespace: String,
    pub(crate) members: Arc<Vec<Member>>,
    /// The log as it is seen beside the nodes.
    pub(crate) pipeline: Arc<dyn Pipeline>,
    broker: Broker,
    /// Dropped after the nodes, which write there.
    _folder: Option<Folder>,
    planned: Vec<NodeOptions>,
    habitat: Habitat,
}

impl Cluster {
    /// Connects and makes the log: a wrong URL and wrong credentials are found here.
    pub(crate) async fn open(
        common: &Common,
        lease: Lease,
        namespace: &str,
        names: Vec<String>,
        store: StoreKind,
        habitat: Habitat,
        log_entries_max: u64,
    ) -> Result<Cluster, BenchError> {
        let server = common.server();
        if server.is_none() && common.replicas > 1 {
            return Err(BenchError::ReplicasNeedNats(common.replicas));
        }
        let folder = match store {
            StoreKind::Memory => None,
            StoreKind::Fjall => Some(Folder::new("archipelago-bench-", common.folder.as_deref(), &names)?),
        };
        let place = |name: &str| folder.as_ref().map(|folder| folder.path.join(Path::new(name)));
        let planned = (0u64..).zip(names).map(|(at, name)| NodeOptions {
            folder: place(&name),
            name,
            namespace: namespace.to_owned(),
            lease_ms: lease.lease_ms.into(),
            log_entries_max,
            seed: common.seed.wrapping_mul(31).wrapping_add(at),
            server: server.clone(),
            replicas: common.replicas,
        });
        let planned = planned.collect();
        let broker = Broker::new(server, common.replicas);
        let pipeline = broker.pipeline(namespace, OnStart::FailFast).await?;
        let namespace = namespace.to_owned();
        let cluster = Cluster {
            namespace,
            members: Arc::default(),
            pipeline,
            broker,
            _folder: folder,
            planned,
            habitat,
        };
        if let Err(error) = cluster.pipeline.open().await {
            cluster.end().await;
            return Err(error.into());
        }
        Ok(cluster)
    }

    /// Starts all nodes at once.
    pub(crate) async fn launch(&mut self) -> Result<(), BenchError> {
        let planned = std::mem::take(&mut self.planned);
        let starting =
            planned.into_iter().map(|options| Member::start(options, self.broker.clone(), self.habitat));
        self.members = Arc::new(futures::future::try_join_all(starting).await?);
        Ok(())
    }

    /// Waits until all nodes have applied as much, and gives how they are then.
    pub(crate) async fn settled(&self) -> Result<Vec<Standing>, BenchError> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let standings = self.standings(|| Request::Standing).await?;
            let wanted = standings.iter().map(|standing| standing.sequence).max().unwrap_or_default();
            if standings.iter().all(|standing| standing.sequence == wanted) {
                return Ok(standings);
            }
            self.reach(wanted, deadline).await?;
        }
    }

    /// Waits until all nodes have applied so much.
    async fn reach(&self, wanted: u64, deadline: Instant) -> Result<(), BenchError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = || Request::Reach { sequence: wanted, deadline_ms: millis(left) };
        for (member, standing) in self.members.iter().zip(self.standings(request).await?) {
            if standing.sequence < wanted {
                let (node, has) = (member.name.clone(), standing.sequence);
                return Err(BenchError::Behind { node, waited: SETTLE_TIMEOUT, has, wanted });
            }
        }
        Ok(())
    }

    async fn standings(&self, request: impl Fn() -> Request) -> Result<Vec<Standing>, BenchError> {
        futures::future::try_join_all(self.members.iter().map(|member| member.standing(request()))).await
    }

    /// Waits until this node has what another one has now, and gives how long that took.
    pub(crate) async fn caught_up(&self, member: usize, leader: usize) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let wanted = self.members[leader].standing(Request::Standing).await?.sequence;
        let member = &self.members[member];
        let request = Request::Reach { sequence: wanted, deadline_ms: millis(SETTLE_TIMEOUT) };
        let has = member.standing(request).await?.sequence;
        match has >= wanted {
            true => Ok(started.elapsed()),
            false => {
                Err(BenchError::Behind { node: member.name.clone(), waited: SETTLE_TIMEOUT, has, wanted })
            }
        }
    }

    /// Ends all nodes in good order, and removes what the run made at the broker. Says what is left there.
    pub(crate) async fn end(&self) {
        futures::future::join_all(self.members.iter().map(Member::close)).await;
        if let Err(error) = self.broker.remove(&self.namespace).await {
            eprintln!(
                "warning: the stream ARCHIPELAGO_{0} and the bucket archipelago_{0}_lease stay on the server: {error}",
                self.namespace
            );
        }
    }
}
