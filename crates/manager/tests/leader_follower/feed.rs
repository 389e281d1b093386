use std::time::Duration;

use archipelago_manager::leader_follower::{FeedChange, LeaderFollowerManager, SessionToken, Write};
use archipelago_pipeline::MemoryBroker;

use crate::support::{builder, leader_of, node, within};

async fn next(feed: &mut archipelago_manager::leader_follower::Feed) -> Option<(String, Option<u64>)> {
    match within("a change", feed.next::<u64>()).await.expect("a node that runs") {
        FeedChange::Key { key, found, .. } => Some((key.to_string(), found.value)),
        _ => None,
    }
}

fn change(key: &str, value: impl Into<Option<u64>>) -> Option<(String, Option<u64>)> {
    Some((key.to_owned(), value.into()))
}

async fn write(node: &LeaderFollowerManager, key: &str, value: u64) {
    node.write(Write::upsert(key, &value)).await.expect("a leader");
}

#[tokio::test(start_paused = true)]
async fn a_feed_gives_what_changes_and_goes_on_at_another_node() {
    let broker = MemoryBroker::default();
    let nodes = vec![node(&broker, "a").await, node(&broker, "b").await];
    let leader = &nodes[leader_of(&nodes).await];
    write(leader, "before", 0).await;
    let mut feed = leader.feed(leader.session_token());
    write(leader, "x", 1).await;
    assert_eq!(next(&mut feed).await, change("x", 1));
    let token = feed.token();
    write(leader, "y", 2).await;
    leader.write(Write::delete("x")).await.expect("it is there");
    for node in &nodes {
        let mut feed = node.feed(token);
        assert_eq!(next(&mut feed).await, change("y", 2));
        assert_eq!(next(&mut feed).await, change("x", None));
        let quiet = tokio::time::timeout(Duration::from_secs(60), feed.next::<u64>()).await;
        assert!(quiet.is_err(), "nothing else changed, and {quiet:?} came");
    }
}

#[tokio::test(start_paused = true)]
async fn from_the_beginning_a_feed_gives_everything_and_then_what_changes() {
    let broker = MemoryBroker::default();
    let node = node(&broker, "a").await;
    let mut early = node.feed(SessionToken::default());
    assert_eq!(next(&mut early).await, None);
    node.promote().await.expect("it leads");
    write(&node, "x", 1).await;
    write(&node, "y", 2).await;
    let mut feed = node.feed(SessionToken::default());
    assert_eq!(next(&mut feed).await, None);
    assert_eq!(next(&mut feed).await, change("x", 1));
    write(&node, "z", 3).await;
    assert_eq!(next(&mut feed).await, change("y", 2));
    assert_eq!(next(&mut feed).await, change("z", 3));
    let mut seen = Vec::new();
    while seen.last() != Some(&change("z", 3)) {
        seen.push(next(&mut early).await);
    }
    assert!(!seen.contains(&None), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_away_for_longer_than_the_tail_goes_back_begins_anew() {
    let broker = MemoryBroker::default();
    let node = builder(&broker, "a").tail_entries_max(5).start().await.expect("a node");
    node.promote().await.expect("it leads");
    write(&node, "x", 0).await;
    let token = node.session_token();
    for number in 1..=20 {
        write(&node, "y", number).await;
    }
    let mut feed = node.feed(token);
    assert_eq!(next(&mut feed).await, None);
    assert_eq!(next(&mut feed).await, change("x", 0));
    assert_eq!(next(&mut feed).await, change("y", 20));
}

#[tokio::test(start_paused = true)]
async fn a_token_from_a_history_that_does_not_count_begins_anew() {
    let broker = MemoryBroker::default();
    let node = node(&broker, "a").await;
    node.promote().await.expect("it leads");
    write(&node, "x", 1).await;
    let here = node.session_token();
    let lost: SessionToken = format!(
        "lf1.{}.{}",
        here.to_string().split('.').nth(1).map_or(0, |term| { term.parse::<u64>().expect("a term") - 1 }),
        here.index()
    )
    .parse()
    .expect("a token");
    let mut feed = node.feed(lost);
    write(&node, "y", 2).await;
    assert_eq!(next(&mut feed).await, None);
}
