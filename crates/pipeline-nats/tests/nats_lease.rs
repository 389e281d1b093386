//! The lease on a real server that is restarted, frozen and robbed of it.

mod support;

use std::time::{Duration, Instant};

use archipelago_pipeline::{ExpectedEnd, Lease, LeaseEntry, LeaseWatch, Pipeline, PipelineError};
use archipelago_pipeline_nats::NatsPipeline;
use bytes::Bytes;
use support::*;

const BUCKET: &str = "KV_archipelago_test_lease";
const TTL: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);

const ALICE: Bytes = Bytes::from_static(b"alice");
const BOB: Bytes = Bytes::from_static(b"bob");

async fn watch_next(watch: &mut dyn LeaseWatch) -> Option<LeaseEntry> {
    within("a change of the lease", watch.next()).await.expect("a watch that goes on")
}

async fn acquired(lease: &dyn Lease, value: Bytes) -> u64 {
    within("the lease", async {
        loop {
            match lease.acquire(value.clone(), None).await {
                Ok(Some(revision)) => return revision,
                Ok(None) => {}
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Renews until there is an answer.
async fn renewed(lease: &dyn Lease, revision: u64, value: Bytes) -> Option<u64> {
    within("an answer", async {
        loop {
            match lease.renew(revision, value.clone()).await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_killed_server_still_knows_who_holds_the_lease() {
    let mut server = server().await;
    let pipeline = pipeline(&server).await;
    let lease = pipeline.lease(LONG).await.expect("a lease");
    let mut watch = lease.watch().await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await, None);
    let mut revision = acquired(&*lease, ALICE).await;
    for _ in 0..3 {
        server.kill().await.expect("killing");
        server.restart().await.expect("starting again");
        until_up(&*pipeline).await;
        let next = renewed(&*lease, revision, ALICE).await.expect("it is still hers");
        assert!(next > revision);
        revision = next;
    }
    let last = Some(LeaseEntry { revision, value: ALICE });
    while watch_next(&mut *watch).await != last {}
}

#[tokio::test]
async fn a_lease_expires_while_the_server_is_down() {
    let mut server = server().await;
    let pipeline = pipeline(&server).await;
    let lease = pipeline.lease(TTL).await.expect("a lease");
    let revision = acquired(&*lease, ALICE).await;
    let mut watch = lease.watch().await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await.expect("held").revision, revision);
    server.stop().await.expect("stopping");
    tokio::time::sleep(TTL).await;
    server.restart().await.expect("starting again");
    until_up(&*pipeline).await;
    assert_eq!(renewed(&*lease, revision, ALICE).await, None);
    assert_eq!(watch_next(&mut *watch).await, None);
    assert!(acquired(&*lease, BOB).await > revision, "revisions go on although the bucket was empty");
}

#[tokio::test]
async fn a_bucket_that_is_deleted_is_made_again() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    let lease = pipeline.lease(LONG).await.expect("a lease");
    let mut watch = lease.watch().await.expect("a watch");
    assert_eq!(watch_next(&mut *watch).await, None);
    let revision = acquired(&*lease, ALICE).await;
    let revision = renewed(&*lease, revision, ALICE).await.expect("it is hers");
    while watch_next(&mut *watch).await.map(|entry| entry.revision) != Some(revision) {}
    jetstream(&server).await.delete_stream(BUCKET).await.expect("deleting");
    assert_eq!(watch_next(&mut *watch).await, None);
    assert_eq!(lease.look().await.expect("an answer"), None);
    assert_eq!(renewed(&*lease, revision, ALICE).await, None);
    lease.release(revision).await.expect("there is nothing to give up");
    let anew = acquired(&*lease, BOB).await;
    assert_eq!(anew, 1, "who compares revisions of two buckets has to look at more than them");
    assert_eq!(watch_next(&mut *watch).await, Some(LeaseEntry { revision: anew, value: BOB }));
}

/// What a process that is stopped past its lease and continued does: it comes back with an old revision.
#[tokio::test]
async fn a_holder_that_slept_past_its_lease_has_lost_it() {
    let server = server().await;
    let (alice, bob) = (pipeline(&server).await, pipeline(&server).await);
    alice.open().await.expect("opening");
    let (hers, his) = (alice.lease(TTL).await.expect("a lease"), bob.lease(TTL).await.expect("a lease"));
    let revision = acquired(&*hers, ALICE).await;
    let mut last = 0;
    for _ in 0..10 {
        last = alice
            .append("alice", ALICE, ExpectedEnd::At(last))
            .await
            .expect("appending")
            .ack
            .await
            .expect("hers")
            .sequence;
    }
    // She says nothing for as long as it takes.
    let taken = acquired(&*his, BOB).await;
    assert!(taken > revision);
    bob.append("bob", BOB, ExpectedEnd::At(last)).await.expect("appending").ack.await.expect("his");
    let answer = alice.append("alice", ALICE, ExpectedEnd::At(last)).await.expect("handed over").ack.await;
    assert!(matches!(answer, Err(PipelineError::WrongLastSequence { .. })), "{answer:?}");
    assert_eq!(alice.state().await.expect("the state").last_sequence, last + 1, "not a single entry");
    assert_eq!(renewed(&*hers, revision, ALICE).await, None);
    assert_eq!(hers.look().await.expect("an answer"), Some(LeaseEntry { revision: taken, value: BOB }));
}

#[tokio::test]
async fn a_frozen_server_answers_within_half_of_the_lease() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    let lease = pipeline.lease(TTL).await.expect("a lease");
    let revision = acquired(&*lease, ALICE).await;
    server.pause().expect("freezing");
    let asked = Instant::now();
    let answer = within("an answer", lease.renew(revision, ALICE)).await;
    assert!(matches!(answer, Err(PipelineError::AckTimeout { .. })), "{answer:?}");
    assert!(asked.elapsed() < TTL, "{:?}", asked.elapsed());
    let answer = within("an answer", lease.look()).await;
    assert!(matches!(answer, Err(PipelineError::Unavailable { .. })), "{answer:?}");
    server.resume().expect("thawing");
    until_up(&*pipeline).await;
    // The renewal may have been read by the server after all, so that she holds it with another revision.
    let again = acquired(&*lease, ALICE).await;
    assert!(again > revision);
}

#[tokio::test]
async fn a_stream_that_is_no_bucket_is_refused() {
    let server = server().await;
    let config = async_nats::jetstream::stream::Config {
        name: BUCKET.to_owned(),
        subjects: vec!["something.else".to_owned()],
        ..Default::default()
    };
    jetstream(&server).await.create_stream(config).await.expect("a stream");
    let pipeline: std::sync::Arc<NatsPipeline> = pipeline(&server).await;
    let refused = pipeline.lease(TTL).await.err();
    assert!(
        matches!(&refused, Some(PipelineError::Misconfigured { reason }) if reason.contains(BUCKET)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_namespace_that_is_removed_leaves_nothing_and_can_be_used_anew() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    pipeline.remove().await.expect("there is nothing to remove");
    for _ in 0..2 {
        assert_eq!(pipeline.open().await.expect("a log").last_sequence, 0);
        publish_all(&*pipeline, 0..3).await;
        let lease = pipeline.lease(LONG).await.expect("a lease");
        assert!(lease.acquire(ALICE, None).await.expect("an answer").is_some());
        let jetstream = jetstream(&server).await;
        for name in [STREAM, BUCKET] {
            jetstream.get_stream(name).await.expect("it is there");
        }
        pipeline.remove().await.expect("removing");
        for name in [STREAM, BUCKET] {
            assert!(jetstream.get_stream(name).await.is_err(), "{name} is left");
        }
        assert!(matches!(pipeline.state().await, Err(PipelineError::LogMissing { .. })));
    }
}
