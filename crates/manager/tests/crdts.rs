//! Plain structs with CRDT fields, updated concurrently.

mod support;

use archipelago_conflict::Strategy;
use archipelago_crdt::{OrSet, PnCounter};
use archipelago_manager::{MultiMasterManager, UpdateError};
use serde::{Deserialize, Serialize};
use support::{archipelago, broker, converge};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Post {
    title: String,
    views: PnCounter,
    tags: OrSet<String>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("no")]
struct No;

async fn viewed(master: &MultiMasterManager, times: u64, tag: &str) {
    let (me, tag) = (master.master_id().clone(), tag.to_owned());
    let update = master.update("post/1", move |post: &mut Post| {
        post.views.increment(me.clone(), times).expect("its own state");
        post.tags.insert(me, tag).map(drop)
    });
    update.await.expect("a write");
}

#[tokio::test]
async fn updates_on_both_sides_of_a_partition_add_up() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::CrdtMerge).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    us.write("post/1", &Post { title: "hello".into(), ..Post::default() }).await.unwrap();
    converge(&[us, eu, ap]).await;
    islands[2].link.cut();
    viewed(us, 100, "red").await;
    viewed(eu, 20, "green").await;
    viewed(ap, 75, "blue").await;
    viewed(ap, 5, "blue").await;
    islands[2].link.heal();
    converge(&[us, eu, ap]).await;
    for master in [us, eu, ap] {
        let post: Post = master.read("post/1").await.unwrap().unwrap();
        assert_eq!((post.title.as_str(), post.views.value()), ("hello", 200));
        assert_eq!(post.tags.iter().collect::<Vec<_>>(), ["blue", "green", "red"]);
        assert!(
            master.conflicts().iter().all(|report| &*report.entity_id != "post/1"),
            "joining is no conflict"
        );
    }
}

#[tokio::test]
async fn concurrent_updates_of_one_master_lose_nothing() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::CrdtMerge).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    let updates = (0..100).map(|n| {
        let master = us.clone();
        tokio::spawn(async move { viewed(&master, 1, &format!("tag {}", n % 10)).await })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.unwrap();
    }
    converge(&[us, eu, ap]).await;
    let post: Post = ap.read("post/1").await.unwrap().unwrap();
    assert_eq!((post.views.value(), post.tags.len()), (100, 10));
}

#[tokio::test]
async fn a_refused_or_panicking_update_writes_nothing_and_harms_nobody() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::CrdtMerge).await;
    let us = &islands[0].master;
    let refused = us.update("post/1", |_: &mut Post| Err(No)).await.unwrap_err();
    assert!(matches!(refused, UpdateError::Refused(No)));
    let master = us.clone();
    let panicked = tokio::spawn(async move {
        master.update("post/1", |_: &mut Post| -> Result<(), No> { panic!("the caller's own") }).await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(us.read::<Post>("post/1").await.unwrap(), None);
    us.write("number", &7).await.unwrap();
    let wrong_type = us.update("number", |_: &mut Post| Ok::<(), No>(())).await.unwrap_err();
    assert!(matches!(wrong_type, UpdateError::Read(_)), "{wrong_type}");
    assert_eq!(us.metrics().writes_local, 1);
}
