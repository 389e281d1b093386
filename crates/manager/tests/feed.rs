//! Whoever follows a feed has what the master has, from wherever it goes on.

mod support;

use std::collections::BTreeMap;

use archipelago_conflict::Strategy;
use archipelago_crdt::Value;
use archipelago_manager::{Feed, FeedChange, MultiMasterManager, SessionToken};
use archipelago_store::MemoryStore;
use proptest::prelude::*;
use support::{DEADLINE, Island, archipelago, broker, options};

/// A copy that is kept by following, and nothing else.
#[derive(Debug, Default, PartialEq)]
struct Follower {
    values: BTreeMap<String, Value>,
    token: SessionToken,
    resets: usize,
}

impl Follower {
    fn take(&mut self, change: FeedChange) {
        match change {
            FeedChange::Reset => {
                self.values.clear();
                self.token = SessionToken::default();
                self.resets += 1;
            }
            FeedChange::Entity { entity, token } => {
                match entity.value {
                    Some(value) => self.values.insert(entity.id.to_string(), value),
                    None => self.values.remove(entity.id.as_str()),
                };
                self.token = token;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Follows until it has what the master has.
    async fn follow(&mut self, feed: &mut Feed, master: &MultiMasterManager) {
        let wanted = all(master).await;
        while self.values != wanted {
            let next = tokio::time::timeout(DEADLINE, feed.next()).await.expect("a change");
            self.take(next.expect("open"));
        }
    }
}

async fn all(master: &MultiMasterManager) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for id in master.entity_ids("", None, usize::MAX).await.expect("sound") {
        let value = master.read(&id).await.expect("sound").expect("it has a value");
        values.insert(id.to_string(), value);
    }
    values
}

#[tokio::test]
async fn a_feed_gives_what_stands_and_then_what_changes_here_and_elsewhere() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::FieldMerge).await;
    let [us, eu, _] = islands.each_ref().map(|island| &island.master);
    for number in 0..600 {
        us.write(format!("item/{number}"), &number).await.unwrap();
    }
    let mut feed = us.feed(&SessionToken::default());
    let mut follower = Follower::default();
    follower.follow(&mut feed, us).await;
    us.delete("item/3").await.unwrap();
    let last = eu.write("item/new", "from afar").await.unwrap();
    assert!(us.wait_for(&last.token, DEADLINE).await);
    follower.follow(&mut feed, us).await;
    // Elsewhere, it goes on where it was.
    let last = us.write("item/4", "changed").await.unwrap();
    assert!(eu.wait_for(&last.token, DEADLINE).await);
    let mut feed = eu.feed(&follower.token);
    follower.follow(&mut feed, eu).await;
    assert_eq!(follower.resets, 0);
}

#[tokio::test]
async fn a_master_that_lacks_what_the_reader_has_seen_is_waited_for() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::Lww).await;
    let [us, eu, _] = islands.each_ref().map(|island| &island.master);
    islands[1].link.cut();
    let seen = us.write("a", &1).await.unwrap().token;
    eu.write("b", &2).await.unwrap();
    let mut feed = eu.feed(&seen);
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), feed.next()).await;
    assert!(early.is_err(), "{early:?}");
    islands[1].link.heal();
    let FeedChange::Entity { entity, .. } = feed.next().await.unwrap() else { panic!("a reset") };
    assert_eq!(&*entity.id, "b");
}

#[tokio::test]
async fn who_lacks_removals_that_are_forgotten_begins_anew() {
    let broker = broker();
    let options = options("us", Strategy::Lww).heartbeat_interval(std::time::Duration::from_millis(20));
    let us = Island::on(&broker, options, MemoryStore::new()).await.master;
    us.write("gone", &1).await.unwrap();
    us.write("kept", &2).await.unwrap();
    let mut follower = Follower::default();
    follower.follow(&mut us.feed(&SessionToken::default()), &us).await;
    us.delete("gone").await.unwrap();
    let forgotten = async {
        while us.metrics().tombstones > 0 || us.metrics().tombstones_reclaimed == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, forgotten).await.expect("it is reclaimed");
    us.write("later", &3).await.unwrap();
    let mut feed = us.feed(&follower.token);
    follower.follow(&mut feed, &us).await;
    assert_eq!(follower.resets, 1);
}

#[tokio::test]
async fn a_feed_ends_with_its_master() {
    let broker = broker();
    let us = Island::start(&broker, "us", Strategy::Lww).await.master;
    let mut feed = us.feed(&us.session_token());
    let waiting = tokio::spawn(async move { feed.next().await });
    tokio::task::yield_now().await;
    us.close().await.unwrap();
    assert!(tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However often it is interrupted, and wherever between the writes, a follower ends with what the master has.
    #[test]
    fn an_interrupted_follower_misses_nothing(
        writes in prop::collection::vec((0..8u8, prop::option::of(0..100u32), 0..4usize), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker = broker();
            let us = Island::start(&broker, "us", Strategy::FieldMerge).await.master;
            let mut follower = Follower::default();
            for (entity, value, taken) in writes {
                match value {
                    Some(value) => us.write(format!("e{entity}"), &BTreeMap::from([(format!("f{}", value % 3), value)])).await,
                    None => us.delete(format!("e{entity}")).await,
                }
                .unwrap();
                let mut feed = us.feed(&follower.token);
                for _ in 0..taken {
                    // What is not there yet need not be waited for; giving up in the middle loses nothing.
                    let next = tokio::time::timeout(std::time::Duration::from_millis(1), feed.next()).await;
                    let Ok(change) = next else { break };
                    follower.take(change.unwrap());
                }
            }
            let mut feed = us.feed(&follower.token);
            follower.follow(&mut feed, &us).await;
            prop_assert_eq!(follower.values, all(&us).await);
            Ok(())
        })?;
    }
}
