//! Who belongs to a namespace, and removals that go once every member has them.

mod support;

use std::time::Duration;

use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_manager::{
    Imported, MultiMasterManager, NotTaken, Notification, RetireError, SystemClock, WallClock, WriteError,
};
use archipelago_pipeline::MemoryBroker;
use archipelago_proto::MemberState;
use archipelago_store::{MemoryStore, Store, Table};
use archipelago_testkit::StoredMaster;
use std::ops::Bound;
use support::{DEADLINE, Island, broker, converge, notified, options};

const INTERVAL: Duration = Duration::from_millis(20);

async fn island(broker: &MemoryBroker, name: &str) -> Island {
    started_on(broker, name, MemoryStore::new()).await
}

async fn started_on(broker: &MemoryBroker, name: &str, store: MemoryStore) -> Island {
    Island::on(broker, options(name, Strategy::Lww).heartbeat_interval(INTERVAL), store).await
}

/// Looks again and again until `wanted` holds.
async fn until<F: Future<Output = bool>>(what: &str, mut wanted: impl FnMut() -> F) {
    let looking = async {
        while !wanted().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

async fn states(master: &MultiMasterManager) -> Vec<(String, MemberState)> {
    let members = master.members().await.expect("open").into_iter();
    members.map(|member| (member.master_id.name().to_owned(), member.state)).collect()
}

async fn all_active(masters: &[&MultiMasterManager]) {
    for master in masters {
        until("all are active", async || {
            let states = states(master).await;
            states.len() == masters.len() && states.iter().all(|(_, state)| *state == MemberState::Active)
        })
        .await;
    }
}

fn rows(store: &MemoryStore, table: Table) -> usize {
    store.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).expect("open").len()
}

#[tokio::test]
async fn removals_are_gone_from_every_store_once_every_member_has_them() {
    let broker = broker();
    let (east, west) = (island(&broker, "us-east").await, island(&broker, "eu-west").await);
    all_active(&[&east.master, &west.master]).await;
    for number in 0..500 {
        east.master.write(format!("e{number}"), &number).await.expect("a write");
    }
    converge(&[&east.master, &west.master]).await;
    for number in 0..500 {
        west.master.delete(format!("e{number}")).await.expect("a write");
    }
    for island in [&east, &west] {
        until("no tombstones are left", async || {
            let metrics = island.master.metrics();
            metrics.tombstones == 0 && metrics.tombstones_reclaimed == 500
        })
        .await;
        assert_eq!(rows(&island.store, Table::Tombstones), 0);
        assert_eq!(rows(&island.store, Table::Entities), 1, "the fence of the comparison");
        let stored = StoredMaster::read(&island.store, &StrategyTable::new(Strategy::Lww)).expect("sound");
        let fence = stored.expect("a master").entities.into_values().next().expect("the fence");
        assert_eq!(fence.versions.len(), 1, "and the index has just that, as the reader checked");
        let indexed = rows(&island.store, Table::Live);
        assert!(indexed < 100, "{indexed} rows, of which all but one wait to be cleared away");
        assert!(island.master.entity("e7").await.expect("open").is_none());
    }
    converge(&[&east.master, &west.master]).await;
}

#[tokio::test]
async fn a_member_that_is_away_holds_removals_back_until_retired_and_returns_with_what_it_wrote() {
    let broker = broker();
    let (east, west) = (island(&broker, "us-east").await, island(&broker, "eu-west").await);
    let laggard = island(&broker, "ap-south").await;
    all_active(&[&east.master, &west.master, &laggard.master]).await;
    east.master.write("kept", "v").await.expect("a write");
    east.master.write("removed", "v").await.expect("a write");
    converge(&[&east.master, &west.master, &laggard.master]).await;
    laggard.link.cut();
    let removal = east.master.delete("removed").await.expect("a write");
    // Within one millisecond the removal might be the later of the two.
    until("the clock moves on", async || SystemClock.now_unix_ms() > removal.hlc.unix_ms()).await;
    laggard.master.write("removed", "written while away").await.expect("a write");
    laggard.master.write("new", "written while away").await.expect("a write");
    until("west holds nothing back", async || {
        let report = east.master.reclaimable(10).await.expect("open");
        assert_eq!((report.tombstones, report.reclaimable), (1, 0));
        report.held_back_by.len() == 1 && report.held_back_by[0].master_id.name() == "ap-south"
    })
    .await;
    assert!(matches!(east.master.retire("nobody").await, Err(RetireError::Member(_))));
    assert!(matches!(east.master.retire("us-east").await, Err(RetireError::Member(_))));
    let mut told = laggard.master.subscribe();
    west.master.retire("ap-south").await.expect("it is known");
    for island in [&east, &west] {
        until("nothing is held back", async || island.master.metrics().tombstones == 0).await;
        assert!(states(&island.master).await.contains(&("ap-south".into(), MemberState::Retired)));
    }
    laggard.link.heal();
    let state = notified(&mut told, |notification| match notification {
        Notification::Returned { state } => Some(state),
        _ => None,
    })
    .await;
    assert_eq!(state, MemberState::Retired);
    all_active(&[&east.master, &west.master, &laggard.master]).await;
    for island in [&east, &west, &laggard] {
        for entity in ["removed", "new"] {
            until("what it wrote is everywhere", async || {
                island.master.read::<String>(entity).await.expect("open").as_deref()
                    == Some("written while away")
            })
            .await;
        }
    }
    converge(&[&east.master, &west.master, &laggard.master]).await;
}

#[tokio::test]
async fn whoever_leaves_brings_all_it_has_tells_the_others_and_may_come_back() {
    let broker = broker();
    let (east, west) = (island(&broker, "us-east").await, island(&broker, "eu-west").await);
    all_active(&[&east.master, &west.master]).await;
    west.master.write("last", "words").await.expect("a write");
    let token = west.master.session_token();
    let left = west.master.leave(DEADLINE).await.expect("a sound store");
    assert_eq!(left.outbox_len, 0);
    assert!(matches!(west.master.write("x", "y").await, Err(WriteError::Closed)));
    assert!(east.master.wait_for(&token, DEADLINE).await);
    assert!(states(&east.master).await.contains(&("eu-west".into(), MemberState::Left)));
    east.master.delete("last").await.expect("a write");
    until("nothing waits for it", async || east.master.metrics().tombstones == 0).await;
    let mut changes = east.master.subscribe();
    let back = started_on(&broker, "eu-west", west.store.copy()).await;
    notified(&mut changes, |notification| match notification {
        Notification::MemberChanged { master_id, state: MemberState::Active } => {
            (master_id == back.master.master_id()).then_some(())
        }
        _ => None,
    })
    .await;
    converge(&[&east.master, &back.master]).await;
    assert_eq!(back.master.read::<String>("last").await.expect("open"), None);
}

#[tokio::test]
async fn a_client_that_lacks_reclaimed_removals_takes_everything_first_and_then_gives_what_it_wrote() {
    let broker = broker();
    let east = island(&broker, "us-east").await;
    let client = options("phone", Strategy::Lww).store(MemoryStore::new()).start().await.expect("sound");
    all_active(&[&east.master]).await;
    for entity in ["kept", "removed"] {
        east.master.write(entity, "v").await.expect("a write");
    }
    let bring = async |from: &MultiMasterManager, to: &MultiMasterManager| {
        let mut last = Ok(Imported::Known);
        for part in from.changes_since(&to.session_token()).all().await.expect("open") {
            last = to.import(part).await;
        }
        last
    };
    bring(&east.master, &client).await.expect("all of it");
    east.master.delete("removed").await.expect("a write");
    until("it is reclaimed", async || east.master.metrics().tombstones == 0).await;
    client.write("removed", "on the phone").await.expect("a write");
    client.write("new", "on the phone").await.expect("a write");
    let refused = bring(&client, &east.master).await.expect_err("it lacks the removal");
    let is_behind = matches!(
        &refused,
        archipelago_manager::ImportError::NotTaken(NotTaken::GiverBehind { giver }) if giver.name() == "phone"
    );
    assert!(is_behind, "{refused}");
    assert!(matches!(bring(&east.master, &client).await, Ok(Imported::Merged { .. })));
    assert_eq!(client.read::<String>("removed").await.expect("open").as_deref(), Some("on the phone"));
    bring(&client, &east.master).await.expect("it has caught up");
    for entity in ["removed", "new"] {
        assert_eq!(east.master.read::<String>(entity).await.expect("open").as_deref(), Some("on the phone"));
    }
    let (left, right) = (east.master.state_digest().await, client.state_digest().await);
    assert_eq!(left.expect("open").1, right.expect("open").1);
}

#[tokio::test]
async fn members_and_floors_are_known_again_after_a_restart() {
    let broker = broker();
    let (east, west) = (island(&broker, "us-east").await, island(&broker, "eu-west").await);
    all_active(&[&east.master, &west.master]).await;
    east.master.write("x", "v").await.expect("a write");
    east.master.delete("x").await.expect("a write");
    until("it is reclaimed", async || east.master.metrics().tombstones_reclaimed > 0).await;
    east.master.close().await.expect("a sound store");
    let east = options("us-east", Strategy::Lww).store(east.store.copy()).start().await.expect("sound");
    assert_eq!(
        states(&east).await,
        [("eu-west".into(), MemberState::Active), ("us-east".into(), MemberState::Active)]
    );
    let stranger = options("phone", Strategy::Lww).store(MemoryStore::new()).start().await.expect("sound");
    stranger.write("y", "v").await.expect("a write");
    for part in stranger.changes_since(&east.session_token()).all().await.expect("open") {
        assert!(east.import(part).await.is_err(), "the floor holds");
    }
}

#[tokio::test]
async fn lists_and_sets_forget_removals_once_every_member_has_them() {
    use archipelago_crdt::{List, RwSet};
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Board {
        cards: List<String>,
        tags: RwSet<String>,
    }
    let broker = broker();
    let start = |name| options(name, Strategy::CrdtMerge).heartbeat_interval(INTERVAL);
    let east = Island::on(&broker, start("us-east"), MemoryStore::new()).await;
    let west = Island::on(&broker, start("eu-west"), MemoryStore::new()).await;
    all_active(&[&east.master, &west.master]).await;
    let own = east.master.master_id();
    let fill = move |board: &mut Board| {
        for number in 0..50 {
            board.cards.push(own.clone(), number.to_string()).map_err(|error| error.to_string())?;
            board.tags.insert(own.clone(), number.to_string()).map_err(|error| error.to_string())?;
        }
        for number in 0..50 {
            if number != 7 {
                board.tags.remove(own.clone(), number.to_string()).map_err(|error| error.to_string())?;
            }
        }
        while board.cards.len() > 1 {
            board.cards.remove(own.clone(), board.cards.len() - 1).map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    };
    east.master.update("board", fill).await.expect("a write");
    // Something that a floor is told for.
    east.master.delete("nothing").await.expect("a write");
    converge(&[&east.master, &west.master]).await;
    let bytes = |island: &Island| {
        let row = island.store.get(Table::Entities, b"board").expect("open");
        row.expect("it is there").len()
    };
    let before = bytes(&west);
    let mut receipt = None;
    while receipt.is_none() {
        receipt = west.master.compact("board").await.expect("a write");
    }
    assert!(east.master.wait_for(&receipt.expect("written").token, DEADLINE).await);
    converge(&[&east.master, &west.master]).await;
    for island in [&east, &west] {
        assert!(bytes(island) < before / 3, "{} of {before}", bytes(island));
        let board: Board = island.master.read("board").await.expect("open").expect("it is there");
        assert_eq!(board.cards.iter().collect::<Vec<_>>(), ["0"]);
        assert_eq!(board.tags.iter().collect::<Vec<_>>(), ["7"]);
    }
    assert!(
        west.master.compact("board").await.expect("a write").is_none(),
        "there is nothing more to forget"
    );
    assert!(west.master.compact("unknown").await.expect("open").is_none());
}
