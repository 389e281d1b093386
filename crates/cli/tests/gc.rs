//! `archipelago gc --dry-run` says what could be forgotten of a stopped master, and changes nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, process::Output, sync::Arc, time::Duration};

use archipelago::{FjallStore, MemoryBroker, MemoryStore, MultiMasterManager, Switch};
use tokio::process::Command;

async fn gc(args: &[&str], store: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    command.arg("gc").args(args).arg("--store").arg(store).env_remove("ARCHIPELAGO_STORE");
    command.output().await.unwrap()
}

/// A folder with three removals, of which another master that was cut off has one.
async fn stopped_master(folder: &Path) {
    let broker = MemoryBroker::default();
    let link = Switch::new(Arc::new(broker.pipeline("ns")));
    let start = |name: &str| {
        MultiMasterManager::builder()
            .master_id(name)
            .namespace("ns")
            .heartbeat_interval(Duration::from_millis(20))
    };
    let east = start("east").store(FjallStore::open(folder).unwrap()).pipeline(broker.pipeline("ns"));
    let east = east.start().await.unwrap();
    let west = start("west").store(MemoryStore::new()).pipeline(link.clone()).start().await.unwrap();
    for entity in ["a", "b", "c", "kept"] {
        east.write(entity, "value").await.unwrap();
    }
    assert!(west.wait_for(&east.session_token(), Duration::from_secs(30)).await);
    link.cut();
    for entity in ["a", "b", "c"] {
        east.delete(entity).await.unwrap();
    }
    // A heartbeat later, should west be waited for no more, they would be gone.
    while east.metrics().active_peers != 1 {
        tokio::task::yield_now().await;
    }
    east.close().await.unwrap();
}

#[tokio::test]
async fn what_could_go_and_who_holds_it_back_is_told_as_text_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    stopped_master(folder.path()).await;
    for _ in 0..2 {
        let told = gc(&["--dry-run", "--json"], folder.path()).await;
        assert!(told.status.success(), "{told:?}");
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((&told["tombstones"], &told["reclaimable"]), (&3.into(), &0.into()), "{told}");
        let held = &told["held_back_by"][0];
        assert!(held["master_id"].as_str().unwrap().starts_with("west@"), "{told}");
        assert_eq!(held["tombstones"], 3);
    }
    let told = gc(&["--dry-run"], folder.path()).await;
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("3 tombstones, 0 of them could go") && told.contains("west@"), "{told}");
}

#[tokio::test]
async fn a_folder_without_a_master_is_named_and_nothing_is_made() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("nowhere");
    let told = gc(&["--dry-run"], &nowhere).await;
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("is no folder"), "{told:?}");
    assert!(!nowhere.exists());
    let told = gc(&["--dry-run"], home.path()).await;
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("there is no master"), "{told:?}");
    let told = gc(&[], home.path()).await;
    assert!(String::from_utf8_lossy(&told.stderr).contains("--dry-run"), "{told:?}");
}
