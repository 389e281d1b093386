//! What masters promise, on a real broker with durable stores.

mod support;

use archipelago_conflict::Strategy;
use archipelago_manager::{MultiMasterManager, Notification, Notifications};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline, OnStart};
use archipelago_store_fjall::FjallStore;
use archipelago_testkit::nats::NatsServer;
use support::{DEADLINE, NAMESPACE, converge, notified, options};
use tempfile::TempDir;

async fn connect(server: &NatsServer) -> NatsPipeline {
    NatsPipeline::connect(NatsConfig::new(server.url(), NAMESPACE)).await.expect("the server runs")
}

async fn start(server: &NatsServer, folder: &TempDir, name: &str) -> MultiMasterManager {
    let store = FjallStore::open(folder.path().join(name)).expect("an own folder");
    options(name, Strategy::Lww)
        .store(store)
        .pipeline(connect(server).await)
        .start()
        .await
        .expect("a sound store")
}

async fn pipeline_goes(notifications: &mut Notifications, up: bool) {
    notified(notifications, |notification| match notification {
        Notification::PipelineUp => up.then_some(()),
        Notification::PipelineDown { .. } => (!up).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_converge_and_go_on_after_a_restart() {
    let (server, folder) = (NatsServer::start().await.unwrap(), TempDir::new().unwrap());
    let us = start(&server, &folder, "us-east").await;
    let eu = start(&server, &folder, "eu-west").await;
    for n in 0..50 {
        us.write(format!("n/{}", n % 10), &n).await.unwrap();
        eu.write(format!("n/{}", n % 10), &(n + 100)).await.unwrap();
    }
    converge(&[&us, &eu]).await;
    us.close().await.unwrap();
    let us = start(&server, &folder, "us-east").await;
    let written = eu.write("after", &1).await.unwrap();
    assert!(us.wait_for(&written.token, DEADLINE).await);
    assert_eq!(us.metrics().events_applied, 1, "the checkpoint holds: nothing else is read again");
    converge(&[&us, &eu]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_larger_than_a_message_of_the_server_reach_every_master() {
    let server = NatsServer::builder().max_payload_bytes(16 * 1024).start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let us = start(&server, &folder, "us-east").await;
    let eu = start(&server, &folder, "eu-west").await;
    for n in 0..5 {
        us.write(format!("us/{n}"), "u".repeat(300_000).as_str()).await.unwrap();
        eu.write(format!("eu/{n}"), "e".repeat(100_000).as_str()).await.unwrap();
    }
    converge(&[&us, &eu]).await;
    assert_eq!(eu.read::<String>("us/4").await.unwrap().unwrap().len(), 300_000);
    assert_eq!(us.metrics().messages_unreadable + eu.metrics().messages_unreadable, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    let (mut server, folder) = (NatsServer::start().await.unwrap(), TempDir::new().unwrap());
    let us = start(&server, &folder, "us-east").await;
    let eu = start(&server, &folder, "eu-west").await;
    us.write("before", &1).await.unwrap();
    converge(&[&us, &eu]).await;
    let mut events = us.subscribe();
    server.kill().await.unwrap();
    pipeline_goes(&mut events, false).await;
    for n in 0..100 {
        assert!(us.write(format!("n/{n}"), &n).await.unwrap().queued);
    }
    assert_eq!(us.metrics().outbox_len, 100);
    assert_eq!(us.read("n/99").await.unwrap(), Some(99));
    server.restart().await.unwrap();
    pipeline_goes(&mut events, true).await;
    converge(&[&us, &eu]).await;
    // The others may have a message before its acknowledgement is here.
    let drained = async {
        while us.metrics().outbox_len > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, drained).await.expect("the outbox drains");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_starts_while_the_broker_is_away_and_joins_when_it_comes() {
    let (mut server, folder) = (NatsServer::start().await.unwrap(), TempDir::new().unwrap());
    let us = start(&server, &folder, "us-east").await;
    server.stop().await.unwrap();
    let config = NatsConfig::new(server.url(), NAMESPACE).on_start(OnStart::Background);
    let pipeline = NatsPipeline::connect(config).await.unwrap();
    let store = FjallStore::open(folder.path().join("eu-west")).unwrap();
    let eu = options("eu-west", Strategy::Lww).store(store).pipeline(pipeline).start().await.unwrap();
    let written = eu.write("a", &1).await.unwrap();
    assert!(written.queued);
    server.restart().await.unwrap();
    assert!(us.wait_for(&written.token, DEADLINE).await);
    converge(&[&us, &eu]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_its_files_is_noticed_and_what_it_lost_is_repaired() {
    let (mut server, folder) = (NatsServer::start().await.unwrap(), TempDir::new().unwrap());
    let us = start(&server, &folder, "us-east").await;
    let eu = start(&server, &folder, "eu-west").await;
    us.write("a", &1).await.unwrap();
    // Not before something has reached the log: an empty one may be made again without loss.
    converge(&[&us, &eu]).await;
    let mut events = us.subscribe();
    server.kill().await.unwrap();
    server.wipe().unwrap();
    server.restart().await.unwrap();
    let lost = notified(&mut events, |notification| match notification {
        Notification::LogLost { reason } => Some(reason),
        _ => None,
    });
    assert!(lost.await.contains(NAMESPACE));
    let written = us.write("b", &2).await.unwrap();
    assert!(eu.wait_for(&written.token, DEADLINE).await);
    converge(&[&us, &eu]).await;
    assert_eq!(eu.read("a").await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_delays_but_loses_nothing() {
    let (server, folder) = (NatsServer::start().await.unwrap(), TempDir::new().unwrap());
    let us = start(&server, &folder, "us-east").await;
    let eu = start(&server, &folder, "eu-west").await;
    converge(&[&us, &eu]).await;
    let mut events = us.subscribe();
    server.pause().unwrap();
    let written = us.write("a", &1).await.unwrap();
    pipeline_goes(&mut events, false).await;
    server.resume().unwrap();
    assert!(eu.wait_for(&written.token, DEADLINE).await);
    converge(&[&us, &eu]).await;
}
