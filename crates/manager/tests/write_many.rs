//! Many writes handed over together are so many writes.

mod support;

use archipelago_conflict::Strategy;
use archipelago_crdt::{Value, value};
use archipelago_manager::{MultiMasterManager, Schema, WriteError, WriteReceipt};
use archipelago_proto::Limits;
use archipelago_store::MemoryStore;
use support::{Island, broker, converge, options};

type Outcome = Result<WriteReceipt, WriteError>;

fn sequences(outcomes: &[Outcome]) -> Vec<u64> {
    outcomes.iter().flatten().map(|receipt| receipt.dot.sequence).collect()
}

async fn read(master: &MultiMasterManager, id: &str) -> Option<Value> {
    master.read(id).await.expect("it can be read")
}

#[tokio::test]
async fn each_has_a_receipt_of_its_own_in_the_order_given() {
    let broker = broker();
    let us = Island::start(&broker, "us", Strategy::Lww).await.master;
    let eu = Island::start(&broker, "eu", Strategy::Lww).await.master;
    // More than are under way at a time, and not a whole number of portions; the same entities again and again.
    let outcomes = us.write_many((0..1_000_u32).map(|n| (format!("e{}", n % 7), n))).await;
    assert_eq!(sequences(&outcomes), (1..=1_000).collect::<Vec<_>>());
    for (n, receipt) in outcomes.iter().flatten().enumerate() {
        assert_eq!(&*receipt.entity_id, format!("e{}", n % 7));
        assert_eq!(receipt.master_id, us.master_id());
        assert_eq!(receipt.token.vector().get(&us.master_id()), receipt.dot.sequence);
        assert!(receipt.reached.enough);
    }
    converge(&[&us, &eu]).await;
    for (last, entity) in [(994, "e0"), (999, "e5"), (993, "e6")] {
        assert_eq!(eu.read::<u32>(entity).await.unwrap(), Some(last));
    }
    assert!(us.write_many(Vec::<(String, u32)>::new()).await.is_empty());
}

#[tokio::test]
async fn what_is_refused_is_told_in_its_place_and_holds_up_nothing() {
    let us = Island::start(&broker(), "us", Strategy::Lww).await.master;
    let huge = "x".repeat(Limits::default().value_bytes_max + 1);
    let values = [("a", "1"), ("", "2"), ("b", &huge), ("c", "4")];
    let outcomes = us.write_many(values).await;
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok());
    let [_, Err(no_id), Err(too_large), _] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(no_id.to_string().contains("id"), "{no_id}");
    assert!(too_large.to_string().contains("value_bytes_max"), "{too_large}");
    assert_eq!(sequences(&outcomes), [1, 2]);
    assert_eq!(read(&us, "c").await, Some("4".into()));
    assert_eq!(read(&us, "b").await, None);
}

#[tokio::test]
async fn the_bound_of_the_outbox_counts_each_of_them() {
    let us = options("us", Strategy::Lww).outbox_events_max(3);
    let us = Island::on(&broker(), us, MemoryStore::new()).await;
    us.link.cut();
    let outcomes = us.master.write_many((0..5).map(|n| (n.to_string(), n))).await;
    assert_eq!(sequences(&outcomes), [1, 2, 3]);
    assert!(outcomes[3..].iter().all(|full| matches!(full, Err(WriteError::OutboxFull { .. }))));
    us.link.heal();
    assert_eq!(us.master.close().await.unwrap().outbox_len, 0);
}

#[tokio::test]
async fn what_depends_on_what_stands_finds_what_was_given_before() {
    let broker = broker();
    let old = Island::start(&broker, "old", Strategy::FieldMerge).await.master;
    let new = options("new", Strategy::FieldMerge).schema("user/", Schema::version(2).upcast(1, |_| Ok(())));
    let new = Island::on(&broker, new, MemoryStore::new()).await.master;
    new.write("user/2", &value!({ "name": "Ann" })).await.unwrap();
    converge(&[&old, &new]).await;
    let values = [
        ("user/1", value!({ "name": "Bob", "phone": "1" })),
        ("user/1", value!({ "name": "Cy" })),
        ("user/2", value!({ "name": "Dee" })),
    ];
    let outcomes = old.write_many(values).await;
    assert!(outcomes[..2].iter().all(Result::is_ok), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(WriteError::NewerSchema { found: 2, known: 1, .. })), "{outcomes:?}");
    assert_eq!(read(&old, "user/1").await, Some(value!({ "name": "Cy" })));
    assert_eq!(read(&old, "user/2").await, Some(value!({ "name": "Ann" })));
}

#[tokio::test]
async fn a_closed_master_refuses_each() {
    let us = Island::start(&broker(), "us", Strategy::Lww).await.master;
    us.close().await.unwrap();
    let outcomes = us.write_many((0..100).map(|n| (n.to_string(), n))).await;
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(WriteError::Closed))));
}
