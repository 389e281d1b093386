//! A master that was started says when it has what the others have.

mod support;

use std::time::Duration;

use archipelago_conflict::Strategy;
use archipelago_manager::MultiMasterManager;
use archipelago_store::MemoryStore;
use support::{DEADLINE, Island, broker, options};

const HEARTBEAT: Duration = Duration::from_millis(20);

async fn start(broker: &archipelago_pipeline::MemoryBroker, name: &str) -> Island {
    let options = options(name, Strategy::Lww).heartbeat_interval(HEARTBEAT);
    Island::on(broker, options, MemoryStore::new()).await
}

#[tokio::test]
async fn once_caught_up_a_new_master_has_what_was_there_before_it() {
    let broker = broker();
    let us = start(&broker, "us").await.master;
    for number in 0..500 {
        us.write(format!("item/{number}"), &number).await.unwrap();
    }
    us.close().await.unwrap();
    // Nobody is there to ask: what it has it has from the log.
    let eu = start(&broker, "eu").await.master;
    tokio::time::timeout(DEADLINE, eu.caught_up()).await.expect("in time").unwrap();
    assert_eq!(eu.entity_ids("", None, 1_000).await.unwrap().len(), 500);
}

#[tokio::test]
async fn a_master_that_does_not_reach_its_broker_has_not_caught_up() {
    let broker = broker();
    let island = start(&broker, "us").await;
    island.master.caught_up().await.unwrap();
    let link = archipelago_pipeline::Switch::new(std::sync::Arc::new(broker.pipeline(support::NAMESPACE)));
    link.cut();
    let options = options("eu", Strategy::Lww).heartbeat_interval(HEARTBEAT);
    let cut_off = options.store(MemoryStore::new()).pipeline(link.clone()).start().await.unwrap();
    assert!(tokio::time::timeout(HEARTBEAT * 10, cut_off.caught_up()).await.is_err());
    link.heal();
    tokio::time::timeout(DEADLINE, cut_off.caught_up()).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_master_alone_has_nothing_to_catch_up_with_and_a_closed_one_never_does() {
    let alone =
        MultiMasterManager::builder().master_id("us").store(MemoryStore::new()).start().await.unwrap();
    alone.caught_up().await.unwrap();
    let broker = broker();
    let us = start(&broker, "us").await.master;
    us.close().await.unwrap();
    assert!(us.caught_up().await.is_err());
}
