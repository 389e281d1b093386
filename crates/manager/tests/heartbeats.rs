//! Masters tell one another how far they are, and notice when they cannot agree.

mod support;

use std::time::Duration;

use archipelago_conflict::Strategy;
use archipelago_manager::{Notification, PeerView, StartError};
use archipelago_pipeline::Pipeline;
use archipelago_store::MemoryStore;
use support::{Island, NAMESPACE, broker, converge, notified, options};

const INTERVAL: Duration = Duration::from_millis(20);

async fn island(broker: &archipelago_pipeline::MemoryBroker, name: &str, strategy: Strategy) -> Island {
    Island::on(broker, options(name, strategy).heartbeat_interval(INTERVAL), MemoryStore::new()).await
}

/// Asks again and again until the peers are as wanted.
async fn peers_until(island: &Island, wanted: impl Fn(&[PeerView]) -> bool) -> Vec<PeerView> {
    let asking = async {
        loop {
            let peers = island.master.peers().await.expect("open");
            if wanted(&peers) {
                return peers;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, asking).await.expect("the peers become as wanted")
}

#[tokio::test]
async fn masters_with_different_strategies_are_told_of_it_on_both_sides() {
    let broker = broker();
    let east = island(&broker, "us-east", Strategy::Lww).await;
    let (mut told_east, third) = (east.master.subscribe(), island(&broker, "ap", Strategy::Lww).await);
    let west = island(&broker, "eu-west", Strategy::FieldMerge).await;
    let mut told_west = west.master.subscribe();
    for (told, other) in [(&mut told_east, &west), (&mut told_west, &east)] {
        let (master_id, ours, theirs) = notified(told, |notification| match notification {
            Notification::StrategyMismatch { master_id, ours, theirs }
                if master_id == other.master.master_id() =>
            {
                Some((master_id, ours, theirs))
            }
            _ => None,
        })
        .await;
        assert_eq!(master_id, other.master.master_id());
        assert_ne!(ours, theirs);
    }
    let peers = peers_until(&east, |peers| peers.len() == 2).await;
    let same: Vec<_> = peers.iter().map(|peer| (peer.master_id.name(), peer.same_strategies)).collect();
    assert_eq!(same, [("ap", true), ("eu-west", false)]);
    assert_eq!(third.master.metrics().active_peers, 2);
}

#[tokio::test]
async fn peers_tell_how_far_each_is_and_nothing_is_said_of_equals() {
    let broker = broker();
    let (east, west) =
        (island(&broker, "us-east", Strategy::Lww).await, island(&broker, "eu-west", Strategy::Lww).await);
    let mut told = east.master.subscribe();
    west.link.cut();
    for number in 0..5 {
        east.master.write("x", &number).await.unwrap();
    }
    assert_eq!(east.master.metrics().active_peers, 0, "nobody was heard through a cut link");
    west.link.heal();
    let peers = peers_until(&east, |peers| peers.iter().any(|peer| peer.behind_events == 0)).await;
    assert_eq!((peers[0].master_id.clone(), peers[0].ahead_events), (west.master.master_id(), 0));
    assert!(peers[0].same_strategies && !peers[0].diverged);
    assert!(peers[0].clock_ahead_ms.abs() < 60_000, "the same clock: {}", peers[0].clock_ahead_ms);
    converge(&[&east.master, &west.master]).await;
    let seen = west.master.vector_clock();
    peers_until(&east, |peers| peers[0].vector == seen).await;
    east.master.close().await.unwrap();
    assert!(east.master.peers().await.is_err());
    while let Some(notification) = told.next().await {
        let alarm = matches!(
            notification,
            Notification::StrategyMismatch { .. }
                | Notification::Diverged { .. }
                | Notification::Fenced { .. }
        );
        assert!(!alarm, "{notification:?}");
    }
}

#[tokio::test]
async fn garbage_among_the_announcements_is_counted_and_skipped() {
    let broker = broker();
    let east = island(&broker, "us-east", Strategy::Lww).await;
    let stranger = broker.pipeline(NAMESPACE);
    // Not heard before the master listens, so it is said until it is.
    let garbage = async {
        while east.master.metrics().messages_unreadable == 0 {
            stranger.announce("eu-west", "garbage".into()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, garbage).await.expect("it is counted");
    let west = island(&broker, "eu-west", Strategy::Lww).await;
    let peers = peers_until(&east, |peers| peers.len() == 1).await;
    assert_eq!(peers[0].master_id, west.master.master_id());
    let unreadable = east.master.metrics().messages_unreadable;
    let forged = {
        let mut heard = stranger.listen("stranger").await.unwrap();
        loop {
            if let archipelago_pipeline::Heard::Announcement { payload, .. } = heard.next().await.unwrap() {
                break payload;
            }
        }
    };
    stranger.announce("somebody-else", forged).await.unwrap();
    let counted = async {
        while east.master.metrics().messages_unreadable == unreadable {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, counted).await.expect("it is counted");
    assert_eq!(east.master.peers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_heartbeat_interval_of_nothing_is_refused() {
    let options = options("us-east", Strategy::Lww).heartbeat_interval(Duration::ZERO);
    let refused = options.store(MemoryStore::new()).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Option { option: "heartbeat_interval", .. }), "{refused}");
}

#[tokio::test]
async fn listeners_learn_that_a_master_is_closed() {
    let broker = broker();
    let east = island(&broker, "us-east", Strategy::Lww).await;
    let (mut before, write) = (east.master.subscribe(), east.master.write("x", &1));
    write.await.unwrap();
    east.master.close().await.unwrap();
    let mut after = east.master.subscribe();
    for notifications in [&mut before, &mut after] {
        let end = async { while notifications.next().await.is_some() {} };
        tokio::time::timeout(support::DEADLINE, end).await.expect("an end, although the handle is kept");
    }
}
