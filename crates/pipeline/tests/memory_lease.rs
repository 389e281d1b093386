//! What becomes of appends and of the lease when the memory broker is told to fail.

use std::time::Duration;

use archipelago_pipeline::{
    Appending, ExpectedEnd, Fault, LeaseEntry, MemoryBroker, Pipeline, PipelineError, PublishAck,
};
use bytes::Bytes;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(3);
const ALICE: Bytes = Bytes::from_static(b"alice");
const BOB: Bytes = Bytes::from_static(b"bob");

async fn append(pipeline: &dyn Pipeline, last: u64) -> Result<PublishAck, PipelineError> {
    pipeline.append("a", ALICE, ExpectedEnd::At(last)).await?.ack.await
}

fn held(revision: u64, value: Bytes) -> Option<LeaseEntry> {
    Some(LeaseEntry { revision, value })
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_an_append_as_it_does_a_message() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    let end = async || pipeline.state().await.expect("the state").last_sequence;
    broker.fault_next(Fault::Unavailable);
    assert!(matches!(append(&pipeline, 0).await, Err(PipelineError::Unavailable { .. })));
    broker.fault_next(Fault::LoseMessage);
    assert!(matches!(append(&pipeline, 0).await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(end().await, 0);
    broker.fault_next(Fault::LoseAck);
    assert!(matches!(append(&pipeline, 0).await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(end().await, 1);
    let again = append(&pipeline, 0).await;
    assert!(
        matches!(again, Err(PipelineError::WrongLastSequence { last_sequence: Some(1), .. })),
        "{again:?}"
    );
    broker.fault_next(Fault::StoreTwice);
    assert_eq!(append(&pipeline, 1).await.expect("once"), PublishAck { sequence: 2, duplicate: false });
    assert_eq!(end().await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_on_top_of_a_lost_append_is_refused() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    broker.fault_next(Fault::LoseMessage);
    let Appending { sequence, ack: lost } =
        pipeline.append("a", ALICE, ExpectedEnd::At(0)).await.expect("handed over");
    assert!(matches!(append(&pipeline, sequence).await, Err(PipelineError::WrongLastSequence { .. })));
    assert!(matches!(lost.await, Err(PipelineError::AckTimeout { .. })));
    append(&pipeline, 0).await.expect("nothing is there");
}

#[tokio::test]
async fn a_log_that_lost_its_tail_refuses_the_next_append() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    for last in 0..5 {
        append(&pipeline, last).await.expect("appending");
    }
    broker.truncate_tail("n", 2);
    let refused = append(&pipeline, 5).await;
    let told =
        matches!(refused, Err(PipelineError::WrongLastSequence { expected: 5, last_sequence: Some(3), .. }));
    assert!(told, "{refused:?}");
    broker.delete_log("n");
    assert!(matches!(append(&pipeline, 3).await, Err(PipelineError::LogMissing { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_lease_expires_on_time_whether_or_not_the_broker_runs() {
    let broker = MemoryBroker::default();
    let lease = broker.pipeline("n").lease(TTL).await.expect("a lease");
    let mut watch = lease.watch().await.expect("a watch");
    assert_eq!(watch.next().await.expect("a state"), None);
    let began = Instant::now();
    assert_eq!(lease.acquire(ALICE, None).await.expect("an answer"), Some(1));
    assert_eq!(watch.next().await.expect("a state"), held(1, ALICE));
    assert_eq!(watch.next().await.expect("a state"), None);
    assert!((TTL..TTL + Duration::from_millis(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    let second = lease.acquire(ALICE, None).await.expect("an answer").expect("it is free");
    broker.stop();
    tokio::time::advance(TTL).await;
    broker.start();
    assert_eq!(lease.renew(second, ALICE).await.expect("an answer"), None);
    assert_eq!(lease.look().await.expect("an answer"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_its_log_and_goes_with_its_bucket() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    append(&pipeline, 0).await.expect("appending");
    let lease = pipeline.lease(TTL).await.expect("a lease");
    let mut watch = lease.watch().await.expect("a watch");
    assert_eq!(watch.next().await.expect("a state"), None);
    lease.acquire(ALICE, None).await.expect("an answer");
    let second = lease.renew(1, ALICE).await.expect("an answer").expect("it is hers");
    assert_eq!(watch.next().await.expect("a state"), held(2, ALICE));
    broker.truncate_tail("n", 1);
    broker.delete_log("n");
    assert_eq!(lease.look().await.expect("an answer"), held(2, ALICE));
    broker.drop_lease("n");
    assert_eq!(watch.next().await.expect("a state"), None);
    assert_eq!(lease.renew(second, ALICE).await.expect("an answer"), None);
    assert_eq!(lease.acquire(BOB, None).await.expect("an answer"), Some(1), "revisions begin anew");
    assert_eq!(watch.next().await.expect("a state"), held(1, BOB));
    broker.wipe();
    assert_eq!(watch.next().await.expect("a state"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_it_to_a_look_who_holds_the_lease() {
    let broker = MemoryBroker::default();
    let lease = broker.pipeline("n").lease(TTL).await.expect("a lease");
    for (fault, then) in [(Fault::LoseMessage, None), (Fault::LoseAck, held(1, ALICE))] {
        broker.fault_next_lease_call(fault);
        let began = Instant::now();
        let answer = lease.acquire(ALICE, None).await;
        assert!(matches!(answer, Err(PipelineError::AckTimeout { .. })), "{answer:?}");
        assert!(began.elapsed() <= TTL / 2 + Duration::from_millis(2), "{:?}", began.elapsed());
        assert_eq!(lease.look().await.expect("an answer"), then);
    }
    broker.fault_next_lease_call(Fault::LoseAck);
    assert!(matches!(lease.renew(1, ALICE).await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(lease.renew(1, ALICE).await.expect("an answer"), None, "it stands at another revision");
    assert_eq!(lease.look().await.expect("an answer"), held(2, ALICE));
    broker.fault_next_lease_call(Fault::Unavailable);
    assert!(matches!(lease.release(2).await, Err(PipelineError::Unavailable { .. })));
    lease.release(2).await.expect("an answer");
    assert_eq!(lease.look().await.expect("an answer"), None);
}
