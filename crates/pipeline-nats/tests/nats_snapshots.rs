//! The object store behind a real nats-server keeps snapshots as the contract says.

mod support;

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    PipelineError,
    snapshots::{SnapshotStore, SnapshotStoreError, conformance::SnapshotHarness},
};
use archipelago_pipeline_nats::{NatsConfig, NatsSnapshots};
use archipelago_testkit::nats::NatsServer;
use async_nats::jetstream::object_store::ObjectStore;
use futures::StreamExt;
use support::*;

const BUCKET: &str = "archipelago_test_snapshots";

struct Nats(NatsServer);

async fn snapshots(server: &NatsServer) -> NatsSnapshots {
    NatsSnapshots::connect(config(server)).await.expect("connecting")
}

async fn bucket(server: &NatsServer) -> ObjectStore {
    jetstream(server).await.get_object_store(BUCKET).await.expect("the bucket")
}

#[async_trait::async_trait]
impl SnapshotHarness for Nats {
    async fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(snapshots(&self.0).await)
    }
    async fn store_later(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(snapshots(&self.0).await.leftover_age(Duration::ZERO))
    }
    /// All messages: nothing stays of what is removed.
    async fn pieces(&self) -> usize {
        let stream = jetstream(&self.0).await.get_stream(format!("OBJ_{BUCKET}")).await;
        stream.map_or(0, |stream| usize::try_from(stream.cached_info().state.messages).expect("few"))
    }
}

archipelago_pipeline::snapshot_conformance_tests!(Nats(server().await));

async fn write(store: &NatsSnapshots, name: &str) -> Result<(), SnapshotStoreError> {
    let mut writer = store.begin(name).await?;
    writer.chunk(bytes::Bytes::from(vec![7; 2_000_000])).await?;
    writer.finish("manifest".into()).await
}

#[tokio::test]
async fn a_broker_that_is_away_is_worth_retrying_and_keeps_what_was_finished() {
    let mut server = server().await;
    let store = snapshots(&server).await;
    write(&store, "a").await.expect("writing");
    let mut cut = store.begin("b").await.expect("beginning");
    cut.chunk("first".into()).await.expect("writing");
    server.kill().await.expect("killing");
    for refused in [
        within("an answer", store.list()).await.err(),
        within("an answer", store.chunk("a", 0)).await.err(),
        within("an answer", store.remove("a")).await.err(),
        within("an answer", store.begin("c")).await.err(),
        within("an answer", cut.chunk("second".into())).await.err(),
    ] {
        assert!(refused.as_ref().is_some_and(SnapshotStoreError::is_retryable), "{refused:?}");
    }
    server.restart().await.expect("starting again");
    within("the broker is back", async {
        while store.list().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A chunk is missing, so it cannot be finished.
    let given_up = cut.finish("m".into()).await;
    assert!(matches!(given_up, Err(SnapshotStoreError::Refused { .. })), "{given_up:?}");
    assert_eq!(store.list().await.expect("a list"), ["a"]);
    assert_eq!(store.chunk("a", 0).await.expect("a chunk").len(), 2_000_000);
    assert_eq!(store.manifest("a").await.expect("a manifest"), "manifest");
}

#[tokio::test]
async fn a_snapshot_of_more_chunks_than_a_server_takes_consumers_is_read() {
    let server = server().await;
    let store = snapshots(&server).await;
    let mut writer = store.begin("many").await.expect("beginning");
    for number in 0..1_100_u32 {
        writer.chunk(bytes::Bytes::copy_from_slice(&number.to_be_bytes())).await.expect("writing");
    }
    writer.finish("m".into()).await.expect("finishing");
    for number in 0..1_100_u32 {
        let chunk = store.chunk("many", number.into()).await.expect("a chunk");
        assert_eq!(chunk[..], number.to_be_bytes());
    }
}

#[tokio::test]
async fn chunks_that_the_bucket_lost_or_that_were_changed_are_damage() {
    let server = server().await;
    let store = snapshots(&server).await;
    write(&store, "lost").await.expect("writing");
    write(&store, "changed").await.expect("writing");
    let bucket = bucket(&server).await;
    let mut list = bucket.list().await.expect("a list");
    let mut chunks = Vec::new();
    while let Some(info) = list.next().await {
        chunks.extend(Some(info.expect("an object").name).filter(|name| name.ends_with("/0")));
    }
    for chunk in chunks {
        match chunk.starts_with("lost") {
            true => bucket.delete(&chunk).await.expect("deleting"),
            // Whoever may publish may do this; that the object is too long to be true is all that shows here.
            false => {
                let mut large = tokio::io::AsyncReadExt::take(tokio::io::repeat(1), 65 * 1024 * 1024);
                bucket.put(chunk.as_str(), &mut large).await.expect("putting");
            }
        }
    }
    for name in ["lost", "changed"] {
        let found = store.chunk(name, 0).await;
        assert!(matches!(found, Err(SnapshotStoreError::Damaged { .. })), "{name}: {found:?}");
        store.remove(name).await.expect("removing");
    }
    assert!(store.list().await.expect("a list").is_empty());
}

#[tokio::test]
async fn what_a_writer_was_putting_when_it_was_killed_is_removed_though_it_has_no_name() {
    let server = server().await;
    let store = snapshots(&server).await;
    write(&store, "a").await.expect("writing");
    let harness = Nats(server);
    let before = harness.pieces().await;
    let jetstream = jetstream(&harness.0).await;
    for _ in 0..3 {
        let sent = jetstream.publish(format!("$O.{BUCKET}.C.killed"), "half a chunk".into()).await;
        sent.expect("publishing").await.expect("an acknowledgement");
    }
    store.remove("nothing").await.expect("removing");
    assert_eq!(harness.pieces().await, before + 3, "it may be at work");
    harness.store_later().await.remove("nothing").await.expect("removing");
    assert_eq!(harness.pieces().await, before);
    assert_eq!(store.chunk("a", 0).await.expect("a chunk").len(), 2_000_000);
}

#[tokio::test]
async fn a_writer_that_was_taken_for_gone_is_told_when_it_finishes() {
    let server = server().await;
    let store = snapshots(&server).await;
    let mut writer = store.begin("slow").await.expect("beginning");
    writer.chunk("first".into()).await.expect("writing");
    store.clone().leftover_age(Duration::ZERO).remove("nothing").await.expect("removing");
    writer.chunk("second".into()).await.expect("writing");
    let told = writer.finish("m".into()).await;
    assert!(matches!(told, Err(SnapshotStoreError::Damaged { .. })), "{told:?}");
    assert!(store.list().await.expect("a list").is_empty());
}

#[tokio::test]
async fn connecting_fails_as_that_of_a_pipeline_does() {
    let server = NatsServer::builder().credentials("app", "right").start().await.expect("a server");
    let refused = NatsSnapshots::connect(config(&server).user_and_password("app", "hunter2")).await.err();
    assert!(matches!(refused, Some(PipelineError::Unauthorized { .. })), "{refused:?}");
    let refused = NatsSnapshots::connect(NatsConfig::new(server.url(), "no name")).await.err();
    assert!(matches!(refused, Some(PipelineError::InvalidName { .. })), "{refused:?}");
    let store = NatsSnapshots::connect(config(&server).user_and_password("app", "right")).await;
    let store = store.expect("connecting");
    assert!(!format!("{store:?}").contains("right"), "{store:?}");
    write(&store, "a").await.expect("writing");
}
