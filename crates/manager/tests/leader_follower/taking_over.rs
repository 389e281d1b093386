use std::time::Duration;

use archipelago_manager::leader_follower::Write;
use archipelago_pipeline::MemoryBroker;

use crate::{lossy::Lossy, support::*};

#[tokio::test(start_paused = true)]
async fn a_node_that_has_just_come_hears_the_others_before_it_leads() {
    let broker = MemoryBroker::default();
    let witness = builder(&broker, "a").promotion_eligible(false).start().await.expect("a node");
    let (leader, switch) = switched(&broker, "b").await;
    until("it leads", || leader.is_leader()).await;
    for number in 0..10_u64 {
        leader.write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
    expect_equal(&[leader.clone(), witness.clone()]).await;
    // Only the witness has it all now, and nobody holds the lease.
    switch.cut();
    drop(leader);
    broker.delete_log(NAMESPACE);
    broker.drop_lease(NAMESPACE);
    let late = builder(&broker, "c").start().await.expect("a node");
    until("it leads", || late.is_leader()).await;
    assert_eq!(late.key_count(), 10);
    expect_equal(&[late, witness]).await;
}

#[tokio::test(start_paused = true)]
async fn a_candidate_has_what_another_node_has_though_nothing_is_heard_of_that_one() {
    let broker = MemoryBroker::default();
    let witness = builder(&broker, "a").pipeline(Lossy::new(&broker).mute()).promotion_eligible(false);
    let witness = witness.start().await.expect("a node");
    let (leader, of_leader) = switched(&broker, "b").await;
    until("it leads", || leader.is_leader()).await;
    leader.register_follower("a").await.expect("registered");
    let (candidate, of_candidate) = switched(&broker, "c").await;
    expect_equal(&[leader.clone(), witness.clone(), candidate.clone()]).await;
    of_candidate.cut();
    leader.write(Write::create("k", &1)).await.expect("written");
    expect_equal(&[leader.clone(), witness.clone()]).await;
    // Only the witness has it now.
    of_leader.cut();
    drop(leader);
    broker.delete_log(NAMESPACE);
    of_candidate.heal();
    until("it leads", || candidate.is_leader()).await;
    assert_eq!(candidate.key_count(), 1);
    expect_equal(&[candidate, witness]).await;
}

#[tokio::test(start_paused = true)]
async fn a_candidate_takes_the_state_where_the_tails_of_others_are_too_short() {
    let broker = MemoryBroker::default();
    let witness =
        builder(&broker, "a").promotion_eligible(false).tail_entries_max(3).start().await.expect("a node");
    let (leader, switch) = switched(&broker, "b").await;
    until("it leads", || leader.is_leader()).await;
    for number in 0..30_u64 {
        leader.write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
    expect_equal(&[leader.clone(), witness.clone()]).await;
    switch.cut();
    drop(leader);
    broker.delete_log(NAMESPACE);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let late = node(&broker, "c").await;
    until("it leads", || late.is_leader()).await;
    assert_eq!(late.key_count(), 30);
    late.write(Write::create("after", &1)).await.expect("written");
    expect_equal(&[late, witness]).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_waits_until_what_it_rests_on_is_in_the_log() {
    let broker = MemoryBroker::default();
    let (leader, switch) = switched(&broker, "a").await;
    until("it leads", || leader.is_leader()).await;
    switch.hold();
    let create = |value: u64| {
        let leader = leader.clone();
        tokio::spawn(async move { leader.write(Write::create("k", &value).within(DEADLINE)).await })
    };
    let (first, mut second) = (create(1), create(2));
    let told = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    assert!(told.is_err(), "nobody knows yet whether the key will exist: {told:?}");
    switch.release();
    first.await.expect("no panic").expect("written");
    let refused = second.await.expect("no panic").expect_err("it exists");
    assert_eq!(refused.code(), "ALREADY_EXISTS", "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_while_a_candidate_reads_it_is_made_again() {
    let broker = MemoryBroker::default();
    let (leader, switch) = switched(&broker, "a").await;
    let other = node(&broker, "b").await;
    leader.promote().await.expect("promoted");
    leader.write(Write::create("k", &1)).await.expect("written");
    expect_equal(&[leader.clone(), other.clone()]).await;
    switch.cut();
    for _ in 0..200 {
        broker.delete_log(NAMESPACE);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    until("the other leads", || other.is_leader()).await;
    assert_eq!(other.key_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_took_a_state_tells_the_term_that_it_is_of() {
    let broker = MemoryBroker::default();
    let leader = builder(&broker, "a").tail_entries_max(1).start().await.expect("a node");
    leader.promote().await.expect("promoted");
    for number in 0..10_u64 {
        leader.write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
    broker.purge(NAMESPACE);
    let late = builder(&broker, "b").resync_threshold(0).start().await.expect("a node");
    leader.force_resync("b").await.ok();
    expect_equal(&[leader.clone(), late.clone()]).await;
    assert_eq!(late.term(), leader.term());
}
