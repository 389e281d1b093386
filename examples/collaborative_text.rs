//! Two people edit one document, each on an island of their own and without a network in between:
//! `cargo run -p archipelago-examples --example collaborative_text --features text`.
//!
//! The document is a plain struct with a text in it. What travels of an edit is the edit.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{sync::Arc, time::Duration};

use archipelago::{Switch, crdt::Text, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Document {
    title: String,
    body: Text,
}

async fn island(
    broker: &MemoryBroker,
    name: &str,
) -> Result<(MultiMasterManager, Switch), Box<dyn std::error::Error>> {
    // The switch stands for the network: it can be cut and healed.
    let network = Switch::new(Arc::new(broker.pipeline("documents")));
    let master = MultiMasterManager::builder()
        .master_id(name)
        .namespace("documents")
        .store(MemoryStore::new())
        .pipeline(network.clone())
        .conflict_strategy(Strategy::CrdtMerge)
        .start()
        .await?;
    Ok((master, network))
}

/// Makes the body what an editor shows: only what differs from before is an edit.
async fn save(master: &MultiMasterManager, body: &str) -> Result<WriteReceipt, Box<dyn std::error::Error>> {
    let (me, shown) = (master.master_id().clone(), body.to_owned());
    let update =
        master.update("doc/1", move |document: &mut Document| document.body.set(&me, &shown).map(drop));
    update.await?;
    Ok(master.write("last", body).await?)
}

async fn body(master: &MultiMasterManager) -> Result<String, Box<dyn std::error::Error>> {
    let document: Option<Document> = master.read("doc/1").await?;
    Ok(document.unwrap_or_default().body.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = MemoryBroker::default();
    let (east, _) = island(&broker, "us-east").await?;
    let (west, network) = island(&broker, "us-west").await?;

    let begun = save(&east, "The islands write. They meet.").await?;
    assert!(west.wait_for(&begun.token, Duration::from_secs(5)).await);
    println!("both    {}", body(&west).await?);

    // Cut off from one another, both edit. A program with a cursor would call `insert` and `remove` instead.
    network.cut();
    save(&east, "The islands write at once. They meet.").await?;
    save(&west, "The islands write. They meet, and nothing is lost.").await?;
    let me = east.master_id().clone();
    east.update("doc/1", move |document: &mut Document| document.body.insert(&me, 4, "many ").map(drop))
        .await?;
    println!("east    {}", body(&east).await?);
    println!("west    {}", body(&west).await?);

    network.heal();
    let (from_east, from_west) = (east.write("last", "east").await?, west.write("last", "west").await?);
    assert!(west.wait_for(&from_east.token, Duration::from_secs(5)).await);
    assert!(east.wait_for(&from_west.token, Duration::from_secs(5)).await);
    println!("merged  {}", body(&east).await?);
    assert_eq!(body(&east).await?, "The many islands write at once. They meet, and nothing is lost.");
    assert_eq!(body(&east).await?, body(&west).await?);

    east.close().await?;
    west.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
