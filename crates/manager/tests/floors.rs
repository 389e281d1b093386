//! A floor takes effect for whatever lies behind it in the log, so it matters where it goes in.

mod support;

use std::time::Duration;

use archipelago_conflict::Strategy;
use archipelago_manager::MultiMasterManager;
use archipelago_pipeline::{Fault, MemoryBroker, MemoryConfig, Pipeline};
use archipelago_proto::{Limits, LogMessage, MemberState};
use archipelago_store::MemoryStore;
use support::{DEADLINE, Island, NAMESPACE, options};

const INTERVAL: Duration = Duration::from_millis(20);
/// After how long a write is sent again that was lost on its way to the log: many heartbeats.
const ACK_TIMEOUT: Duration = Duration::from_secs(1);

async fn island(broker: &MemoryBroker, name: &str) -> Island {
    let options = options(name, Strategy::Lww).heartbeat_interval(INTERVAL);
    Island::on(broker, options, MemoryStore::new()).await
}

/// Looks again and again, as time goes by, until `wanted` holds.
async fn until<F: Future<Output = bool>>(what: &str, mut wanted: impl FnMut() -> F) {
    let looking = async {
        while !wanted().await {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

async fn is_active(master: &MultiMasterManager, members: usize) -> bool {
    let known = master.members().await.expect("open");
    known.iter().filter(|member| member.state == MemberState::Active).count() == members
}

#[tokio::test(start_paused = true)]
async fn a_floor_goes_into_the_log_behind_its_tellers_own_queued_writes() {
    let broker = MemoryBroker::new(MemoryConfig { ack_timeout: ACK_TIMEOUT, ..MemoryConfig::default() });
    // The first of them is the one to tell floors.
    let teller = island(&broker, "ap-south").await;
    let others = [island(&broker, "eu-west").await, island(&broker, "us-east").await];
    for island in others.iter().chain([&teller]) {
        until("all are active", async || is_active(&island.master, 3).await).await;
    }
    let [laggard, other] = &others;
    laggard.link.cut();
    teller.master.write("removed", &1).await.expect("a write");
    let removal = teller.master.delete("removed").await.expect("a write");
    assert!(other.master.wait_for(&removal.token, DEADLINE).await);
    until("the removal is sent", async || teller.master.metrics().outbox_len == 0).await;

    // This one is on its way for long when the last member tells that it knows of the removal.
    broker.fault_next(Fault::LoseMessage);
    let queued = teller.master.write("queued", &1).await.expect("a write").dot;
    laggard.link.heal();
    until("the removal is reclaimed", async || {
        [&teller, laggard, other].iter().all(|island| island.master.metrics().tombstones_reclaimed > 0)
    })
    .await;

    let mut log = broker.pipeline(NAMESPACE).subscribe(0).await.expect("there is a log");
    let (mut is_queued_before, mut is_told) = (false, false);
    while !is_told {
        let payload = log.next().await.expect("a message").payload.expect("it is small");
        let message = LogMessage::decode(payload, &Limits::default());
        match message.expect("masters write what they can read") {
            LogMessage::Events(batch) => {
                is_queued_before |= batch.events.iter().any(|event| event.dot == queued);
            }
            LogMessage::Floor(floor) => {
                assert_eq!(floor.replica, teller.master.master_id());
                is_told = floor.vector.contains(&removal.dot);
            }
            message => panic!("nothing else is written: {message:?}"),
        }
    }
    assert!(is_queued_before, "the floor overtook {queued}");
}
