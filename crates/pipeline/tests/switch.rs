//! One replica is cut off while the others go on.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    ExpectedEnd, FaultRates, Faulty, LeaseEntry, MemoryBroker, Outgoing, Pipeline, PipelineError,
    PipelineStatus, Switch,
};
use futures::FutureExt;

fn message(number: usize) -> Outgoing {
    Outgoing { origin: "a".into(), message_id: format!("a-{number}"), payload: number.to_string().into() }
}

async fn publish_all(pipeline: &dyn Pipeline, numbers: std::ops::Range<usize>) {
    for number in numbers {
        pipeline.publish(message(number)).await.expect("publishing").await.expect("an acknowledgement");
    }
}

async fn cut_off_and_other() -> (MemoryBroker, Switch, Arc<dyn Pipeline>) {
    let broker = MemoryBroker::default();
    let other: Arc<dyn Pipeline> = Arc::new(broker.pipeline("n"));
    other.open().await.expect("opening");
    let switch = Switch::new(Arc::new(broker.pipeline("n")));
    (broker, switch, other)
}

#[tokio::test]
async fn a_cut_replica_is_alone_until_it_is_healed() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let mut subscription = switch.subscribe(0).await.expect("subscribing");
    publish_all(&*other, 0..2).await;
    assert_eq!(subscription.next().await.expect("a message").sequence, 1);
    switch.cut();
    assert!(matches!(&*switch.status().borrow(), PipelineStatus::Down { reason } if reason == "cut off"));
    for refused in [
        switch.publish(message(9)).await.err(),
        switch.state().await.err(),
        switch.open().await.err(),
        switch.subscribe(0).await.err(),
    ] {
        assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    }
    publish_all(&*other, 2..4).await;
    assert!(subscription.next().now_or_never().is_none(), "nothing crosses a cut");
    switch.heal();
    assert_eq!(*switch.status().borrow(), PipelineStatus::Up);
    for sequence in 2..=4 {
        assert_eq!(subscription.next().await.expect("a message").sequence, sequence);
    }
    publish_all(&switch, 4..5).await;
}

#[tokio::test]
async fn a_cut_wakes_and_stalls_a_waiting_reader() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let mut subscription = switch.subscribe(0).await.expect("subscribing");
    let mut next = subscription.next();
    assert!((&mut next).now_or_never().is_none());
    switch.cut();
    publish_all(&*other, 0..1).await;
    assert!((&mut next).now_or_never().is_none());
    switch.heal();
    assert_eq!(next.await.expect("a message").sequence, 1);
}

#[tokio::test]
async fn an_acknowledgement_does_not_survive_a_cut() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let pending = switch.publish(message(0)).await.expect("publishing");
    switch.cut();
    switch.heal();
    assert!(matches!(pending.await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(other.state().await.expect("the state").last_sequence, 1, "it was stored nevertheless");
}

#[tokio::test]
async fn an_append_does_not_survive_a_cut_either() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let appending = switch.append("a", "x".into(), ExpectedEnd::At(0)).await.expect("handed over");
    switch.cut();
    let refused = switch.append("a", "x".into(), ExpectedEnd::At(1)).await.err();
    assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    switch.heal();
    assert!(matches!(appending.ack.await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(other.state().await.expect("the state").last_sequence, 1, "it was stored nevertheless");
}

#[tokio::test]
async fn a_cut_replica_cannot_lead_and_does_not_learn_who_does() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let ttl = Duration::from_secs(60);
    let (here, there) = (switch.lease(ttl).await.expect("a lease"), other.lease(ttl).await.expect("a lease"));
    let mut watch = here.watch().await.expect("a watch");
    assert_eq!(watch.next().await.expect("a state"), None);
    let first = here.acquire("here".into(), None).await.expect("an answer").expect("it is free");
    assert_eq!(watch.next().await.expect("a state").map(|entry| entry.revision), Some(first));
    switch.cut();
    for refused in [
        here.look().await.err(),
        here.renew(first, "here".into()).await.err(),
        here.acquire("here".into(), None).await.err(),
        here.release(first).await.err(),
        here.watch().await.err(),
        switch.lease(ttl).await.err(),
    ] {
        assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    }
    let second =
        there.acquire("there".into(), Some(first)).await.expect("an answer").expect("it stands there");
    assert!(watch.next().now_or_never().is_none(), "nothing crosses a cut");
    switch.heal();
    let now = Some(LeaseEntry { revision: second, value: "there".into() });
    assert_eq!(watch.next().await.expect("a state"), now);
    assert_eq!(here.renew(first, "here".into()).await.expect("an answer"), None);
}

#[tokio::test]
async fn a_lease_that_is_cut_amid_a_call_may_or_may_not_be_changed() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let ttl = Duration::from_secs(60);
    let (here, there) = (switch.lease(ttl).await.expect("a lease"), other.lease(ttl).await.expect("a lease"));
    let mut outcomes = Vec::new();
    for polls in 1..=2 {
        let mut acquiring = here.acquire("here".into(), None);
        for _ in 0..polls {
            assert!((&mut acquiring).now_or_never().is_none(), "it takes its time");
        }
        switch.cut();
        switch.heal();
        assert!(matches!(acquiring.await, Err(PipelineError::AckTimeout { .. })));
        outcomes.push(there.look().await.expect("an answer").is_some());
    }
    assert_eq!(outcomes, [false, true]);
}

#[tokio::test]
async fn the_status_below_shows_through_a_whole_link_only() {
    let (broker, switch, _other) = cut_off_and_other().await;
    let mut status = switch.status();
    broker.stop();
    status.wait_for(|status| *status != PipelineStatus::Up).await.expect("a status");
    switch.cut();
    broker.start();
    tokio::task::yield_now().await;
    assert!(matches!(&*switch.status().borrow(), PipelineStatus::Down { reason } if reason == "cut off"));
    switch.heal();
    status.wait_for(|status| *status == PipelineStatus::Up).await.expect("a status");
}

#[tokio::test(start_paused = true)]
async fn a_retrying_writer_gets_through_a_faulty_link() {
    let broker = MemoryBroker::default();
    let rates = FaultRates { unavailable: 0.2, lose_message: 0.2, lose_ack: 0.2, store_twice: 0.2 };
    let inner = Arc::new(broker.pipeline("n"));
    let faulty = Faulty::new(inner, rates, 7, Duration::from_millis(10));
    faulty.open().await.expect("opening");
    let mut retries = 0;
    for number in 0..200 {
        loop {
            let answer = match faulty.publish(message(number)).await {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => break,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            retries += 1;
        }
    }
    assert!(retries > 100, "{retries}");
    let stored = faulty.state().await.expect("the state").last_sequence;
    assert!(stored > 220, "{stored}: some were stored twice");
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_the_log_after_a_fault_appends_everything_once() {
    let broker = MemoryBroker::default();
    let rates = FaultRates { unavailable: 0.2, lose_message: 0.2, lose_ack: 0.2, store_twice: 0.2 };
    let inner = Arc::new(broker.pipeline("n"));
    let faulty = Faulty::new(inner, rates, 7, Duration::from_millis(10));
    faulty.open().await.expect("opening");
    let mut failures = 0;
    for last in 0..200 {
        while faulty.state().await.expect("the state").last_sequence == last {
            let answer = match faulty.append("a", "x".into(), ExpectedEnd::At(last)).await {
                Ok(appending) => appending.ack.await,
                Err(error) => Err(error),
            };
            failures += usize::from(answer.is_err_and(|error| error.is_retryable()));
        }
        assert_eq!(faulty.state().await.expect("the state").last_sequence, last + 1);
    }
    assert!(failures > 100, "{failures}");
}

#[tokio::test]
async fn what_is_sent_over_a_held_link_arrives_late_and_in_order() {
    let (_broker, switch, other) = cut_off_and_other().await;
    let mut subscription = switch.subscribe(0).await.expect("subscribing");
    switch.hold();
    let first = switch.append("a", "1".into(), ExpectedEnd::At(0)).await.expect("it is sent");
    let second = switch.append("a", "2".into(), ExpectedEnd::At(first.sequence)).await.expect("it is sent");
    // Nobody waits for the first any more; it arrives all the same.
    drop(first);
    let mut ack = second.ack;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.state().await.expect("a log").last_sequence, 0, "nothing gets through");
    assert!((&mut ack).now_or_never().is_none());
    assert!(subscription.next().now_or_never().is_none());
    switch.release();
    assert_eq!(ack.await.expect("an acknowledgement").sequence, 2);
    for expected in ["1", "2"] {
        assert_eq!(
            subscription.next().await.expect("a message").payload.as_deref(),
            Some(expected.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_late_append_of_a_deposed_writer_is_refused_and_one_that_meets_a_cut_is_lost() {
    let (_broker, switch, other) = cut_off_and_other().await;
    switch.hold();
    let late = switch.append("a", "late".into(), ExpectedEnd::At(0)).await.expect("it is sent");
    other.append("b", "b".into(), ExpectedEnd::At(0)).await.expect("sent").ack.await.expect("stored");
    switch.release();
    let refused = late.ack.await;
    assert!(matches!(refused, Err(PipelineError::WrongLastSequence { .. })), "{refused:?}");
    switch.hold();
    let lost = switch.append("a", "lost".into(), ExpectedEnd::At(1)).await.expect("it is sent");
    switch.cut();
    switch.release();
    switch.heal();
    assert!(matches!(lost.ack.await, Err(PipelineError::AckTimeout { .. })));
    assert_eq!(other.state().await.expect("a log").last_sequence, 1);
}
