//! A master whose store is an old copy, or is used twice, goes on under a new identity and loses nothing.

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use archipelago_clock::{Dot, ReplicaId};
use archipelago_conflict::Strategy;
use archipelago_manager::{Ack, Notification, Notifications, WriteOptions};
use archipelago_pipeline::{FaultRates, MemoryBroker, MemoryConfig, Pipeline, Switch};
use archipelago_proto::{EventBatch, Limits};
use archipelago_store::MemoryStore;
use support::{DEADLINE, Island, NAMESPACE, broker, converge, notified, options};

async fn island(broker: &MemoryBroker, name: &str, store: MemoryStore) -> Island {
    let options = options(name, Strategy::Lww).heartbeat_interval(Duration::from_millis(20));
    Island::on(broker, options, store).await
}

async fn island_cut_off(broker: &MemoryBroker, name: &str, store: MemoryStore) -> Island {
    let link = Switch::new(Arc::new(broker.pipeline(NAMESPACE)));
    link.cut();
    let options = options(name, Strategy::Lww).heartbeat_interval(Duration::from_millis(20));
    let master = options.store(store.clone()).pipeline(link.clone()).start().await.expect("it starts");
    Island { master, link, store }
}

/// The write is to have arrived at the broker.
fn arrived() -> WriteOptions {
    WriteOptions::ack(Ack::Pipeline).within(DEADLINE)
}

async fn reincarnated(notifications: &mut Notifications) -> (ReplicaId, ReplicaId) {
    notified(notifications, |notification| match notification {
        Notification::Reincarnated { old, new, .. } => Some((old, new)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_master_restored_from_an_old_copy_of_its_store_is_told_and_goes_on() {
    let broker = broker();
    let (us, eu) = (
        island(&broker, "us-east", MemoryStore::new()).await,
        island(&broker, "eu-west", MemoryStore::new()).await,
    );
    us.master.write("before", &1).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    let backup = us.store.copy();
    for n in 0..20 {
        us.master.write(format!("since/{n}"), &n).await.unwrap();
    }
    converge(&[&us.master, &eu.master]).await;
    us.master.close().await.unwrap();

    // Cut off, so that it writes before it can find out.
    let restored = island_cut_off(&broker, "us-east", backup).await;
    let identity = restored.master.master_id();
    for n in 0..5 {
        restored.master.write(format!("mine/{n}"), &n).await.unwrap();
    }
    let mut told = restored.master.subscribe();
    restored.link.heal();
    let (old, new) = reincarnated(&mut told).await;
    assert_eq!((&old, &new), (&identity, &restored.master.master_id()));
    assert_eq!(new.name(), "us-east");
    restored.master.write("after", &1).await.unwrap();
    converge(&[&restored.master, &eu.master]).await;
    for n in 0..20 {
        assert_eq!(restored.master.read(&format!("since/{n}")).await.unwrap(), Some(n));
    }
    for n in 0..5 {
        assert_eq!(eu.master.read(&format!("mine/{n}")).await.unwrap(), Some(n));
    }
    // The new identity is in the store.
    restored.master.close().await.unwrap();
    let again = island(&broker, "us-east", restored.store.reopen()).await;
    assert_eq!(again.master.master_id(), new);
    converge(&[&again.master, &eu.master]).await;
}

#[tokio::test]
async fn a_write_under_an_identity_that_is_given_up_is_not_said_to_have_arrived() {
    let config = MemoryConfig { ack_timeout: Duration::from_millis(50), ..MemoryConfig::default() };
    let broker = MemoryBroker::new(config);
    let us = island(&broker, "us-east", MemoryStore::new()).await;
    us.master.write("before", &1).await.unwrap();
    let backup = us.store.copy();
    for n in 0..5 {
        us.master.write_with(format!("since/{n}"), &n, arrived()).await.unwrap();
    }
    us.master.close().await.unwrap();

    let restored = island_cut_off(&broker, "us-east", backup).await;
    let mut told = restored.master.subscribe();
    let writer = restored.master.clone();
    let write = tokio::spawn(async move { writer.write_with("mine", &1, arrived()).await });
    while restored.master.read::<i32>("mine").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // It finds out before anything gets through.
    broker.set_fault_rates(FaultRates { lose_message: 1.0, ..FaultRates::default() });
    restored.link.heal();
    let (old, new) = reincarnated(&mut told).await;
    broker.set_fault_rates(FaultRates::default());
    for n in 0..20 {
        let receipt = restored.master.write_with(format!("after/{n}"), &n, arrived()).await.unwrap();
        assert!(receipt.dot.actor == new && receipt.reached.pipeline);
    }
    let receipt = write.await.expect("no panic").unwrap();
    assert_eq!(receipt.dot.actor, old);
    assert!(!receipt.reached.pipeline && !receipt.reached.enough, "{:?}", receipt.reached);
}

#[tokio::test]
async fn what_is_queued_under_two_identities_reaches_the_log_under_both() {
    let config = MemoryConfig { ack_timeout: Duration::from_millis(50), ..MemoryConfig::default() };
    let broker = MemoryBroker::new(config);
    // The copy has as much in its outbox as is written under the next identity.
    let us = island_cut_off(&broker, "us-east", MemoryStore::new()).await;
    for n in 0..5 {
        us.master.write(format!("old/{n}"), &n).await.unwrap();
    }
    let backup = us.store.copy();
    us.link.heal();
    us.master.write_with("since", &1, arrived()).await.unwrap();
    us.master.close().await.unwrap();

    let restored = island_cut_off(&broker, "us-east", backup).await;
    let mut told = restored.master.subscribe();
    // It finds out before anything gets through.
    broker.set_fault_rates(FaultRates { lose_message: 1.0, ..FaultRates::default() });
    restored.link.heal();
    let (old, new) = reincarnated(&mut told).await;
    for n in 0..5 {
        restored.master.write(format!("new/{n}"), &n).await.unwrap();
    }
    assert_eq!(restored.master.metrics().outbox_len, 10);
    broker.set_fault_rates(FaultRates::default());
    let last = restored.master.write_with("last", &1, arrived()).await.unwrap();
    assert!(last.reached.pipeline);

    let mut log = broker.pipeline(NAMESPACE).subscribe(0).await.expect("there is a log");
    let mut dots = BTreeSet::new();
    while !dots.contains(&last.dot) {
        let payload = log.next().await.expect("a message").payload.expect("it is small");
        let batch = EventBatch::decode(payload, &Limits::default()).expect("only writes");
        dots.extend(batch.events.into_iter().map(|event| event.dot));
    }
    for (replica, sequences) in [(old, 1..=5), (new, 1..=5)] {
        for sequence in sequences {
            let dot = Dot::new(replica.clone(), sequence);
            assert!(dots.contains(&dot), "{dot} left the outbox, and is not in the log: {dots:?}");
        }
    }
}

#[tokio::test]
async fn two_masters_on_copies_of_one_store_part_and_lose_nothing() {
    let broker = broker();
    let (us, eu) = (
        island(&broker, "us-east", MemoryStore::new()).await,
        island(&broker, "eu-west", MemoryStore::new()).await,
    );
    us.master.write("before", &1).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    us.master.close().await.unwrap();
    let one = island(&broker, "us-east", us.store.copy()).await;
    let two = island(&broker, "us-east", us.store.copy()).await;
    let (mut told_one, mut told_two) = (one.master.subscribe(), two.master.subscribe());
    for n in 0..30 {
        one.master.write(format!("one/{n}"), &n).await.unwrap();
        two.master.write(format!("two/{n}"), &n).await.unwrap();
    }
    let (_, new_one) = reincarnated(&mut told_one).await;
    let (_, new_two) = reincarnated(&mut told_two).await;
    assert_ne!(new_one, new_two);
    for n in 30..40 {
        one.master.write(format!("one/{n}"), &n).await.unwrap();
        two.master.write(format!("two/{n}"), &n).await.unwrap();
    }
    converge(&[&one.master, &two.master, &eu.master]).await;
    for n in 0..40 {
        assert_eq!(eu.master.read(&format!("one/{n}")).await.unwrap(), Some(n));
        assert_eq!(eu.master.read(&format!("two/{n}")).await.unwrap(), Some(n));
    }
}
