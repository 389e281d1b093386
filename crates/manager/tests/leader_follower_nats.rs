//! The leader-follower mode on a real nats-server.

use std::time::Duration;

use archipelago_manager::leader_follower::{LeaderFollowerManager, ReadConsistency, Write, WriteError};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline, ReadFrom};
use archipelago_store::MemoryStore;
use archipelago_store_fjall::FjallStore;
use archipelago_testkit::nats::NatsServer;
use tokio::time::Instant;

const NAMESPACE: &str = "orders";
const DEADLINE: Duration = Duration::from_secs(60);

async fn node(server: &NatsServer, name: &str) -> LeaderFollowerManager {
    let config = NatsConfig::new(server.url(), NAMESPACE);
    LeaderFollowerManager::builder()
        .node_id(name)
        .namespace(NAMESPACE)
        .store(MemoryStore::new())
        .pipeline(NatsPipeline::connect(config).await.expect("connecting"))
        .lease(Duration::from_secs(1))
        .heartbeat_interval(Duration::from_millis(250))
        .start()
        .await
        .expect("a node")
}

async fn three(server: &NatsServer) -> Vec<LeaderFollowerManager> {
    vec![node(server, "a").await, node(server, "b").await, node(server, "c").await]
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !met() {
        assert!(Instant::now() < deadline, "did not happen within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn leader_of(nodes: &[LeaderFollowerManager]) -> usize {
    let mut leader = 0;
    until("one leads", || {
        let leading: Vec<usize> = (0..nodes.len()).filter(|at| nodes[*at].is_leader()).collect();
        leader = leading.first().copied().unwrap_or_default();
        leading.len() == 1
    })
    .await;
    leader
}

/// Writes until it is written, which it then is once.
async fn create(nodes: &[LeaderFollowerManager], key: &str) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "{key} was not written within {DEADLINE:?}");
        for node in nodes.iter().filter(|node| node.is_leader()) {
            match node.write(Write::create(key, key).within(Duration::from_secs(2))).await {
                Ok(_) | Err(WriteError::AlreadyExists { .. }) => return,
                Err(_) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn expect_equal(nodes: &[LeaderFollowerManager]) {
    until("all have the same", || {
        let first = nodes[0].history_digest();
        nodes.iter().all(|node| node.history_digest() == first && node.digest() == nodes[0].digest())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_and_followers_have_what_it_wrote() {
    let server = NatsServer::start().await.expect("a server");
    let mut nodes = three(&server).await;
    let leader = leader_of(&nodes).await;
    for number in 0..100 {
        create(&nodes, &format!("k{number}")).await;
    }
    expect_equal(&nodes).await;
    for node in &nodes {
        let found = node.read::<String>("k7", ReadConsistency::Linearizable).await.expect("read");
        assert_eq!(found.value.as_deref(), Some("k7"));
    }
    let began = Instant::now();
    nodes.remove(leader).close().await.expect("closed");
    create(&nodes, "after").await;
    println!("handed over within {:?}", began.elapsed());
    expect_equal(&nodes).await;
    assert_eq!(nodes[0].key_count(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_one_that_forgot_everything_cost_no_write() {
    let mut server = NatsServer::start().await.expect("a server");
    let nodes = three(&server).await;
    leader_of(&nodes).await;
    for number in 0..20 {
        create(&nodes, &format!("a{number}")).await;
    }
    server.kill().await.expect("killed");
    server.restart().await.expect("started");
    for number in 0..20 {
        create(&nodes, &format!("b{number}")).await;
    }
    expect_equal(&nodes).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connecting"));
    jetstream.delete_stream(format!("ARCHIPELAGO_{NAMESPACE}")).await.expect("deleted");
    for number in 0..20 {
        create(&nodes, &format!("c{number}")).await;
    }
    jetstream.delete_stream(format!("KV_archipelago_{NAMESPACE}_lease")).await.expect("deleted");
    jetstream.delete_stream(format!("ARCHIPELAGO_{NAMESPACE}")).await.expect("deleted");
    for number in 0..20 {
        create(&nodes, &format!("d{number}")).await;
    }
    expect_equal(&nodes).await;
    assert_eq!(nodes[0].key_count(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_reads_from_a_mirror_has_what_the_others_have_and_knows_how_fresh_it_is() {
    let server = NatsServer::start().await.expect("a server");
    let nodes = three(&server).await;
    let leader = leader_of(&nodes).await;
    create(&nodes, "first").await;
    let folder = tempfile::tempdir().expect("a folder");
    let relayed = |from| {
        let (server, folder) = (&server, folder.path().join("far"));
        async move {
            let config = NatsConfig::new(server.url(), NAMESPACE).read_from(from);
            LeaderFollowerManager::builder()
                .node_id("relayed")
                .namespace(NAMESPACE)
                .store(FjallStore::open(folder).expect("an own folder"))
                .pipeline(NatsPipeline::connect(config).await.expect("connecting"))
                .lease(Duration::from_secs(1))
                .promotion_eligible(false)
                .start()
                .await
                .expect("a node")
        }
    };
    let mirror = ReadFrom::Mirror { name: "far".into(), origin_domain: None };
    let far = relayed(mirror).await;
    for number in 0..50 {
        create(&nodes, &format!("k{number}")).await;
    }
    let found = far.read::<String>("k49", ReadConsistency::Linearizable).await.expect("read");
    assert_eq!(found.value.as_deref(), Some("k49"));
    far.read::<String>("k49", ReadConsistency::BoundedStaleness(Duration::ZERO)).await.expect("fresh");
    nodes[leader].demote().await.expect("demoted");
    create(&nodes, "after").await;
    let mut all = nodes.clone();
    all.push(far.clone());
    expect_equal(&all).await;
    // Back to the log itself, from where it stands: sequences are the same.
    let applied = far.metrics().entries_applied;
    assert!(applied >= 52, "{applied}");
    all.pop();
    far.close().await.expect("closed");
    drop(far);
    let near = relayed(ReadFrom::Origin).await;
    create(&nodes, "later").await;
    all.push(near.clone());
    expect_equal(&all).await;
    let applied = near.metrics().entries_applied;
    assert!(applied <= 5, "{applied} were applied again");
}
