//! What a node is when it is started: on an empty folder, on its own, on a foreign one.

use std::time::Duration;

use archipelago_manager::{
    MultiMasterManager, StartError,
    leader_follower::{LeaderFollowerManager, ReadConsistency, Role, Write},
};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::MemoryStore;
use archipelago_store_fjall::FjallStore;
use tokio::time::Instant;

use crate::support::*;

async fn write_some(leader: &LeaderFollowerManager, from: u64, to: u64) {
    for number in from..to {
        leader.write(Write::upsert(format!("k{}", number % 70), &number)).await.expect("written");
    }
}

#[tokio::test]
async fn a_node_whose_folder_is_empty_has_everything_again_whether_or_not_the_log_does() {
    for is_log_purged in [false, true] {
        let home = tempfile::tempdir().expect("a folder");
        let broker = MemoryBroker::default();
        let leader = node(&broker, "a").await;
        leader.promote().await.expect("promoted");
        let folder = home.path().join("b");
        let open = || FjallStore::open(&folder).expect("a store");
        let follower = builder(&broker, "b").store(open()).start().await.expect("a node");
        write_some(&leader, 0, 100).await;
        expect_equal(&[leader.clone(), follower.clone()]).await;
        follower.close().await.expect("closed");
        drop(follower);
        std::fs::remove_dir_all(&folder).expect("removed");
        write_some(&leader, 100, 150).await;
        if is_log_purged {
            broker.purge(NAMESPACE);
        }
        let follower = builder(&broker, "b").store(open()).start().await.expect("a node");
        assert_eq!(follower.key_count(), 0);
        expect_equal(&[leader.clone(), follower.clone()]).await;
        assert_eq!(follower.key_count(), 70);
        write_some(&leader, 150, 160).await;
        expect_equal(&[leader, follower]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_its_folder_costs_nothing_and_follows() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&broker, name).await);
    }
    let old = nodes.remove(leader_of(&nodes).await);
    write_some(&old, 0, 100).await;
    let name = old.node_id().to_owned();
    old.close().await.expect("closed");
    drop(old);
    let new = leader_of(&nodes).await;
    write_some(&nodes[new], 100, 120).await;
    nodes.push(node(&broker, &name).await);
    let leader = leader_of(&nodes).await;
    expect_equal(&nodes).await;
    assert_eq!((nodes[2].key_count(), nodes[leader].key_count()), (70, 70));
}

#[tokio::test]
async fn nodes_that_were_all_stopped_go_on_with_all_that_was_acknowledged() {
    let home = tempfile::tempdir().expect("a folder");
    let broker = MemoryBroker::default();
    let mut last = 0;
    for round in 0..3_u64 {
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let store = FjallStore::open(home.path().join(name)).expect("a store");
            nodes.push(builder(&broker, name).store(store).start().await.expect("a node"));
        }
        let leader = leader_of(&nodes).await;
        assert!(nodes[leader].last_applied_sequence() > last);
        write_some(&nodes[leader], round * 20, round * 20 + 20).await;
        expect_equal(&nodes).await;
        assert_eq!(nodes[leader].key_count(), (round + 1) * 20);
        last = nodes[leader].last_applied_sequence();
        for node in nodes {
            node.close().await.expect("closed");
        }
    }
}

#[tokio::test]
async fn a_folder_is_of_one_node_one_namespace_and_one_mode() {
    let home = tempfile::tempdir().expect("a folder");
    let open = |folder| FjallStore::open(home.path().join(folder)).expect("a store");
    let broker = MemoryBroker::default();
    let refused = |started: Result<_, StartError>, expected| match started {
        Err(StartError::ForeignStore { what, .. }) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    };
    let first = builder(&broker, "a").store(open("a")).start().await.expect("a node");
    first.close().await.expect("closed");
    drop(first);
    refused(builder(&broker, "b").store(open("a")).start().await.map(drop), "node");
    let people = builder(&broker, "a").namespace("people").pipeline(broker.pipeline("people"));
    refused(people.store(open("a")).start().await.map(drop), "namespace");
    let masters =
        |folder| MultiMasterManager::builder().master_id("a").namespace(NAMESPACE).store(open(folder));
    refused(masters("a").start().await.map(drop), "mode");
    let master = masters("m").start().await.expect("a master");
    master.close().await.expect("closed");
    drop(master);
    refused(builder(&broker, "a").store(open("m")).start().await.map(drop), "mode");
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_nothing_from_a_log_that_masters_write() {
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
    until("the log has it", || master.metrics().outbox_len == 0).await;
    let node = builder(&broker, "a").role(Role::Follower).start().await.expect("a node");
    until("it says why", || {
        node.follower_state()
            .and_then(|state| state.trouble)
            .is_some_and(|trouble| trouble.contains("multi-master"))
    })
    .await;
    assert_eq!((node.key_count(), node.last_applied_sequence()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_follower_shows_a_write_within_100_ms() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await, node(&broker, "c").await];
    let leader = leader_of(&nodes).await;
    for number in 0..20_u64 {
        // Whatever ticks now and then is not what brings it.
        tokio::time::sleep(Duration::from_millis(1_000 + 37 * number)).await;
        let receipt = nodes[leader].write(Write::upsert("k", &number)).await.expect("written");
        let began = Instant::now();
        for node in &nodes {
            assert!(node.wait_for_sequence(receipt.sequence, Duration::from_millis(100)).await);
            let found = node.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
            assert_eq!(found.value, Some(number));
        }
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}
