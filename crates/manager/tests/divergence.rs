//! One byte in one value of one master changes behind its back: all are alarmed, the entity is named, and it is mended.

mod support;

use std::{sync::Arc, time::Duration};

use archipelago_conflict::Strategy;
use archipelago_engine::bucket_of;
use archipelago_manager::{
    DiffError, Held, MultiMasterBuilder, MultiMasterManager, Notification, Notifications, PeerView, Unmended,
};
use archipelago_pipeline::{MemoryBroker, Switch};
use archipelago_proto::{EntityId, MemberState};
use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use archipelago_store_fjall::FjallStore;
use support::{DEADLINE, Island, NAMESPACE, broker, converge, notified, options};

const INTERVAL: Duration = Duration::from_millis(20);
const NAMES: [&str; 3] = ["us-east", "eu-west", "ap-south"];

fn watchful(name: &str, strategy: Strategy) -> MultiMasterBuilder {
    options(name, strategy).heartbeat_interval(INTERVAL)
}

async fn three(broker: &MemoryBroker, strategy: Strategy) -> Vec<Island> {
    let mut islands = Vec::new();
    for name in NAMES {
        islands.push(Island::on(broker, watchful(name, strategy), MemoryStore::new()).await);
    }
    islands
}

/// Writes some records, and returns once all have them and have heard one another.
async fn fill(masters: &[&MultiMasterManager]) {
    for number in 0..50 {
        let writer = masters[number % masters.len()];
        writer
            .write(format!("user/{number}"), &format!("a person of number {number}"))
            .await
            .expect("a write");
    }
    converge(masters).await;
    for master in masters {
        peers_until(master, |peers| peers.len() == masters.len() - 1).await;
    }
}

/// Asks again and again until the peers are as wanted.
async fn peers_until(master: &MultiMasterManager, wanted: impl Fn(&[PeerView]) -> bool) {
    let asking = async {
        while !wanted(&master.peers().await.expect("open")) {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("the peers become as wanted");
}

/// Flips a bit in the last byte of the stored row, which is one of the value's.
fn flip(store: &dyn Store, entity: &str) {
    let mut row = store.get(Table::Entities, entity.as_bytes()).expect("a store").expect("a row").to_vec();
    *row.last_mut().expect("bytes") ^= 1;
    put(store, entity, row);
}

fn put(store: &dyn Store, entity: &str, row: impl Into<Vec<u8>>) {
    let mut batch = Batch::new();
    batch.put(Table::Entities, entity.as_bytes().to_vec(), row.into());
    store.commit(batch, Durability::Memory).expect("a store");
}

async fn is_alarmed_of(told: &mut Notifications, other: &str) {
    notified(told, |notification| match notification {
        Notification::Diverged { master_id } if master_id.name() == other => Some(()),
        _ => None,
    })
    .await;
}

async fn is_damaged(told: &mut Notifications) -> (Vec<u8>, Vec<EntityId>) {
    notified(told, |notification| match notification {
        Notification::Damaged { buckets, unreadable } => Some((buckets, unreadable)),
        _ => None,
    })
    .await
}

/// The alarm is over everywhere, and the states are one.
async fn is_over(masters: &[&MultiMasterManager]) {
    converge(masters).await;
    for master in masters {
        peers_until(master, |peers| peers.iter().all(|peer| !peer.diverged)).await;
    }
}

fn names(entities: &[archipelago_manager::Difference]) -> Vec<&str> {
    entities.iter().map(|difference| difference.entity_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_alarms_all_is_named_and_is_mended_under_live_writes() {
    let broker = broker();
    let islands = three(&broker, Strategy::Lww).await;
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    fill(&masters).await;
    let mut told: Vec<_> = masters.iter().map(|master| master.subscribe()).collect();

    let [east, west, south] = masters[..] else { panic!("three masters") };
    flip(&islands[1].store, "user/7");
    // Found by itself, and all are alarmed, each of the damaged one, which is alarmed of both.
    let (buckets, unreadable) = is_damaged(&mut told[1]).await;
    assert_eq!((buckets, unreadable), (vec![bucket_of(&"user/7".into())], vec![]));
    is_alarmed_of(&mut told[0], "eu-west").await;
    is_alarmed_of(&mut told[2], "eu-west").await;
    peers_until(west, |peers| peers.iter().all(|peer| peer.diverged)).await;

    // From here on all write all the time.
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = Vec::new();
    for master in &masters {
        let (master, stop) = ((*master).clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut number = 0_u64;
            while !stop.is_cancelled() {
                master.write(format!("live/{}", number % 20), &number).await.expect("a write");
                number += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            number
        }));
    }
    let survey = east.diff_all().await.expect("all can be asked");
    assert!(survey.unreached.is_empty(), "{:?}", survey.unreached);
    assert_eq!(survey.masters.len(), 3);
    let [disagreement] = &survey.disagreements[..] else { panic!("{:?}", survey.disagreements) };
    assert_eq!(disagreement.entity_id.as_str(), "user/7");
    assert_eq!(disagreement.dissenters, [west.master_id()]);
    assert_eq!(disagreement.majority, Some(disagreement.held[&east.master_id()]));
    for (master, other) in [(west, "us-east"), (east, "eu-west")] {
        let diff = master.diff(other).await.expect("it can be asked");
        assert_eq!(names(&diff.entities), ["user/7"]);
        assert_eq!(diff.buckets, [bucket_of(&"user/7".into())]);
        assert!(!diff.is_truncated && diff.in_flight.iter().all(|entity| entity.starts_with("live/")));
        let difference = &diff.entities[0];
        assert!(
            matches!((difference.here, difference.there), (Held::Value(ours), Held::Value(theirs)) if ours != theirs)
        );
    }
    assert_eq!(names(&east.diff("ap-south").await.expect("it can be asked").entities), [""; 0]);

    // Also from a task of its own.
    let mending = tokio::spawn({
        let west = west.clone();
        async move { west.repair_from("ap-south").await }
    });
    let mended = mending.await.expect("no panic").expect("it can be asked");
    assert_eq!(mended.replaced, [EntityId::from("user/7")]);
    assert_eq!((mended.joined.len(), mended.from), (0, south.master_id()));
    let replaced = notified(&mut told[1], |notification| match notification {
        Notification::Mended { replaced, .. } => Some(replaced),
        _ => None,
    });
    assert_eq!(replaced.await, 1);
    stop.cancel();
    for writer in writers {
        assert!(writer.await.expect("no panic") > 0);
    }
    is_over(&masters).await;
    assert_eq!(west.read::<String>("user/7").await.expect("sound").as_deref(), Some("a person of number 7"));
    assert!(west.diff("us-east").await.expect("it can be asked").is_empty());
}

#[tokio::test]
async fn damage_is_named_before_anything_has_found_it_and_what_cannot_be_understood_is_mended_too() {
    let broker = broker();
    let mut islands = Vec::new();
    for name in NAMES {
        let options = watchful(name, Strategy::FieldMerge).scrub_entities_per_beat(0);
        islands.push(Island::on(&broker, options, MemoryStore::new()).await);
    }
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    fill(&masters).await;
    let (east, west) = (masters[0], masters[1]);
    put(&islands[1].store, "user/1", "rubbish");
    let mut batch = Batch::new();
    batch.remove(Table::Entities, "user/2");
    islands[1].store.commit(batch, Durability::Memory).expect("a store");
    let copy = islands[1].store.get(Table::Entities, b"user/3").expect("a store").expect("a row");
    put(&islands[1].store, "added", copy);
    flip(&islands[1].store, "user/4");
    assert_eq!(west.metrics().scrubs, 0, "nothing is looked for");

    let diff = west.diff("us-east").await.expect("it can be asked");
    assert_eq!(names(&diff.entities), ["added", "user/1", "user/2", "user/4"]);
    let held: Vec<_> = diff.entities.iter().map(|difference| (difference.here, difference.there)).collect();
    assert!(matches!(held[0], (Held::Value(_), Held::Nothing)), "{held:?}");
    assert!(matches!(held[1], (Held::Unreadable, Held::Value(_))), "{held:?}");
    assert!(matches!(held[2], (Held::Nothing, Held::Value(_))), "{held:?}");
    assert!(!diff.vectors_differ && diff.in_flight.is_empty());
    peers_until(east, |peers| peers.iter().any(|peer| peer.diverged)).await;

    // In the wrong direction nothing is lost: what is visibly damaged there is not taken.
    let wrong = east.repair_from("eu-west").await.expect("it can be asked");
    let left: Vec<_> = wrong.left.iter().map(|(entity, why)| (entity.as_str(), *why)).collect();
    let damaged = Unmended::DamagedThere;
    assert_eq!(left, [("added", damaged), ("user/1", damaged), ("user/2", damaged)]);
    assert_eq!(wrong.replaced, [EntityId::from("user/4")], "a value that is one is what the operator chose");
    let back = east.repair_from("ap-south").await.expect("it can be asked");
    assert_eq!(back.replaced, [EntityId::from("user/4")]);

    let mended = west.repair_from("us-east").await.expect("it can be asked");
    let replaced: Vec<_> = mended.replaced.iter().map(EntityId::as_str).collect();
    assert_eq!(replaced, ["added", "user/1", "user/2", "user/4"]);
    is_over(&masters).await;
    assert_eq!(west.read::<String>("user/1").await.expect("sound").as_deref(), Some("a person of number 1"));
    let scrubbed = west.scrub().await.expect("open");
    assert_eq!((scrubbed.damaged, scrubbed.unreadable), (vec![], vec![]));
    assert_eq!(scrubbed.entities, 51, "those that were written, and the fence");
    west.write("user/1", "somebody else").await.expect("it can be written to again");
    is_over(&masters).await;
}

#[tokio::test]
async fn siblings_and_what_waits_for_a_resolution_are_mended() {
    let broker = broker();
    let islands = three(&broker, Strategy::Manual).await;
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    fill(&masters).await;
    let (east, west) = (masters[0], masters[1]);
    islands[0].link.cut();
    east.write("contract", "one").await.expect("a write");
    west.write("contract", "other").await.expect("a write");
    islands[0].link.heal();
    for master in &masters {
        let pending = async {
            while master.pending_conflicts(None, 10).await.expect("open").is_empty() {
                tokio::time::sleep(INTERVAL).await;
            }
        };
        tokio::time::timeout(DEADLINE, pending).await.expect("both writes are there");
    }
    converge(&masters).await;
    put(&islands[1].store, "contract", "rubbish");
    let mut batch = Batch::new();
    batch.remove(Table::Pending, "contract");
    islands[1].store.commit(batch, Durability::Memory).expect("a store");
    let mended = west.repair_from("us-east").await.expect("it can be asked");
    assert_eq!(mended.replaced, [EntityId::from("contract")]);
    assert_eq!(
        west.pending_conflicts(None, 10).await.expect("open"),
        east.pending_conflicts(None, 10).await.expect("open")
    );
    assert_eq!(west.pending_conflicts(None, 10).await.expect("open").len(), 1);
    is_over(&masters).await;
}

/// A master on a folder, and one in memory.
#[tokio::test]
async fn damage_on_a_disk_of_a_stopped_master_is_found_and_mended_when_it_is_started() {
    let (broker, folder) = (broker(), tempfile::tempdir().expect("a folder"));
    let east = Island::on(&broker, watchful("us-east", Strategy::Lww), MemoryStore::new()).await;
    let open = || FjallStore::open(folder.path()).expect("a store");
    let start = async |store: Arc<FjallStore>| {
        let link = Switch::new(Arc::new(broker.pipeline(NAMESPACE)));
        let options = watchful("eu-west", Strategy::Lww).store(store).pipeline(link);
        options.start().await.expect("it starts, whatever is damaged")
    };
    let west = start(Arc::new(open())).await;
    fill(&[&east.master, &west]).await;

    // While it runs.
    west.close().await.expect("a sound store");
    drop(west);
    let store = Arc::new(open());
    let west = start(store.clone()).await;
    // Whoever writes before it has heard of anyone, and is found to have another state, takes its store for an old copy:
    // what it has becomes new writes of another identity, damage and all.
    peers_until(&west, |peers| peers.len() == 1).await;
    fill(&[&east.master, &west]).await;
    let mut told = [east.master.subscribe(), west.subscribe()];
    flip(&*store, "user/9");
    assert_eq!(is_damaged(&mut told[1]).await.0, [bucket_of(&"user/9".into())]);
    is_alarmed_of(&mut told[0], "eu-west").await;
    let mended = west.repair_from("us-east").await.expect("it can be asked");
    assert_eq!(mended.replaced, [EntityId::from("user/9")]);
    is_over(&[&east.master, &west]).await;
    west.close().await.expect("a sound store");
    drop((west, store));

    // While it is stopped: one value that can be read, and one row that cannot.
    let store = open();
    flip(&store, "user/11");
    put(&store, "user/12", "rubbish");
    store.close().expect("a sound store");
    drop(store);
    let store = Arc::new(open());
    let west = start(store.clone()).await;
    converge_vectors(&east.master, &west).await;
    is_alarmed_of(&mut told[0], "eu-west").await;
    let diff = east.master.diff("eu-west").await.expect("it can be asked");
    assert_eq!(names(&diff.entities), ["user/11", "user/12"]);
    peers_until(&west, |peers| peers.len() == 1).await;
    let mended = west.repair_from("us-east").await.expect("it can be asked");
    assert_eq!(mended.replaced, ["user/11", "user/12"].map(EntityId::from));
    is_over(&[&east.master, &west]).await;
    west.close().await.expect("a sound store");
    drop((west, store));

    // It is on the disk.
    let west = start(Arc::new(open())).await;
    is_over(&[&east.master, &west]).await;
    assert_eq!(
        west.read::<String>("user/12").await.expect("sound").as_deref(),
        Some("a person of number 12")
    );
}

async fn converge_vectors(one: &MultiMasterManager, other: &MultiMasterManager) {
    for (writer, reader) in [(one, other), (other, one)] {
        let token = writer.write("fence", "again").await.expect("a write").token;
        assert!(reader.wait_for(&token, DEADLINE).await);
    }
}

#[tokio::test]
async fn masters_that_cannot_be_compared_say_why() {
    let broker = broker();
    let islands = three(&broker, Strategy::Lww).await;
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    fill(&masters).await;
    let (east, west) = (masters[0], masters[1]);
    flip(&islands[0].store, "user/5");
    let diff = west.diff("us-east").await.expect("it can be asked");
    assert_eq!(names(&diff.entities), ["user/5"]);
    let unknown = west.diff("nobody").await.expect_err("there is no such master");
    assert!(matches!(unknown, DiffError::Unknown { .. }), "{unknown}");
    let other = Island::on(&broker, watchful("other", Strategy::FieldMerge), MemoryStore::new()).await;
    peers_until(west, |peers| peers.len() == 3).await;
    let mismatch = west.diff("other").await.expect_err("they resolve by other rules");
    assert!(matches!(mismatch, DiffError::StrategyMismatch { .. }), "{mismatch}");
    drop(other);
    let alone = options("alone", Strategy::Lww).store(MemoryStore::new()).start().await.expect("it starts");
    assert!(matches!(alone.diff("us-east").await, Err(DiffError::NoPipeline)));
    assert!(matches!(alone.diff_all().await, Err(DiffError::NoPipeline)));
    assert_eq!(alone.scrub().await.expect("open").entities, 0);
    east.repair_from("ap-south").await.expect("it can be asked");
    is_over(&masters).await;
    west.close().await.expect("a sound store");
    assert!(matches!(west.diff("us-east").await, Err(DiffError::Closed)));
    assert!(west.scrub().await.is_err());
}

#[tokio::test]
async fn a_member_that_was_not_heard_yet_counts_in_a_survey() {
    let broker = broker();
    let islands = three(&broker, Strategy::Lww).await;
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    fill(&masters).await;
    let active = async |master: &MultiMasterManager| {
        let members = master.members().await.expect("open");
        members.iter().filter(|member| member.state == MemberState::Active).count()
    };
    while active(masters[1]).await < NAMES.len() {
        tokio::time::sleep(INTERVAL).await;
    }
    masters[1].close().await.expect("a sound store");
    islands[2].link.cut();
    let west = Island::on(&broker, watchful("eu-west", Strategy::Lww), islands[1].store.reopen()).await;
    peers_until(&west.master, |peers| peers.len() == 1).await;
    flip(&west.store, "user/7");

    let survey = west.master.diff_all().await.expect("one can be asked");
    let unreached: Vec<_> = survey.unreached.iter().map(|(master, _)| master.name()).collect();
    assert_eq!(unreached, ["ap-south"]);
    let [disagreement] = &survey.disagreements[..] else { panic!("{:?}", survey.disagreements) };
    assert_eq!((disagreement.majority, disagreement.dissenters.len()), (None, 0));

    islands[2].link.heal();
    peers_until(&west.master, |peers| peers.len() == 2).await;
    let survey = west.master.diff_all().await.expect("all can be asked");
    assert!(survey.unreached.is_empty(), "{:?}", survey.unreached);
    assert_eq!(survey.disagreements[0].dissenters, [west.master.master_id()]);
}

#[tokio::test]
async fn nothing_is_ever_damaged_or_mended_where_nobody_touched_anything() {
    let broker = broker();
    let islands = three(&broker, Strategy::FieldMerge).await;
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    let mut told: Vec<_> = masters.iter().map(|master| master.subscribe()).collect();
    fill(&masters).await;
    for number in 0..50 {
        masters[number % 3].delete(format!("user/{number}")).await.expect("a write");
    }
    converge(&masters).await;
    let passes = masters[0].metrics().scrubs;
    for master in &masters {
        master.scrub().await.expect("open");
    }
    assert!(masters[0].metrics().scrubs > passes);
    for master in &masters {
        let mended = master
            .repair_from(NAMES.iter().find(|name| **name != master.master_id().name()).expect("another"));
        let mended = mended.await.expect("it can be asked");
        assert!(
            mended.joined.is_empty() && mended.replaced.is_empty() && mended.left.is_empty(),
            "{mended:?}"
        );
    }
    for master in &masters {
        master.close().await.expect("a sound store");
    }
    for told in &mut told {
        while let Some(notification) = told.next().await {
            let alarm = matches!(notification, Notification::Damaged { .. } | Notification::Diverged { .. });
            assert!(!alarm, "{notification:?}");
        }
    }
}
