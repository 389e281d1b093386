use std::{sync::Arc, time::Duration};

use archipelago_manager::{
    MultiMasterManager, StartError,
    leader_follower::{LeaderFollowerManager, Notification, Write, WriteError},
};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::MemoryStore;

use crate::{lossy::Lossy, support::*};

#[tokio::test(start_paused = true)]
async fn a_store_is_of_one_mode_one_node_and_one_namespace() {
    let broker = MemoryBroker::default();
    let store = Arc::new(MemoryStore::new());
    let node = builder(&broker, "a").store(store.clone()).start().await.expect("a node");
    drop(node);
    let other = builder(&broker, "b").store(store.clone()).start().await;
    assert!(matches!(other, Err(StartError::ForeignStore { what: "node", .. })), "{other:?}");
    let other = builder(&broker, "a").namespace("others").store(store.clone()).start().await;
    assert!(matches!(other, Err(StartError::ForeignStore { what: "namespace", .. })), "{other:?}");
    let master = MultiMasterManager::builder().master_id("a").namespace(NAMESPACE).store(store).start().await;
    assert!(matches!(master, Err(StartError::ForeignStore { what: "mode", .. })));

    let store = Arc::new(MemoryStore::new());
    let master = MultiMasterManager::builder().master_id("a").namespace(NAMESPACE).store(store.clone());
    drop(master.start().await.expect("a master"));
    let node = builder(&broker, "a").store(store).start().await;
    assert!(matches!(node, Err(StartError::ForeignStore { what: "mode", .. })), "{node:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_of_masters_is_not_led_and_nothing_in_it_is_touched() {
    let broker = MemoryBroker::default();
    let master = MultiMasterManager::builder()
        .master_id("m")
        .namespace(NAMESPACE)
        .store(MemoryStore::new())
        .pipeline(broker.pipeline(NAMESPACE))
        .start()
        .await
        .expect("a master");
    master.write("k", &1).await.expect("written");
    until("it travelled", || master.metrics().outbox_len == 0).await;
    let node = node(&broker, "a").await;
    let mut notifications = node.subscribe();
    heard(
        &mut notifications,
        "it says so",
        |it| matches!(it, Notification::LogUnusable { reason } if reason.contains("multi-master")),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!node.is_leader());
    let refused = node.write(Write::upsert("k", &2)).await;
    assert!(matches!(refused, Err(WriteError::FollowerReadOnly { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn options_that_cannot_work_are_refused_with_their_name() {
    let broker = MemoryBroker::default();
    let none = LeaderFollowerManager::builder().start().await;
    assert!(matches!(none, Err(StartError::Option { option: "node_id", .. })), "{none:?}");
    let short = Duration::from_millis(1);
    for (option, wrong) in [
        ("node_id", builder(&broker, "a b")),
        ("lease", builder(&broker, "a").lease(short)),
        ("heartbeat_timeout", builder(&broker, "a").heartbeat_timeout(short)),
        ("heartbeat_interval", builder(&broker, "a").heartbeat_interval(Duration::ZERO)),
    ] {
        match wrong.start().await {
            Err(StartError::Option { option: named, .. }) => assert_eq!(named, option),
            other => panic!("{option}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_started_before_the_broker_work_once_it_is_there() {
    let broker = MemoryBroker::default();
    broker.stop();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await];
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(nodes.iter().all(|node| !node.is_leader()));
    broker.start();
    let leader = leader_of(&nodes).await;
    nodes[leader].write(Write::create("k", &1)).await.expect("written");
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_not_to_be_had_is_no_trouble_once_it_is() {
    let broker = MemoryBroker::default();
    let leader = node(&broker, "a").await;
    until("it leads", || leader.is_leader()).await;
    let pipeline = Lossy::new(&broker).late_lease(4);
    let node = builder(&broker, "b").pipeline(pipeline).start().await.expect("a node");
    let trouble = || node.follower_state().and_then(|state| state.trouble);
    until("it says what it waits for", || trouble().is_some_and(|it| it.contains("not yet"))).await;
    until("it has what it waited for", || trouble().is_none()).await;
    assert!(!node.is_leader());
    leader.close().await.expect("closed");
    until("it stands for election", || node.is_leader()).await;
}
