//! A cluster of three servers that keeps the log three times.

mod support;

use std::path::Path;

use archipelago_pipeline::{Pipeline, PipelineError};
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

#[tokio::test(flavor = "multi_thread")]
async fn each_server_in_turn_may_be_lost() {
    let home = tempfile::tempdir().expect("a folder");
    let ports = [(); 3].map(|()| (free_port(), free_port()));
    let mut servers = Vec::new();
    for index in 0..3 {
        servers.push(Some(member(home.path(), &ports, index).await));
    }
    let urls = ports.map(|(port, _)| format!("nats://127.0.0.1:{port}")).join(",");
    let pipeline = within("the cluster serves", async {
        loop {
            let config = NatsConfig::new(&urls, NAMESPACE).replicas(3);
            let opened = match NatsPipeline::connect(config).await {
                Ok(pipeline) => pipeline.open().await.map(|_| pipeline),
                Err(error) => Err(error),
            };
            match opened {
                Ok(pipeline) => return pipeline,
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    let mut next = 0;
    for lost in 0..3 {
        servers[lost] = None;
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
                            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
            next += 1;
        }
        expect_numbers(&mut *subscription, next - 50..next).await;
        servers[lost] = Some(member(home.path(), &ports, lost).await);
        // The next one may go once this one has caught up: a quorum is two.
        within("the log is whole again", async {
            let name = format!("server-{lost}");
            while !caught_up(ports[(lost + 1) % 3].0, &name).await {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    let unknown = pipeline.subscribe(10_000).await.err();
    assert!(matches!(unknown, Some(PipelineError::LogRegressed { .. })), "{unknown:?}");
}

/// Whether the log's leader finds the server `name` up to date, or it is the leader itself.
async fn caught_up(port: u16, name: &str) -> bool {
    let Ok(client) = async_nats::connect(format!("nats://127.0.0.1:{port}")).await else { return false };
    let Ok(stream) = async_nats::jetstream::new(client).get_stream(STREAM).await else { return false };
    let Some(cluster) = stream.cached_info().cluster.clone() else { return false };
    cluster.leader.as_deref() == Some(name)
        || cluster.replicas.iter().any(|replica| replica.name == name && replica.current && !replica.offline)
}
