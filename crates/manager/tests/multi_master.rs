//! What masters promise, on the memory pipeline.

mod support;

use std::{collections::BTreeMap, time::Duration};

use archipelago_conflict::Strategy;
use archipelago_crdt::Value;
use archipelago_manager::{LinkState, Notification, ReadError, StartError, WriteError};
use archipelago_pipeline::Pipeline;
use archipelago_store::MemoryStore;
use serde::{Deserialize, Serialize};
use support::{DEADLINE, Island, NAMESPACE, TestClock, archipelago, broker, converge, notified, options};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
}

fn user(name: &str, phone: Option<&str>) -> User {
    User { name: name.into(), phone: phone.map(Into::into) }
}

#[tokio::test]
async fn a_write_is_read_at_once_here_and_soon_everywhere() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::Lww).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    let receipt = us.write("user/7", &user("Alice", None)).await.unwrap();
    assert_eq!(receipt.dot.sequence, 1);
    assert_eq!(receipt.master_id, us.master_id());
    assert_eq!(us.read("user/7").await.unwrap(), Some(user("Alice", None)));
    for other in [eu, ap] {
        assert!(other.wait_for(&receipt.token, DEADLINE).await);
        assert_eq!(other.read("user/7").await.unwrap(), Some(user("Alice", None)));
    }
    let gone = eu.delete("user/7").await.unwrap();
    assert!(us.wait_for(&gone.token, DEADLINE).await);
    assert_eq!(us.read::<User>("user/7").await.unwrap(), None);
    converge(&[us, eu, ap]).await;
}

#[tokio::test]
async fn writes_on_both_sides_of_a_partition_meet_and_the_later_one_wins() {
    let (broker, clock) = (broker(), TestClock::at(1_000_000));
    let mut islands = Vec::new();
    for name in ["us-east", "eu-west", "ap-south"] {
        let options =
            options(name, Strategy::Lww).clock(clock.clone()).max_drift(Duration::from_secs(10_000));
        islands.push(Island::on(&broker, options, MemoryStore::new()).await);
    }
    let islands: [Island; 3] = islands.try_into().expect("three");
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    let base = us.write("user/7", &user("Alice", None)).await.unwrap();
    assert!(ap.wait_for(&base.token, DEADLINE).await);

    let mut events = ap.subscribe();
    islands[2].link.cut();
    notified(&mut events, |n| matches!(n, Notification::PipelineDown { .. }).then_some(())).await;
    assert!(matches!(ap.link_state(), LinkState::Down { .. }));
    us.write("user/7", &user("Bob", None)).await.unwrap();
    clock.set(2_000_000);
    let late = ap.write("user/7", &user("Carol", None)).await.unwrap();
    assert!(late.queued);
    assert_eq!(ap.metrics().outbox_len, 1);

    islands[2].link.heal();
    notified(&mut events, |n| matches!(n, Notification::PipelineUp).then_some(())).await;
    converge(&[us, eu, ap]).await;
    for master in [us, eu, ap] {
        assert_eq!(master.read("user/7").await.unwrap(), Some(user("Carol", None)), "{}", master.master_id());
        assert_eq!(master.metrics().outbox_len, 0);
    }
    // Whoever saw Bob first saw Carol as concurrent, and the other way round.
    let conflicts = us.conflicts();
    let report = conflicts.iter().find(|report| &*report.entity_id == "user/7").expect("a conflict was seen");
    assert_eq!(report.clashes[0].winner.dot, late.dot);
    assert_eq!(report.clashes[0].reason, "it was written later");
    let loser = report.clashes[0].loser.value.as_ref().and_then(|value| value.get("name"));
    assert_eq!(loser, Some(&Value::from("Bob")));
    assert!(us.metrics().conflicts_detected >= 1);
}

#[tokio::test]
async fn under_field_merge_different_fields_of_one_record_both_stay() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::FieldMerge).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    let base = us.write("user/7", &user("Alice", Some("1"))).await.unwrap();
    assert!(ap.wait_for(&base.token, DEADLINE).await);
    islands[2].link.cut();
    us.write("user/7", &user("Alicia", Some("1"))).await.unwrap();
    ap.write("user/7", &user("Alice", Some("2"))).await.unwrap();
    ap.patch("user/7", &BTreeMap::from([("city", "Pune")])).await.unwrap();
    islands[2].link.heal();
    converge(&[us, eu, ap]).await;
    for master in [us, eu, ap] {
        assert_eq!(master.read("user/7").await.unwrap(), Some(user("Alicia", Some("2"))));
        let city = master.read::<BTreeMap<String, String>>("user/7").await.unwrap().unwrap()["city"].clone();
        assert_eq!(city, "Pune");
        assert!(!master.conflicts().iter().any(|report| &*report.entity_id == "user/7"), "nothing clashed");
    }
    let view = us.entity("user/7").await.unwrap().unwrap();
    assert_eq!(view.versions.len(), 3, "three writes still win a field each");
}

#[tokio::test]
async fn a_restarted_master_goes_on_where_it_was() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::Lww).await;
    let [us, eu, _] = islands.each_ref().map(|island| &island.master);
    for n in 0..20 {
        us.write(format!("n/{n}"), &n).await.unwrap();
        eu.write(format!("n/{n}"), &(100 + n)).await.unwrap();
    }
    let [us, eu, ap] = islands;
    converge(&[&us.master, &eu.master, &ap.master]).await;
    // Cut off, so that what it writes now must survive in the outbox.
    us.link.cut();
    // Two writes of one millisecond contend by name, so either may have won.
    let won: Option<i32> = us.master.read("n/3").await.unwrap();
    let identity = us.master.master_id();
    let queued = us.master.write("queued", &1).await.unwrap();
    drop(us.master);
    let us = Island::on(&broker, options("us-east", Strategy::Lww), us.store.reopen()).await;
    assert_eq!(us.master.master_id(), identity, "the same incarnation on the same store");
    assert_eq!(us.master.read("n/3").await.unwrap(), won);
    let next = us.master.write("next", &2).await.unwrap();
    assert_eq!(next.dot.sequence, queued.dot.sequence + 1);
    assert!(next.hlc > queued.hlc);
    assert!(eu.master.wait_for(&next.token, DEADLINE).await);
    assert_eq!(eu.master.read("queued").await.unwrap(), Some(1));
    converge(&[&us.master, &eu.master, &ap.master]).await;
    assert_eq!(
        us.master.metrics().events_applied,
        2,
        "only the others' fences are new: the checkpoint holds"
    );
}

#[tokio::test]
async fn an_empty_store_is_a_new_incarnation_that_catches_up_from_the_log() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Lww).await;
    let old = us.master.write("a", &1).await.unwrap();
    assert!(eu.master.wait_for(&old.token, DEADLINE).await);
    us.master.close().await.unwrap();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let new = us.master.write("b", &2).await.unwrap();
    assert_ne!(new.master_id, old.master_id);
    assert_eq!(new.dot.sequence, 1);
    assert!(us.master.wait_for(&old.token, DEADLINE).await, "its own old events come back from the log");
    converge(&[&us.master, &eu.master]).await;
}

#[tokio::test]
async fn without_a_pipeline_a_master_works_and_queues() {
    let store = MemoryStore::new();
    let master = options("solo", Strategy::Lww).store(store.clone()).start().await.unwrap();
    assert_eq!(master.link_state(), LinkState::Absent);
    assert!(master.write("a", &1).await.unwrap().queued);
    assert_eq!(master.close().await.unwrap().outbox_len, 1);
    assert!(matches!(master.write("a", &2).await, Err(WriteError::Closed)));
    assert!(matches!(master.state_digest().await, Err(ReadError::Closed)));
    let broker = broker();
    let joined = Island::on(&broker, options("solo", Strategy::Lww), store.reopen()).await;
    let other = Island::start(&broker, "other", Strategy::Lww).await;
    converge(&[&joined.master, &other.master]).await;
    assert_eq!(other.master.read("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_failed_commit_is_told_to_its_writers_and_stops_all_further_writes() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    us.master.write("a", &1).await.unwrap();
    us.store.fail_next_commit("disk full");
    let error = us.master.write("a", &2).await.unwrap_err();
    assert!(matches!(&error, WriteError::StoreFailed { reason } if reason.contains("disk full")), "{error}");
    assert!(matches!(us.master.write("a", &3).await, Err(WriteError::StoreFailed { .. })));
    drop(us.master);
    let us = Island::on(&broker, options("us-east", Strategy::Lww), us.store.reopen()).await;
    assert_eq!(us.master.read("a").await.unwrap(), Some(1));
    us.master.write("a", &4).await.unwrap();
}

#[tokio::test]
async fn the_outbox_is_bounded() {
    let broker = broker();
    let us =
        Island::on(&broker, options("us-east", Strategy::Lww).outbox_events_max(3), MemoryStore::new()).await;
    us.link.cut();
    for n in 0..3 {
        us.master.write("a", &n).await.unwrap();
    }
    let error = us.master.write("a", &3).await.unwrap_err();
    assert!(matches!(error, WriteError::OutboxFull { outbox_events: 3 }) && error.is_retryable());
    us.link.heal();
    assert_eq!(us.master.close().await.unwrap().outbox_len, 0, "close flushes what is queued");
}

#[tokio::test]
async fn what_queued_up_by_small_commits_travels_in_few_messages() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Lww).await;
    converge(&[&us.master, &eu.master]).await;
    let log = broker.pipeline(NAMESPACE);
    let before = log.state().await.unwrap().last_sequence;
    us.link.cut();
    for n in 0..600 {
        // Each waits for its commit.
        us.master.write(format!("n/{n}"), &n).await.unwrap();
    }
    us.link.heal();
    converge(&[&us.master, &eu.master]).await;
    // The two fences of converging are among them.
    let messages = log.state().await.unwrap().last_sequence - before;
    assert!(messages <= 10, "{messages}");
    assert_eq!(eu.master.read("n/599").await.unwrap(), Some(599));
}

#[tokio::test]
async fn a_store_of_another_master_or_namespace_is_refused() {
    let store = MemoryStore::new();
    let us = options("us-east", Strategy::Lww).store(store.clone()).start().await.unwrap();
    us.close().await.unwrap();
    let error = options("eu-west", Strategy::Lww).store(store.reopen()).start().await.unwrap_err();
    assert!(matches!(error, StartError::ForeignStore { what: "master", .. }), "{error}");
    let other = options("us-east", Strategy::Lww).namespace("places").store(store.reopen()).start().await;
    assert!(matches!(other, Err(StartError::ForeignStore { what: "namespace", .. })));
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_by_name() {
    let name = |error| match error {
        StartError::Option { option, .. } => option,
        other => panic!("{other}"),
    };
    let no_store = options("a", Strategy::Lww).start().await.unwrap_err();
    assert_eq!(name(no_store), "store");
    let bad_name = options("a.b", Strategy::Lww).store(MemoryStore::new()).start().await.unwrap_err();
    assert_eq!(name(bad_name), "master_id");
    let no_buffer = options("a", Strategy::Lww).event_buffer_size(0).store(MemoryStore::new()).start().await;
    assert_eq!(name(no_buffer.unwrap_err()), "event_buffer_size");
}

#[tokio::test]
async fn ids_are_listed_in_order_by_prefix_and_page() {
    let store = MemoryStore::new();
    let us = options("us-east", Strategy::Lww).store(store).start().await.unwrap();
    for n in 0..300 {
        us.write(format!("n/{n:03}"), &n).await.unwrap();
    }
    us.write("m", &0).await.unwrap();
    us.write("o", &0).await.unwrap();
    us.delete("n/001").await.unwrap();
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = us.entity_ids("n/", after.as_deref(), 70).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.to_string());
        listed.extend(page.iter().map(ToString::to_string));
    }
    let expected: Vec<String> = (0..300).filter(|n| *n != 1).map(|n| format!("n/{n:03}")).collect();
    assert_eq!(listed, expected);
    assert_eq!(us.entity_ids("", None, 1000).await.unwrap().len(), 301);
}

#[tokio::test]
async fn concurrent_writers_share_commits_and_all_are_acknowledged() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Lww).await;
    let writes = (0..500).map(|n| {
        let master = us.master.clone();
        async move { master.write(format!("n/{}", n % 50), &n).await }
    });
    let receipts = futures::future::join_all(writes).await;
    let mut sequences: Vec<u64> = receipts.into_iter().map(|receipt| receipt.unwrap().dot.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=500).collect::<Vec<_>>());
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(eu.master.metrics().events_applied, 501);
}

#[tokio::test]
async fn without_a_pipeline_writes_go_on_and_who_comes_later_gets_what_left_the_outbox() {
    let (store, writes) = (MemoryStore::new(), 100);
    let alone = options("us-east", Strategy::Lww).outbox_events_max(10);
    let alone = alone.store(store.clone()).start().await.unwrap();
    for n in 0..writes {
        alone.write(format!("entity/{n}"), &n).await.unwrap();
    }
    assert_eq!(alone.close().await.unwrap().outbox_len, 10, "what is newest waits, the rest has left");

    let broker = broker();
    let us = Island::on(&broker, options("us-east", Strategy::Lww), store.reopen()).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Lww).await;
    converge(&[&us.master, &eu.master]).await;
    for n in 0..writes {
        assert_eq!(eu.master.read::<i32>(format!("entity/{n}").as_str()).await.unwrap(), Some(n));
    }
    assert_eq!(us.master.close().await.unwrap().outbox_len, 0);
}
