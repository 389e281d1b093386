use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{Health, LeaderFollowerManager, Notification, Write};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::MemoryStore;

use crate::support::*;

async fn write_some(leader: &LeaderFollowerManager, from: u64, to: u64) {
    let writes = (from..to)
        .map(|number| leader.write(Write::upsert(format!("k{}", number % 700), &number).within(DEADLINE)));
    for outcome in futures::future::join_all(writes).await {
        outcome.expect("written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_far_behind_what_the_log_holds_takes_the_state_by_itself() {
    let broker = MemoryBroker::default();
    let leader = builder(&broker, "a").tail_entries_max(100).start().await.expect("a node");
    leader.promote().await.expect("promoted");
    let (follower, switch) = switched(&broker, "b").await;
    write_some(&leader, 0, 100).await;
    for key in 0..50 {
        leader.write(Write::delete(format!("k{key}"))).await.expect("deleted");
    }
    expect_equal(&[leader.clone(), follower.clone()]).await;
    let mut notifications = follower.subscribe();
    switch.cut();
    for round in 0..50 {
        write_some(&leader, 100 + round * 100, 200 + round * 100).await;
    }
    broker.purge(NAMESPACE);
    switch.heal();
    heard(&mut notifications, "it says so", |it| matches!(it, Notification::FollowerDesynced { .. })).await;
    heard(&mut notifications, "it has the state", |it| matches!(it, Notification::Resynced { .. })).await;
    expect_equal(&[leader.clone(), follower.clone()]).await;
    let metrics = follower.metrics();
    assert_eq!((metrics.resync_successes, metrics.resync_failures), (1, 0));
    assert_eq!(leader.metrics().snapshots_created, 1);
    until("it is well", || follower.health() == Health::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lacks_little_has_it_from_the_tail_of_another_node() {
    let broker = MemoryBroker::default();
    let leader = node(&broker, "a").await;
    leader.promote().await.expect("promoted");
    let (follower, switch) = switched(&broker, "b").await;
    write_some(&leader, 0, 100).await;
    expect_equal(&[leader.clone(), follower.clone()]).await;
    switch.cut();
    for round in 0..9 {
        write_some(&leader, 100 + round * 100, 200 + round * 100).await;
    }
    broker.purge(NAMESPACE);
    switch.heal();
    expect_equal(&[leader.clone(), follower.clone()]).await;
    let metrics = follower.metrics();
    assert_eq!(metrics.resync_attempts, 0);
    assert!(metrics.entries_fetched >= 900, "{metrics:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_takes_the_state_when_it_is_told_to_while_writes_go_on() {
    let broker = MemoryBroker::default();
    let leader = node(&broker, "a").await;
    leader.promote().await.expect("promoted");
    let follower = node(&broker, "b").await;
    write_some(&leader, 0, 2_000).await;
    expect_equal(&[leader.clone(), follower.clone()]).await;
    let mut notifications = follower.subscribe();
    let writer = {
        let leader = leader.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                write_some(&leader, round * 100, round * 100 + 100).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    until("the follower is known", || leader.follower_lag("b").is_some()).await;
    leader.force_resync("b").await.expect("it does");
    heard(&mut notifications, "it has the state", |it| matches!(it, Notification::Resynced { .. })).await;
    writer.await.expect("written");
    expect_equal(&[leader.clone(), follower.clone()]).await;
    leader.force_resync("nobody").await.expect_err("there is none");
    leader.force_resync("a").await.expect_err("it leads");
}

#[tokio::test(start_paused = true)]
async fn an_old_store_goes_on_from_its_checkpoint_without_replaying() {
    let broker = MemoryBroker::default();
    let leader = node(&broker, "a").await;
    leader.promote().await.expect("promoted");
    let store = Arc::new(MemoryStore::new());
    let follower = builder(&broker, "b").store(store.clone()).start().await.expect("a node");
    write_some(&leader, 0, 500).await;
    expect_equal(&[leader.clone(), follower.clone()]).await;
    drop(follower);
    tokio::time::sleep(Duration::from_millis(10)).await;
    write_some(&leader, 500, 600).await;
    let follower = builder(&broker, "b").store(store).start().await.expect("a node");
    expect_equal(&[leader.clone(), follower.clone()]).await;
    let applied = follower.metrics().entries_applied;
    assert!((100..=102).contains(&applied), "{applied} were applied");
}

#[tokio::test(start_paused = true)]
async fn a_log_keeps_as_many_entries_as_it_is_told_to() {
    let broker = MemoryBroker::default();
    let leader =
        builder(&broker, "a").log_entries_max(2_000).tail_entries_max(500).start().await.expect("a node");
    leader.promote().await.expect("promoted");
    for round in 0..100 {
        write_some(&leader, round * 100, round * 100 + 100).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pipeline = broker.pipeline(NAMESPACE);
    let state = archipelago_pipeline::Pipeline::state(&pipeline).await.expect("a log");
    assert!(state.first_sequence > 1, "{state:?}");
    let late = node(&broker, "late").await;
    expect_equal(&[leader, late]).await;
}
