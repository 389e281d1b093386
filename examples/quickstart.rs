//! Two masters in one program, cut off from each other and healed again: `cargo run --example quickstart`.
//!
//! Everything is in memory here. In a deployment each master is a process of its own, with a
//! `FjallStore::open(folder)` and a `NatsPipeline::connect(NatsConfig::new(url, namespace))` in the same two places.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{sync::Arc, time::Duration};

use archipelago::{Switch, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
    city: String,
}

async fn island(
    broker: &MemoryBroker,
    name: &str,
) -> Result<(MultiMasterManager, Switch), Box<dyn std::error::Error>> {
    // The switch stands for the network: it can be cut and healed.
    let network = Switch::new(Arc::new(broker.pipeline("people")));
    let master = MultiMasterManager::builder()
        .master_id(name)
        .namespace("people")
        .store(MemoryStore::new())
        .pipeline(network.clone())
        .conflict_strategy(Strategy::FieldMerge)
        .start()
        .await?;
    Ok((master, network))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = MemoryBroker::default();
    let (east, _) = island(&broker, "us-east").await?;
    let (west, network) = island(&broker, "us-west").await?;

    // A write returns once it is stored here; it reaches the others by itself.
    let written = east.write("user/7", &User { name: "Alice".into(), city: "Boston".into() }).await?;
    assert!(west.wait_for(&written.token, Duration::from_secs(5)).await);
    println!("west reads  {:?}", west.read::<User>("user/7").await?);

    // Without a network both go on: writes are acknowledged and queued.
    network.cut();
    east.write("user/7", &User { name: "Alicia".into(), city: "Boston".into() }).await?;
    let moved = west.write("user/7", &User { name: "Alice".into(), city: "Seattle".into() }).await?;
    println!("west wrote  {} while cut off; queued: {}", moved.dot, moved.queued);

    // With it they meet. Under field merge two people who change different fields both get their way.
    network.heal();
    let (east_vector, west_vector) = (east.vector_clock(), west.vector_clock());
    println!("before      east {east_vector}, west {west_vector}");
    let last = west.write("note", "hello from the west").await?;
    assert!(east.wait_for(&last.token, Duration::from_secs(5)).await);
    let from_east = east.write("note", "hello from the east").await?;
    assert!(west.wait_for(&from_east.token, Duration::from_secs(5)).await);
    println!("east reads  {:?}", east.read::<User>("user/7").await?);
    println!("west reads  {:?}", west.read::<User>("user/7").await?);
    let ((_, east_digest), (_, west_digest)) = (east.state_digest().await?, west.state_digest().await?);
    assert_eq!(east_digest, west_digest);
    println!("same state  {east_digest}");

    east.close().await?;
    west.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
