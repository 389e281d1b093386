//! A cluster of three servers that keeps the log three times.

mod support;

use std::{path::Path, time::Duration};

use archipelago_pipeline::{ExpectedEnd, Lease, Outgoing, Pipeline, PipelineError};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline};
use support::*;

/// Server `index` of three.
async fn member(home: &Path, ports: &[(u16, u16); 3], index: usize) -> BareServer {
    let routes = ports.map(|(_, route)| format!("nats://127.0.0.1:{route}")).join(",");
    let store = home.join(index.to_string());
    let cluster = format!("nats://127.0.0.1:{}", ports[index].1);
    let name = format!("server-{index}");
    let store = store.to_str().expect("a path of text");
    let arguments = ["-js", "-sd", store, "-n", &name, "--cluster_name", "test", "--cluster", &cluster];
    BareServer::start(ports[index].0, &[&arguments[..], &["--routes", &routes]].concat()).await
}

/// Three servers, of which some may be lost.
struct Cluster {
    home: tempfile::TempDir,
    ports: [(u16, u16); 3],
    servers: [Option<BareServer>; 3],
}

impl Cluster {
    async fn start() -> Cluster {
        let home = tempfile::tempdir().expect("a folder");
        let ports = [(); 3].map(|()| (free_port(), free_port()));
        let mut servers = [const { None }; 3];
        for (index, server) in servers.iter_mut().enumerate() {
            *server = Some(member(home.path(), &ports, index).await);
        }
        Cluster { home, ports, servers }
    }

    /// Starts a lost server again, and waits until it has caught up: a quorum is two.
    async fn bring_back(&mut self, lost: usize) {
        self.servers[lost] = Some(member(self.home.path(), &self.ports, lost).await);
        within("the log is whole again", async {
            let name = format!("server-{lost}");
            while !caught_up(self.ports[(lost + 1) % 3].0, &name).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// A pipeline, once the cluster serves.
    async fn pipeline(&self) -> NatsPipeline {
        let urls = self.ports.map(|(port, _)| format!("nats://127.0.0.1:{port}")).join(",");
        within("the cluster serves", async {
            loop {
                let config = NatsConfig::new(&urls, NAMESPACE).replicas(3);
                let opened = match NatsPipeline::connect(config).await {
                    Ok(pipeline) => pipeline.open().await.map(|_| pipeline),
                    Err(error) => Err(error),
                };
                match opened {
                    Ok(pipeline) => return pipeline,
                    Err(error) if error.is_retryable() => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await
    }
}

/// Tries again while a new leader is found.
async fn at_last<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, PipelineError>) -> T {
    within(what, async {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(error) => assert!(error.is_retryable(), "{what}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_in_turn_may_be_lost() {
    let mut cluster = Cluster::start().await;
    let pipeline = cluster.pipeline().await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    let mut next = 0;
    for lost in 0..3 {
        cluster.servers[lost] = None;
        for _ in 0..50 {
            within("an acknowledgement", async {
                loop {
                    let answer = match pipeline.publish(message(next)).await {
                        Ok(pending) => pending.await,
                        Err(error) => Err(error),
                    };
                    match answer {
                        Ok(_) => break,
                        Err(error) if error.is_retryable() => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
            next += 1;
        }
        expect_numbers(&mut *subscription, next - 50..next).await;
        cluster.bring_back(lost).await;
    }
    let unknown = pipeline.subscribe(10_000).await.err();
    assert!(matches!(unknown, Some(PipelineError::LogRegressed { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_the_lease_outlive_each_server() {
    let mut cluster = Cluster::start().await;
    let (leader, other) = (cluster.pipeline().await, cluster.pipeline().await);
    let ttl = Duration::from_secs(20);
    let lease = at_last("a lease", async || leader.lease(ttl).await).await;
    let watching = at_last("a lease", async || other.lease(ttl).await).await;
    let mut watch = at_last("a watch", async || watching.watch().await).await;
    assert_eq!(within("the state", watch.next()).await.expect("a watch"), None);
    let taken = at_last("the lease", async || lease.acquire("leader".into(), None).await).await;
    let mut revision = taken.expect("nobody holds it");
    let mut last = 0;
    for lost in 0..3 {
        cluster.servers[lost] = None;
        for _ in 0..20 {
            last = append_one(&leader, last).await;
        }
        revision = renewed(&*lease, revision).await;
        assert_eq!(at_last("an answer", async || watching.acquire("other".into(), None).await).await, None);
        within("the watch catches up", async {
            while watch.next().await.expect("a watch").is_none_or(|entry| entry.revision != revision) {}
        })
        .await;
        cluster.bring_back(lost).await;
    }
    let mut subscription = other.subscribe(0).await.expect("subscribing");
    for expected in 1..=last {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        assert_eq!(incoming.sequence, expected);
        assert_eq!(incoming.payload, Some(expected.to_string().into()), "each was appended where it says");
    }
}

/// The end of a log of one writer.
fn own(last: u64) -> ExpectedEnd {
    if last == 0 { ExpectedEnd::At(0) } else { ExpectedEnd::Own(last) }
}

/// Appends what says where it is, and finds out by reading the log if the answer is lost.
async fn append_one(pipeline: &dyn Pipeline, last: u64) -> u64 {
    let payload = (last + 1).to_string();
    within("an append", async {
        loop {
            let answer = match pipeline.append("leader", payload.clone().into(), own(last)).await {
                Ok(appending) => appending.ack.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(ack) => return ack.sequence,
                // Of an earlier attempt without an answer.
                Err(PipelineError::WrongLastSequence { .. }) => {
                    let end = at_last("the state", async || pipeline.state().await).await.last_sequence;
                    if end == last + 1 {
                        return end;
                    }
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Renews, and finds out by looking if the answer is lost.
async fn renewed(lease: &dyn Lease, revision: u64) -> u64 {
    match at_last("a renewal", async || lease.renew(revision, "leader".into()).await).await {
        Some(revision) => revision,
        None => {
            let held = at_last("a look", async || lease.look().await).await.expect("it is held");
            assert_eq!(held.value, "leader");
            assert!(held.revision > revision);
            held.revision
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_take_appends_on_top_of_one_another() {
    let cluster = Cluster::start().await;
    let (leader, other) = (cluster.pipeline().await, cluster.pipeline().await);
    let mut last = at_last("the state", async || leader.state().await).await.last_sequence;
    for round in 0..5 {
        let mut pending = Vec::new();
        for _ in 0..200 {
            let appending =
                leader.append("leader", "x".into(), ExpectedEnd::At(last)).await.expect("handed over");
            last = appending.sequence;
            pending.push(appending.ack);
        }
        for ack in futures::future::join_all(pending).await {
            ack.expect("accepted");
        }
        // As many messages of another, and all on top of what they displaced are refused.
        for number in round * 100..(round + 1) * 100 {
            let displacing = Outgoing { message_id: format!("other-{number}"), ..message(number) };
            other.publish(displacing).await.expect("publishing").await.expect("an acknowledgement");
        }
        let mut pending = Vec::new();
        for expected in last..last + 100 {
            let appending = leader.append("leader", "y".into(), ExpectedEnd::At(expected)).await;
            pending.push(appending.expect("handed over").ack);
        }
        for ack in futures::future::join_all(pending).await {
            assert!(matches!(ack, Err(PipelineError::WrongLastSequence { .. })), "{ack:?}");
        }
        last += 100;
        assert_eq!(leader.state().await.expect("the state").last_sequence, last, "not one of them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_tell_ones_own_from_what_others_wrote() {
    let cluster = Cluster::start().await;
    let (leader, other) = (cluster.pipeline().await, cluster.pipeline().await);
    let append = async |pipeline: &NatsPipeline, origin: &str, expected| {
        let appending = pipeline.append(origin, "x".into(), expected).await.expect("handed over");
        within("an answer", appending.ack).await
    };
    append(&leader, "leader", ExpectedEnd::At(0)).await.expect("nothing is there");
    for last in 1..50 {
        append(&leader, "leader", ExpectedEnd::Own(last)).await.expect("it is the leader's");
    }
    // Pipelined, and then one at a time again.
    let mut pending = Vec::new();
    for last in 50..150 {
        let appending = leader.append("leader", "x".into(), ExpectedEnd::Own(last)).await;
        pending.push(appending.expect("handed over").ack);
    }
    for ack in futures::future::join_all(pending).await {
        ack.expect("accepted");
    }
    append(&leader, "leader", ExpectedEnd::Own(150)).await.expect("it is the leader's");
    for (last, pipeline, origin) in [(151, &other, "other"), (152, &leader, "leader"), (153, &other, "other")]
    {
        let refused = append(pipeline, origin, ExpectedEnd::Own(last)).await;
        assert!(matches!(refused, Err(PipelineError::WrongLastSequence { .. })), "{refused:?}");
        let end = at_last("the state", async || leader.state().await).await.last_sequence;
        assert_eq!(end, last, "nothing was stored");
        append(pipeline, origin, ExpectedEnd::At(last)).await.expect("whoever wrote it");
    }
}

/// Whether the log's leader finds the server `name` up to date, or it is the leader itself.
async fn caught_up(port: u16, name: &str) -> bool {
    let Ok(client) = async_nats::connect(format!("nats://127.0.0.1:{port}")).await else { return false };
    let Ok(stream) = async_nats::jetstream::new(client).get_stream(STREAM).await else { return false };
    let Some(cluster) = stream.cached_info().cluster.clone() else { return false };
    cluster.leader.as_deref() == Some(name)
        || cluster.replicas.iter().any(|replica| replica.name == name && replica.current && !replica.offline)
}
