//! What becomes of a node with its folder, and without it.

use archipelago_manager::leader_follower::{LeaderFollowerManager, Write};
use archipelago_pipeline::MemoryBroker;
use archipelago_store_fjall::FjallStore;

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
