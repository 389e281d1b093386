//! What the memory broker does to its pipelines when it is told to fail.

use std::time::Duration;

use archipelago_pipeline::{
    Fault, FaultRates, LogId, MemoryBroker, MemoryConfig, Outgoing, Pipeline, PipelineError, PublishAck,
    Subscription,
};

fn message(number: usize) -> Outgoing {
    Outgoing { origin: "a".into(), message_id: format!("a-{number}"), payload: number.to_string().into() }
}

async fn publish(pipeline: &dyn Pipeline, number: usize) -> Result<PublishAck, PipelineError> {
    pipeline.publish(message(number)).await?.await
}

async fn publish_all(pipeline: &dyn Pipeline, numbers: std::ops::Range<usize>) {
    for number in numbers {
        publish(pipeline, number).await.expect("publishing");
    }
}

async fn expect_sequences(subscription: &mut dyn Subscription, sequences: std::ops::RangeInclusive<u64>) {
    for expected in sequences {
        assert_eq!(subscription.next().await.expect("a message").sequence, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_says_nothing_about_the_message() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    for (fault, stored) in [(Fault::LoseAck, 1), (Fault::LoseMessage, 1)] {
        broker.fault_next(fault);
        let answer = publish(&pipeline, stored).await;
        assert!(matches!(answer, Err(PipelineError::AckTimeout { .. })), "{fault:?}: {answer:?}");
        assert_eq!(pipeline.state().await.expect("the state").last_sequence, 1);
    }
    let again = publish(&pipeline, 1).await.expect("publishing again");
    assert_eq!(again, PublishAck { sequence: 1, duplicate: true });
}

#[tokio::test(start_paused = true)]
async fn faults_that_are_forgotten_strike_nothing() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    let lease = pipeline.lease(Duration::from_secs(1)).await.expect("a lease");
    broker.set_fault_rates(FaultRates { lose_message: 1.0, ..FaultRates::default() });
    broker.fault_next(Fault::LoseAck);
    broker.fault_next_lease_call(Fault::LoseAck);
    broker.forget_faults();
    publish_all(&pipeline, 0..3).await;
    assert!(lease.acquire("a".into(), None).await.expect("an answer").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_sending() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    broker.fault_next(Fault::LoseAck);
    let pending = pipeline.publish(message(0)).await.expect("publishing");
    tokio::time::advance(Duration::from_secs(5)).await;
    let begun = tokio::time::Instant::now();
    assert!(matches!(pending.await, Err(PipelineError::AckTimeout { .. })));
    assert!(begun.elapsed() < Duration::from_millis(10), "nothing was left to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_message_id_is_forgotten_after_the_window() {
    let broker = MemoryBroker::new(MemoryConfig {
        duplicate_window: Duration::from_secs(10),
        ..MemoryConfig::default()
    });
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    publish_all(&pipeline, 0..1).await;
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(publish(&pipeline, 0).await.expect("publishing").duplicate);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        publish(&pipeline, 0).await.expect("publishing"),
        PublishAck { sequence: 2, duplicate: false }
    );
}

#[tokio::test]
async fn a_lost_tail_ends_those_who_had_read_it() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    let id = pipeline.open().await.expect("opening").id;
    publish_all(&pipeline, 0..10).await;
    let mut ahead = pipeline.subscribe(0).await.expect("subscribing");
    let mut behind = pipeline.subscribe(0).await.expect("subscribing");
    expect_sequences(&mut *ahead, 1..=10).await;
    expect_sequences(&mut *behind, 1..=3).await;
    broker.truncate_tail("n", 4);
    let end = ahead.next().await;
    assert!(matches!(end, Err(PipelineError::LogRegressed { after: 10, last_sequence: 6, .. })), "{end:?}");
    expect_sequences(&mut *behind, 4..=6).await;
    // What was lost can be stored again, in the same places.
    assert_eq!(
        publish(&pipeline, 6).await.expect("publishing"),
        PublishAck { sequence: 7, duplicate: false }
    );
    expect_sequences(&mut *behind, 7..=7).await;
    assert_eq!(pipeline.state().await.expect("the state").id, id);
}

#[tokio::test]
async fn purging_and_trimming_leave_gaps_and_known_ids() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    pipeline.open().await.expect("opening");
    publish_all(&pipeline, 0..10).await;
    broker.trim_head("n", 4);
    let mut subscription = pipeline.subscribe(2).await.expect("subscribing");
    expect_sequences(&mut *subscription, 5..=6).await;
    broker.purge("n");
    let state = pipeline.state().await.expect("the state");
    assert_eq!((state.first_sequence, state.last_sequence), (11, 10));
    assert!(publish(&pipeline, 9).await.expect("publishing").duplicate);
    publish_all(&pipeline, 10..11).await;
    expect_sequences(&mut *subscription, 11..=11).await;
}

#[tokio::test]
async fn a_wiped_broker_has_no_logs_and_makes_others() {
    let broker = MemoryBroker::default();
    let pipeline = broker.pipeline("n");
    let before: LogId = pipeline.open().await.expect("opening").id;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    broker.stop();
    broker.wipe();
    broker.start();
    assert!(matches!(pipeline.state().await, Err(PipelineError::LogMissing { .. })));
    let after = pipeline.open().await.expect("opening anew").id;
    assert!(after.created_unix_ns > before.created_unix_ns);
    assert!(matches!(subscription.next().await, Err(PipelineError::LogReplaced { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_log() {
    let run = async |fault_seed| {
        let fault_rates = FaultRates { unavailable: 0.1, lose_message: 0.1, lose_ack: 0.2, store_twice: 0.2 };
        let broker = MemoryBroker::new(MemoryConfig { fault_rates, fault_seed, ..MemoryConfig::default() });
        let pipeline = broker.pipeline("n");
        pipeline.open().await.expect("opening");
        for number in 0..100 {
            while publish(&pipeline, number).await.is_err() {}
        }
        broker.set_fault_rates(FaultRates::default());
        let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
        let mut log = Vec::new();
        for _ in 0..pipeline.state().await.expect("the state").last_sequence {
            log.push(subscription.next().await.expect("a message").payload);
        }
        log
    };
    let log = run(1).await;
    assert!(log.len() > 100, "some were stored twice");
    assert_eq!(log, run(1).await);
    assert_ne!(log, run(2).await);
}
