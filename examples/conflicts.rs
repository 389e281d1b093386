//! What becomes of concurrent writes under each kind of strategy: `cargo run --example conflicts`.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{sync::Arc, time::Duration};

use archipelago::{
    Custom, Switch,
    crdt::{OrSet, PnCounter},
    prelude::*,
};
use serde::{Deserialize, Serialize};

/// A plain struct with CRDTs in it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Post {
    title: String,
    views: PnCounter,
    tags: OrSet<String>,
}

struct Island {
    master: MultiMasterManager,
    network: Switch,
}

async fn island(broker: &MemoryBroker, name: &str) -> Result<Island, Box<dyn std::error::Error>> {
    let network = Switch::new(Arc::new(broker.pipeline("blog")));
    let longest = Custom::new("longest", 1, |siblings| {
        let texts = siblings.iter().filter_map(|sibling| sibling.value.clone());
        texts.max_by_key(|text| text.as_text().map_or(0, str::len))
    });
    let master = MultiMasterManager::builder()
        .master_id(name)
        .namespace("blog")
        .store(MemoryStore::new())
        .pipeline(network.clone())
        .conflict_strategy(Strategy::Lww)
        .prefix_strategy("post/", Strategy::CrdtMerge)
        .prefix_strategy("comment/", longest)
        .prefix_strategy("contract/", Strategy::Manual)
        .start()
        .await?;
    Ok(Island { master, network })
}

async fn view(master: &MultiMasterManager, tag: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (me, tag) = (master.master_id().clone(), tag.to_owned());
    let update = master.update("post/1", move |post: &mut Post| {
        post.title = format!("seen by {}", me.name());
        post.views.increment(me.clone(), 1).map_err(|error| error.to_string())?;
        post.tags.insert(me, tag).map(drop).map_err(|error| error.to_string())
    });
    update.await?;
    Ok(())
}

/// Returns once each has applied all that the other has written.
async fn meet(
    one: &MultiMasterManager,
    other: &MultiMasterManager,
) -> Result<(), Box<dyn std::error::Error>> {
    for (writer, reader) in [(one, other), (other, one)] {
        let last = writer.write("met", writer.master_id().name()).await?;
        assert!(reader.wait_for(&last.token, Duration::from_secs(5)).await);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = MemoryBroker::default();
    let (east, west) = (island(&broker, "east").await?, island(&broker, "west").await?);
    meet(&east.master, &west.master).await?;

    // Neither side hears of the other's writes.
    west.network.cut();
    for (island, tag, comment, party) in [(&east, "red", "good", "Ann"), (&west, "blue", "very good", "Bob")]
    {
        view(&island.master, tag).await?;
        island.master.write("comment/1", comment).await?;
        island.master.write("contract/1", &format!("sold to {party}")).await?;
    }
    west.network.heal();
    meet(&east.master, &west.master).await?;

    let post: Post = east.master.read("post/1").await?.ok_or("the post is there")?;
    println!(
        "crdt-merge  {:?}, {} views, tags {:?}",
        post.title,
        post.views.value(),
        post.tags.iter().collect::<Vec<_>>()
    );
    assert_eq!((post.views.value(), post.tags.len()), (2, 2));
    println!("custom      {:?}", east.master.read::<String>("comment/1").await?);

    for contract in west.master.pending_conflicts(None, 10).await? {
        println!("manual      {} waits with {} versions", contract.id, contract.versions.len());
        west.master.resolve_conflict(&contract, Some("sold to both")).await?;
    }
    meet(&east.master, &west.master).await?;
    println!("resolved    {:?}", east.master.read::<String>("contract/1").await?);
    let explained = east.master.explain("contract/1").await?.ok_or("the contract is there")?;
    for clash in explained.conflicts.iter().flat_map(|conflict| &conflict.clashes) {
        println!(
            "explained   {:?} stood against {:?}: {}",
            clash.winner.value, clash.loser.value, clash.reason
        );
    }

    east.master.close().await?;
    west.master.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
