//! Loading many records at once: one by one, and handed over together.
//!
//! `cargo run --release -p archipelago-examples --example bulk_load`
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{error::Error, time::Instant};

use archipelago::{FjallStore, MultiMasterManager};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Lighthouse {
    name: String,
    height_m: u16,
}

fn lighthouses(from: u16, count: u16) -> impl Iterator<Item = (String, Lighthouse)> {
    (from..from + count)
        .map(|n| (format!("lighthouse/{n}"), Lighthouse { name: format!("No. {n}"), height_m: 10 + n % 50 }))
}

#[tokio::main]
async fn main() -> Outcome {
    let folder = tempfile::tempdir()?;
    let master = MultiMasterManager::builder()
        .master_id("harbour")
        .namespace("lights")
        .store(FjallStore::open(folder.path())?)
        .start()
        .await?;

    // Each waits until the one before it is on the disk.
    let began = Instant::now();
    for (id, lighthouse) in lighthouses(0, 200) {
        master.write(id, &lighthouse).await?;
    }
    println!("200 one by one: {:?}", began.elapsed());

    // They share the waiting. Each has an outcome of its own, so that one that is refused does not hide.
    let began = Instant::now();
    let outcomes = master.write_many(lighthouses(200, 20_000)).await;
    println!("20,000 together: {:?}", began.elapsed());
    for outcome in &outcomes {
        if let Err(error) = outcome {
            println!("refused: {error}");
        }
    }
    assert!(outcomes.len() == 20_000 && outcomes.iter().all(Result::is_ok));

    let last = master.read::<Lighthouse>("lighthouse/20199").await?;
    assert_eq!(last, Some(Lighthouse { name: "No. 20199".into(), height_m: 59 }));
    assert_eq!(master.metrics().writes_local, 20_200);
    master.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
