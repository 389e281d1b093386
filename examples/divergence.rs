//! A byte changes on one disk. The masters notice, say which record it is in, and mend it.
//!
//! `cargo run -p archipelago-examples --example divergence`
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{error::Error, time::Duration};

use archipelago::{
    Ack, MemoryBroker, MemoryStore, MultiMasterManager, Notification, Notifications, WriteOptions,
    store::{Batch, Durability, Store, Table},
};

async fn master(
    broker: &MemoryBroker,
    name: &str,
    store: &MemoryStore,
) -> Result<MultiMasterManager, Box<dyn Error>> {
    let options = MultiMasterManager::builder()
        .master_id(name)
        .namespace("people")
        // An example should not take long; the default of a second does for a data centre.
        .heartbeat_interval(Duration::from_millis(20))
        .store(store.clone())
        .pipeline(broker.pipeline("people"));
    Ok(options.start().await?)
}

/// Waits for a notification of this kind.
async fn told(from: &mut Notifications, is_wanted: fn(&Notification) -> bool) -> Result<(), Box<dyn Error>> {
    let wanted = async {
        while let Some(notification) = from.next().await {
            if is_wanted(&notification) {
                println!("  {notification:?}");
                return Ok(());
            }
        }
        Err("the master was closed".into())
    };
    tokio::time::timeout(Duration::from_secs(30), wanted).await?
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (broker, damaged) = (MemoryBroker::default(), MemoryStore::new());
    let east = master(&broker, "us-east", &MemoryStore::new()).await?;
    let _south = master(&broker, "ap-south", &MemoryStore::new()).await?;
    let west = master(&broker, "eu-west", &damaged).await?;
    // Both others have told by their heartbeats that they have it, so they are known, and can be asked.
    let all = WriteOptions::ack(Ack::Peers(2)).within(Duration::from_secs(30));
    assert!(west.write_with("user/7", "Alice", all).await?.reached.enough);
    let (mut of_west, mut of_east) = (west.subscribe(), east.subscribe());

    println!("one byte of user/7 changes in the store of eu-west:");
    let mut row = damaged.get(Table::Entities, b"user/7")?.ok_or("it is stored")?.to_vec();
    *row.last_mut().ok_or("it is not empty")? ^= 1;
    let mut batch = Batch::new();
    batch.put(Table::Entities, "user/7", row);
    damaged.commit(batch, Durability::Memory)?;
    told(&mut of_west, |notification| matches!(notification, Notification::Damaged { .. })).await?;
    told(&mut of_east, |notification| matches!(notification, Notification::Diverged { .. })).await?;

    println!("who is it? most of three know:");
    let survey = west.diff_all().await?;
    assert!(survey.unreached.is_empty(), "{:?}", survey.unreached);
    for disagreement in &survey.disagreements {
        let dissenters: Vec<_> = disagreement.dissenters.iter().map(|master| master.name()).collect();
        println!("  {} is another one on {dissenters:?}", disagreement.entity_id);
        assert_eq!((disagreement.entity_id.as_str(), dissenters), ("user/7", vec!["eu-west"]));
    }
    assert_eq!(survey.disagreements.len(), 1);

    println!("eu-west takes it from us-east:");
    let mended = west.repair_from("us-east").await?;
    println!("  replaced {:?}, left {:?}", mended.replaced, mended.left);
    assert_eq!(west.read::<String>("user/7").await?.as_deref(), Some("Alice"));
    assert!(west.diff("us-east").await?.is_empty());
    assert_eq!(west.state_digest().await?, east.state_digest().await?);
    println!("all are one again");
    Ok(())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    main()
}
