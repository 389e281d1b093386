//! Replicas that no pipeline reaches exchange what they lack as bytes, by any road.

mod support;

use std::{ops::Bound, time::Duration};

use archipelago_conflict::Strategy;
use archipelago_manager::{ImportError, Imported, LinkState, MultiMasterManager, Notification, SessionToken};
use archipelago_pipeline::MemoryBroker;
use archipelago_proto::{ChangesPart, Limits};
use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use support::{Island, broker, converge, notified, options};

async fn client(name: &str, store: MemoryStore) -> MultiMasterManager {
    options(name, Strategy::FieldMerge).store(store).start().await.expect("a sound store")
}

/// What `giver` has and `taker` lacks.
async fn changes(giver: &MultiMasterManager, taker: &MultiMasterManager) -> Vec<Bytes> {
    giver.changes_since(&taker.session_token()).all().await.expect("open")
}

async fn give(giver: &MultiMasterManager, taker: &MultiMasterManager) {
    for part in changes(giver, taker).await {
        taker.import(part).await.expect("a sound part");
    }
}

async fn same_state(left: &MultiMasterManager, right: &MultiMasterManager) {
    let [left, right] = [left, right].map(MultiMasterManager::state_digest);
    assert_eq!(left.await.expect("open"), right.await.expect("open"));
}

/// About 1.5 MB, so that an export has several parts.
async fn fill(master: &MultiMasterManager, prefix: &str) {
    for number in 0..30 {
        master.write(format!("{prefix}/{number}"), &"x".repeat(50_000)).await.expect("a write");
    }
}

#[tokio::test]
async fn two_replicas_without_a_pipeline_exchange_what_they_wrote() {
    let (phone, laptop) =
        (client("phone", MemoryStore::new()).await, client("laptop", MemoryStore::new()).await);
    assert_eq!(phone.link_state(), LinkState::Absent);
    phone.write("note/1", &[("title", "from the phone")].map(|(k, v)| (k.to_owned(), v))).await.unwrap();
    laptop.write("note/2", &1).await.unwrap();
    give(&phone, &laptop).await;
    give(&laptop, &phone).await;
    same_state(&phone, &laptop).await;
    let nothing = changes(&phone, &laptop).await;
    assert_eq!(nothing.len(), 1);
    assert_eq!(laptop.import(nothing[0].clone()).await.unwrap(), Imported::Known);
    laptop.delete("note/1").await.unwrap();
    give(&laptop, &phone).await;
    same_state(&phone, &laptop).await;
    assert_eq!(phone.read::<dynamic::Any>("note/1").await.unwrap(), None);
}

/// A type that any value can be read as.
mod dynamic {
    pub(super) type Any = archipelago_crdt::Value;
}

#[tokio::test]
async fn parts_come_in_any_order_and_again_and_survive_a_restart_until_all_are_there() {
    let giver = client("giver", MemoryStore::new()).await;
    fill(&giver, "n").await;
    let mut parts = changes(&giver, &client("nobody", MemoryStore::new()).await).await;
    assert!(parts.len() > 4, "{}", parts.len());
    parts.shuffle(&mut StdRng::seed_from_u64(7));
    let store = MemoryStore::new();
    let mut taker = client("taker", store.clone()).await;
    let mut store = store;
    let last = parts.pop().unwrap();
    for part in &parts {
        for _ in 0..2 {
            assert_eq!(taker.import(part.clone()).await.unwrap(), Imported::WaitsForParts);
        }
        assert!(taker.vector_clock().is_empty(), "nothing is visible before all of it is");
        taker.close().await.unwrap();
        store = store.reopen();
        taker = client("taker", store.clone()).await;
    }
    assert_eq!(taker.import(last.clone()).await.unwrap(), Imported::Merged { entities: 30 });
    same_state(&giver, &taker).await;
    assert!(store.scan(Table::Staged, Bound::Unbounded, Bound::Unbounded, 1).unwrap().is_empty());
    // Months later.
    taker.write("n/0", &"newer").await.unwrap();
    for part in parts.iter().chain([&last]) {
        taker.import(part.clone()).await.unwrap();
    }
    assert_eq!(taker.read::<String>("n/0").await.unwrap().as_deref(), Some("newer"));
}

#[tokio::test]
async fn an_export_waits_for_the_one_that_it_builds_on() {
    let (giver, taker) =
        (client("giver", MemoryStore::new()).await, client("taker", MemoryStore::new()).await);
    giver.write("a", &1).await.unwrap();
    let first = giver.changes_since(&SessionToken::default()).all().await.unwrap();
    let between = giver.session_token();
    giver.write("a", &2).await.unwrap();
    giver.write("b", &2).await.unwrap();
    let second = giver.changes_since(&between).all().await.unwrap();
    assert_eq!(taker.import(second[0].clone()).await.unwrap(), Imported::WaitsForChanges);
    assert_eq!(taker.read::<i32>("b").await.unwrap(), None);
    assert_eq!(taker.import(first[0].clone()).await.unwrap(), Imported::Merged { entities: 3 });
    same_state(&giver, &taker).await;
}

#[tokio::test]
async fn what_is_written_while_parts_are_made_is_in_them_or_left_for_the_next_time() {
    let giver = client("giver", MemoryStore::new()).await;
    fill(&giver, "n").await;
    let taker = client("taker", MemoryStore::new()).await;
    let mut changes = giver.changes_since(&SessionToken::default());
    let mut turn = 0;
    while let Some(part) = changes.next().await.unwrap() {
        taker.import(part).await.unwrap();
        if turn < 20 {
            giver.write(format!("n/{turn}"), &turn).await.unwrap();
            giver.delete(format!("n/{}", 29 - turn)).await.unwrap();
        }
        turn += 1;
    }
    assert!(!taker.vector_clock().is_empty());
    give(&giver, &taker).await;
    same_state(&giver, &taker).await;
}

#[tokio::test]
async fn a_store_of_a_build_without_an_index_of_live_writes_gets_one_when_it_is_opened() {
    let store = MemoryStore::new();
    let giver = client("giver", store.clone()).await;
    fill(&giver, "n").await;
    giver.delete("n/7").await.unwrap();
    giver.close().await.unwrap();
    let mut older = Batch::new();
    let store = store.reopen();
    for row in store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap() {
        older.remove(Table::Live, row.key);
    }
    older.put(Table::Meta, "format", 1u32.to_be_bytes().to_vec());
    store.commit(older, Durability::Fsync).unwrap();
    let giver = client("giver", store.clone()).await;
    let taker = client("taker", MemoryStore::new()).await;
    give(&giver, &taker).await;
    same_state(&giver, &taker).await;
    // And it follows what is written from then on.
    giver.write("n/8", &1).await.unwrap();
    give(&giver, &taker).await;
    same_state(&giver, &taker).await;
    assert_eq!(store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap().len(), 30);
}

#[tokio::test]
async fn a_store_of_a_build_with_a_row_for_each_live_write_is_opened_as_it_is_and_not_by_that_build_again() {
    let store = MemoryStore::new();
    let giver = client("giver", store.clone()).await;
    fill(&giver, "n").await;
    let token = giver.vector_clock();
    giver.close().await.unwrap();
    let store = store.reopen();
    let mut older = Batch::new();
    for row in store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap() {
        assert_eq!(row.key.len(), 12, "one write after the other: all come in runs, and none is superseded");
        let run: Vec<(u64, String)> = rmp_serde::from_slice(&row.value).unwrap();
        let first = u64::from_be_bytes(row.key[4..].try_into().unwrap());
        for (at, entity) in run {
            let sequence = first / 64 * 64 + at;
            let key = [&row.key[..4], &sequence.to_be_bytes(), entity.as_bytes()].concat();
            older.put(Table::Live, key, Bytes::new());
        }
        older.remove(Table::Live, row.key);
    }
    older.put(Table::Meta, "format", 3u32.to_be_bytes().to_vec());
    store.commit(older, Durability::Fsync).unwrap();
    let giver = client("giver", store.clone()).await;
    assert_eq!(giver.vector_clock(), token);
    assert_eq!(store.get(Table::Meta, b"format").unwrap().as_deref(), Some(&4u32.to_be_bytes()[..]));
    let taker = client("taker", MemoryStore::new()).await;
    give(&giver, &taker).await;
    same_state(&giver, &taker).await;
    giver.write("n/8", &1).await.unwrap();
    giver.delete("n/9").await.unwrap();
    give(&giver, &taker).await;
    same_state(&giver, &taker).await;
    let singles = |row: &archipelago_store::Row| row.key.len() > 12;
    let rows = store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
    assert_eq!(rows.iter().filter(|row| singles(row)).count(), 28, "each goes as it is superseded");
}

#[tokio::test]
async fn bad_parts_are_refused_by_name_and_change_nothing() {
    let giver = client("giver", MemoryStore::new()).await;
    fill(&giver, "n").await;
    let parts = giver.changes_since(&SessionToken::default()).all().await.unwrap();
    let taker = client("taker", MemoryStore::new()).await;
    for garbage in [Bytes::new(), Bytes::from_static(b"random bytes"), parts[0].slice(..parts[0].len() - 1)] {
        assert!(matches!(taker.import(garbage).await, Err(ImportError::Decode(_))));
    }
    let mut damaged = parts[0].to_vec();
    damaged[1_000] ^= 1;
    assert!(matches!(taker.import(damaged).await, Err(ImportError::Decode(_))));
    let elsewhere = options("taker", Strategy::FieldMerge).namespace("elsewhere").store(MemoryStore::new());
    let elsewhere = elsewhere.start().await.unwrap();
    let foreign = elsewhere.import(parts[0].clone()).await.unwrap_err();
    assert!(
        matches!(&foreign, ImportError::ForeignNamespace { found, .. } if found == support::NAMESPACE),
        "{foreign}"
    );
    let small = options("small", Strategy::FieldMerge).import_bytes_max(400_000).store(MemoryStore::new());
    let small = small.start().await.unwrap();
    small.import(parts[0].clone()).await.unwrap();
    let full = small.import(parts[1].clone()).await.unwrap_err();
    assert!(matches!(full, ImportError::TooMuch { bytes_max: 400_000, .. }), "{full}");
    small.import(parts[0].clone()).await.unwrap();
    taker.close().await.unwrap();
    assert!(matches!(taker.import(parts[0].clone()).await, Err(ImportError::Closed | ImportError::Store(_))));
}

#[tokio::test]
async fn a_part_with_the_greatest_index_there_is_waits_like_any_other() {
    let giver = client("giver", MemoryStore::new()).await;
    giver.write("a", &1).await.unwrap();
    let parts = giver.changes_since(&SessionToken::default()).all().await.unwrap();
    let part = ChangesPart::decode(parts[0].clone(), &Limits::default(), usize::MAX).unwrap();
    let taker = client("taker", MemoryStore::new()).await;
    let forged = ChangesPart { index: u64::MAX, ..part };
    assert_eq!(taker.import(forged.encode()).await.unwrap(), Imported::WaitsForParts);
    assert!(taker.vector_clock().is_empty());
}

#[tokio::test]
async fn a_replica_that_was_restored_from_an_old_copy_goes_on_under_a_new_identity() {
    let store = MemoryStore::new();
    let phone = client("phone", store.clone()).await;
    let laptop = client("laptop", MemoryStore::new()).await;
    phone.write("a", &1).await.unwrap();
    let backup = store.copy();
    phone.write("a", &2).await.unwrap();
    give(&phone, &laptop).await;
    let restored = client("phone", backup).await;
    // Before it finds out, it writes under a sequence that is taken.
    restored.write("mine", &3).await.unwrap();
    let (identity, mut told) = (restored.master_id(), restored.subscribe());
    phone.write("b", &1).await.unwrap();
    phone.write("c", &1).await.unwrap();
    give(&phone, &laptop).await;
    give(&laptop, &restored).await;
    let writes = notified(&mut told, |notification| match notification {
        Notification::Reincarnated { old, writes, .. } => Some((old, writes)),
        _ => None,
    });
    assert_eq!(writes.await, (identity, 1));
    restored.write("more", &4).await.unwrap();
    give(&laptop, &restored).await;
    give(&restored, &laptop).await;
    same_state(&laptop, &restored).await;
    for (entity, value) in [("a", 2), ("b", 1), ("mine", 3), ("more", 4)] {
        assert_eq!(laptop.read(entity).await.unwrap(), Some(value), "{entity}");
    }
}

/// Clients that are offline most of the time and masters on a pipeline that meet now and then, in any pairs.
#[tokio::test]
async fn clients_and_masters_that_meet_now_and_then_converge() {
    for seed in 0..10 {
        let mut dice = StdRng::seed_from_u64(seed);
        let broker: MemoryBroker = broker();
        let master = |name: &'static str| {
            let options = options(name, Strategy::FieldMerge).heartbeat_interval(Duration::from_millis(20));
            Island::on(&broker, options, MemoryStore::new())
        };
        let (east, west) = (master("us-east").await, master("eu-west").await);
        let (phone, laptop) =
            (client("phone", MemoryStore::new()).await, client("laptop", MemoryStore::new()).await);
        let all = [&east.master, &west.master, &phone, &laptop];
        for turn in 0..60 {
            let replica = all[dice.random_range(0..4)];
            let entity = format!("n/{}", dice.random_range(0..8));
            match dice.random_range(0..6) {
                0 => drop(replica.delete(entity).await.unwrap()),
                1..4 => {
                    let field = ["a", "b", "c"][dice.random_range(0..3)];
                    let fields = std::collections::BTreeMap::from([(field, turn)]);
                    drop(replica.patch(entity, &fields).await.unwrap());
                }
                _ => {
                    let other = all[dice.random_range(0..4)];
                    if !std::ptr::eq(other, replica) {
                        give(other, replica).await;
                    }
                }
            }
        }
        for _ in 0..2 {
            for (giver, taker) in [(&phone, &east.master), (&laptop, &east.master)] {
                give(giver, taker).await;
                converge(&[&east.master, &west.master]).await;
                give(&west.master, &phone).await;
                give(&west.master, &laptop).await;
            }
        }
        same_state(&phone, &laptop).await;
        same_state(&phone, &west.master).await;
    }
}
