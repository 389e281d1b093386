use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{
    Health, LeaderFollowerManager, NodeRole, Notification, Role, Write,
};
use archipelago_pipeline::{Heard, MemoryBroker, MemoryPipeline, Pipeline};
use archipelago_proto::{Limits, NodeAnswer, NodeBeat, NodeQuestion, StatePage};
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
    let state = pipeline.state().await.expect("a log");
    assert!(state.first_sequence > 1, "{state:?}");
    let late = node(&broker, "late").await;
    expect_equal(&[leader, late]).await;
}

#[tokio::test(start_paused = true)]
async fn a_state_without_what_is_missing_is_not_taken_and_not_asked_for_without_a_pause() {
    let (broker, store) = (MemoryBroker::default(), Arc::new(MemoryStore::new()));
    let leader = builder(&broker, "a").store(store.clone()).role(Role::Leader);
    let leader = leader.start().await.expect("a node");
    until("it leads", || leader.is_leader()).await;
    for number in 0..20_u64 {
        leader.write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
    let had = leader.last_applied_sequence();
    drop(leader);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let log = broker.pipeline(NAMESPACE);
    log.trim(10).await.expect("a log");
    // One that lost its disk after it told of all that.
    let ghost = tokio::spawn(tell_of_more_than_there_is(log, had));
    let late = builder(&broker, "late").leader_id("a").role(Role::Follower);
    let late = late.start().await.expect("a node");
    let mut notifications = late.subscribe();
    heard(&mut notifications, "it fails", |it| matches!(it, Notification::ResyncFailed { .. })).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let metrics = late.metrics();
    assert_eq!(metrics.resync_successes, 0);
    assert!((2..20).contains(&metrics.resync_attempts), "{metrics:?}");
    // Whoever has it comes back.
    let leader = builder(&broker, "a").store(store).role(Role::Leader).start().await.expect("a node");
    until("it has everything", || late.last_applied_sequence() > had && late.health() == Health::Healthy)
        .await;
    expect_equal(&[leader, late]).await;
    ghost.abort();
}

/// Tells of entries up to `index`, and has none.
async fn tell_of_more_than_there_is(pipeline: MemoryPipeline, index: u64) {
    let beat = NodeBeat {
        namespace: NAMESPACE.to_owned(),
        node: "ghost".to_owned(),
        session: 1,
        role: NodeRole::Follower,
        term: 1,
        index,
        chain: 0,
        address: None,
        leader: None,
        is_eligible: false,
        is_desynced: false,
        furthest_sequence: 0,
    };
    let nothing = StatePage {
        index: 0,
        term: 0,
        chain: 0,
        index_after: 0,
        place: None,
        rows: Vec::new(),
        is_last: true,
        rows_total: 0,
        followers: Vec::new(),
    };
    let mut listener = pipeline.listen("ghost").await.expect("listening");
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    // It answers only so often, so that whoever asks without a pause comes to an end.
    let mut answers_left = 1_000;
    loop {
        let heard = tokio::select! {
            _ = interval.tick() => {
                pipeline.announce("ghost", beat.encode()).await.expect("said");
                continue;
            }
            heard = listener.next(), if answers_left > 0 => heard.expect("a broker"),
        };
        let Heard::Question { payload, answer } = heard else { continue };
        answers_left -= 1;
        let (_, _, question) = NodeQuestion::decode(payload, &Limits::default()).expect("a question");
        let said = match question {
            NodeQuestion::State { .. } => NodeAnswer::State(nothing.clone()),
            NodeQuestion::Tail { .. } => NodeAnswer::Tail(Vec::new()),
            _ => NodeAnswer::Unable { reason: "it is not there".into() },
        };
        answer.send(said.encode()).await;
    }
}
