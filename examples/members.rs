//! A removal is forgotten once every member has it. One that is away holds that back until it is retired; when it comes
//! back, what it wrote meanwhile is not lost.
//!
//! `cargo run -p archipelago-examples --example members`
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{error::Error, sync::Arc, time::Duration};

use archipelago::{MemoryBroker, MemoryStore, MultiMasterManager, Notification, Switch};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A master whose link to the others can be cut.
async fn master(broker: &MemoryBroker, name: &str) -> Outcome<(MultiMasterManager, Switch)> {
    let link = Switch::new(Arc::new(broker.pipeline("shop")));
    let options = MultiMasterManager::builder()
        .master_id(name)
        .namespace("shop")
        // An example should not take long; the default of a second does for a data centre.
        .heartbeat_interval(Duration::from_millis(20))
        .store(MemoryStore::new())
        .pipeline(link.clone());
    Ok((options.start().await?, link))
}

/// Looks again and again until `wanted` holds.
async fn until<F: Future<Output = Outcome<bool>>>(mut wanted: impl FnMut() -> F) -> Outcome {
    let looking = async {
        while !wanted().await? {
            tokio::task::yield_now().await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await?
}

#[tokio::main]
async fn main() -> Outcome {
    let broker = MemoryBroker::default();
    let (east, _) = master(&broker, "us-east").await?;
    let (west, _) = master(&broker, "eu-west").await?;
    let (south, link) = master(&broker, "ap-south").await?;
    until(async || Ok(east.members().await?.len() == 3)).await?;

    east.write("cart/1", "two apples").await?;
    for other in [&west, &south] {
        assert!(other.wait_for(&east.session_token(), Duration::from_secs(30)).await);
    }
    println!("ap-south is cut off, and the cart is removed");
    link.cut();
    east.delete("cart/1").await?;
    south.write("cart/2", "three pears").await?;

    until(async || Ok(east.reclaimable(0).await?.held_back_by.len() == 1)).await?;
    for held in east.reclaimable(0).await?.held_back_by {
        println!("  {} tombstones are held back by {}", held.tombstones, held.master_id.name());
    }

    println!("someone decides that it does not come back");
    west.retire("ap-south").await?;
    until(async || Ok(east.metrics().tombstones == 0 && west.metrics().tombstones == 0)).await?;
    println!("  no tombstone is left");

    println!("it comes back all the same");
    let mut told = south.subscribe();
    link.heal();
    while let Some(notification) = told.next().await {
        if let Notification::Returned { state } = notification {
            println!("  it was {state}, and joins again");
            break;
        }
    }
    until(async || {
        Ok(east.read::<String>("cart/2").await?.as_deref() == Some("three pears")
            && south.read::<String>("cart/1").await?.is_none())
    })
    .await?;
    println!("  what it wrote meanwhile is everywhere, and what was removed stays so");

    for member in east.members().await? {
        println!("{}: {}", member.master_id.name(), member.state);
    }
    for master in [east, west, south] {
        master.close().await?;
    }
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
