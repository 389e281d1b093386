//! What is in the store of a master that has ended.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, sync::Arc};

use archipelago_conflict::Strategy;
use archipelago_manager::{MasterAtRest, MultiMasterManager, WriteOptions};
use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};

const STRATEGIES: [Strategy; 6] = [
    Strategy::Lww,
    Strategy::FieldMerge,
    Strategy::CrdtMerge,
    Strategy::VersionVector,
    Strategy::Manual,
    Strategy::Detect,
];

/// A master that has written, also without having seen its own writes.
async fn master(store: MemoryStore, strategy: Strategy) -> MultiMasterManager {
    let builder = MultiMasterManager::builder().master_id("us").namespace("shop").conflict_strategy(strategy);
    let master = builder.store(store).start().await.unwrap();
    let base = master.write("a", &BTreeMap::from([("x", 0), ("y", 0)])).await.unwrap();
    for (field, value) in [("x", 1), ("y", 2), ("x", 3)] {
        let seen = WriteOptions::default().seen(base.token.clone());
        master.patch_with("a", &BTreeMap::from([(field, value)]), seen).await.unwrap();
    }
    master.write("b", "removed").await.unwrap();
    master.delete("b").await.unwrap();
    master.write("c", &7_u32).await.unwrap();
    master
}

#[tokio::test]
async fn it_is_what_the_master_showed() {
    for strategy in STRATEGIES {
        let store = MemoryStore::new();
        let master = master(store.clone(), strategy).await;
        let mut shown = Vec::new();
        for id in ["a", "c"] {
            shown.push(master.entity(id).await.unwrap().unwrap());
        }
        let (id, vector) = (master.master_id(), master.vector_clock());
        master.close().await.unwrap();

        let at_rest = MasterAtRest::open(Arc::new(store.reopen())).unwrap().unwrap();
        assert_eq!((at_rest.namespace(), at_rest.master_id().to_string()), ("shop", id.to_string()));
        assert_eq!(*at_rest.vector_clock(), vector);
        for was in &shown {
            let is = at_rest.entity(&was.id).unwrap().unwrap();
            assert_eq!(
                (&is.value, is.conflicted, is.tag()),
                (&was.value, was.conflicted, was.tag()),
                "{strategy:?}"
            );
        }
        let listed = at_rest.entities("", None, 10).unwrap();
        let values = listed.iter().filter(|(_, row)| row.entity.as_ref().unwrap().value.is_some());
        assert_eq!(values.map(|(key, _)| &key[..]).collect::<Vec<_>>(), [b"a", b"c"], "{strategy:?}");
        assert!(at_rest.entities("a", Some(b"a"), 10).unwrap().is_empty());
        assert!(at_rest.entity("nobody").unwrap().is_none());
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let store = MemoryStore::new();
    master(store.clone(), Strategy::Lww).await.close().await.unwrap();
    let store = store.reopen();
    let mut batch = Batch::new();
    batch.put(Table::Entities, "a", "no record");
    batch.put(Table::Entities, vec![0xff], "no id");
    store.commit(batch, Durability::Memory).unwrap();
    let at_rest = MasterAtRest::open(Arc::new(store)).unwrap().unwrap();
    assert!(at_rest.entity("a").is_err());
    let listed = at_rest.entities("", None, 10).unwrap();
    let unreadable = listed.iter().filter(|(_, row)| row.entity.is_err()).map(|(_, row)| row.id.as_str());
    assert_eq!(unreadable.collect::<Vec<_>>(), ["a", "\\xff"]);
    assert!(listed.iter().any(|(_, row)| row.id == "c" && row.entity.is_ok()));
}

#[test]
fn a_store_without_a_master_is_none() {
    assert!(MasterAtRest::open(Arc::new(MemoryStore::new())).unwrap().is_none());
}
