//! A broker that is killed, frozen, and robbed of what it stored.

mod support;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use archipelago_pipeline::{Pipeline, PipelineError, Subscription};
use archipelago_testkit::nats::NatsServer;
use futures::{StreamExt, stream::FuturesUnordered};
use support::*;

/// Publishes pipelined until every message is acknowledged, and tells where each one was acknowledged to be.
async fn publish_through_outages(pipeline: &dyn Pipeline, count: usize) -> BTreeMap<usize, u64> {
    let mut to_send: Vec<usize> = (0..count).rev().collect();
    let mut pending = FuturesUnordered::new();
    let mut acknowledged = BTreeMap::new();
    while acknowledged.len() < count {
        while pending.len() < 100
            && let Some(number) = to_send.pop()
        {
            match pipeline.publish(message(number)).await {
                Ok(ack) => pending.push(async move { (number, ack.await) }),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    to_send.push(number);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    break;
                }
            }
        }
        match pending.next().await {
            Some((number, Ok(ack))) => {
                acknowledged.insert(number, ack.sequence);
            }
            Some((number, Err(error))) => {
                assert!(error.is_retryable(), "{error}");
                to_send.push(number);
            }
            None => {}
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_no_acknowledged_message() {
    const COUNT: usize = 20_000;
    let mut server = server().await;
    let (writer, reader) = (pipeline(&server).await, pipeline(&server).await);
    writer.open().await.expect("opening");
    let mut subscription = reader.subscribe(0).await.expect("subscribing");
    let writing = tokio::spawn(async move { publish_through_outages(&*writer, COUNT).await });
    let mut log = Vec::new();
    let mut kills = [COUNT / 4, COUNT / 2].into_iter().peekable();
    let mut read_to = async |log: &mut Vec<usize>, count: usize| {
        while log.len() < count {
            if kills.next_if(|at| log.len() >= *at).is_some() {
                server.kill().await.expect("killing");
                server.restart().await.expect("starting again");
            }
            let incoming = within("the next message", subscription.next()).await.expect("a message");
            assert_eq!(incoming.sequence, log.len() as u64 + 1, "no gap and no repeat");
            log.push(number(&incoming));
        }
    };
    read_to(&mut log, COUNT).await;
    let acknowledged = within("the writer", writing).await.expect("the writer");
    let last = acknowledged.values().max().copied().and_then(|last| usize::try_from(last).ok());
    read_to(&mut log, last.expect("some were acknowledged")).await;
    assert_eq!(kills.next(), None, "it was killed twice");
    for (number, sequence) in acknowledged {
        let place = usize::try_from(sequence).expect("a place") - 1;
        assert_eq!(log[place], number, "the message acknowledged as {sequence}");
    }
}

#[tokio::test]
async fn a_reader_that_is_slow_gets_everything() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    pipeline.open().await.expect("opening");
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    let acknowledged = publish_through_outages(&*pipeline, 5_000).await;
    let numbers: BTreeMap<u64, usize> = acknowledged.into_iter().map(|(number, at)| (at, number)).collect();
    for (sequence, expected) in numbers {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        assert_eq!((incoming.sequence, number(&incoming)), (sequence, expected));
    }
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_its_thawing_too() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, 0..3).await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..3).await;
    server.pause().expect("freezing");
    let lost = pipeline.publish(message(3)).await.expect("handed to the connection");
    let answer = within("the deadline of the acknowledgement", lost).await;
    assert!(matches!(answer, Err(PipelineError::AckTimeout { .. })), "{answer:?}");
    until_down(&*pipeline).await;
    let refused = pipeline.publish(message(4)).await.err();
    assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    server.resume().expect("thawing");
    until_up(&*pipeline).await;
    // The same id as the one that was lost: if the server had got it, it is not stored again.
    publish_all(&*pipeline, 3..6).await;
    expect_numbers(&mut *subscription, 3..6).await;
}

#[tokio::test]
async fn a_broker_that_lost_its_disk_is_noticed() {
    let mut server = server().await;
    let pipeline = pipeline(&server).await;
    let before = pipeline.open().await.expect("opening");
    publish_all(&*pipeline, 0..3).await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..3).await;
    server.kill().await.expect("killing");
    server.wipe().expect("wiping");
    server.restart().await.expect("starting again");
    let end = within("the end of the subscription", subscription.next()).await;
    assert!(matches!(end, Err(PipelineError::LogMissing { .. })), "{end:?}");
    until_up(&*pipeline).await;
    let missing = pipeline.state().await;
    assert!(matches!(missing, Err(PipelineError::LogMissing { .. })), "{missing:?}");
    assert_ne!(pipeline.open().await.expect("opening anew").id, before.id);
    publish_all(&*pipeline, 0..1).await;
}

/// A log whose newest five of ten messages were lost while it was down, and `refill` written in their place.
async fn after_losing_the_tail(refill: usize) -> PipelineError {
    let home = tempfile::tempdir().expect("a folder");
    let (store, backup) = (home.path().join("store"), home.path().join("backup"));
    let mut server = NatsServer::builder().store_dir(&store).start().await.expect("a server");
    let pipeline = pipeline(&server).await;
    let before = pipeline.open().await.expect("opening");
    publish_all(&*pipeline, 0..5).await;
    server.stop().await.expect("stopping");
    copy(&store, &backup);
    server.restart().await.expect("starting again");
    until_up(&*pipeline).await;
    publish_all(&*pipeline, 5..10).await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..10).await;
    server.stop().await.expect("stopping");
    fs::remove_dir_all(&store).expect("removing");
    copy(&backup, &store);
    if refill > 0 {
        // By another server, so that the reader is not there to see it.
        let mut elsewhere = NatsServer::builder().store_dir(&store).start().await.expect("a server");
        publish_all(&*support::pipeline(&elsewhere).await, 100..100 + refill).await;
        elsewhere.stop().await.expect("stopping");
    }
    server.restart().await.expect("starting again");
    let end = within("the end of the subscription", subscription.next()).await.expect_err("an end");
    until_up(&*pipeline).await;
    assert_eq!(pipeline.state().await.expect("the state").id, before.id, "it is still the same log");
    end
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

#[tokio::test]
async fn a_log_that_lost_its_tail_is_noticed() {
    let end = after_losing_the_tail(0).await;
    assert!(matches!(end, PipelineError::LogRegressed { after: 10, last_sequence: 5, .. }), "{end:?}");
}

#[tokio::test]
async fn a_lost_tail_that_others_have_filled_again_is_noticed() {
    let end = after_losing_the_tail(9).await;
    assert!(matches!(end, PipelineError::LogRegressed { after: 10, .. }), "{end:?}");
}

#[tokio::test]
async fn a_purged_log_goes_on_after_the_gap() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, 0..5).await;
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..5).await;
    let stream = jetstream(&server).await.get_stream(STREAM).await.expect("the stream");
    stream.purge().await.expect("purging");
    let state = pipeline.state().await.expect("the state");
    assert_eq!((state.first_sequence, state.last_sequence), (6, 5));
    publish_all(&*pipeline, 5..8).await;
    expect_numbers(&mut *subscription, 5..8).await;
    let mut late: Box<dyn Subscription> = pipeline.subscribe(2).await.expect("subscribing");
    assert_eq!(within("the next message", late.next()).await.expect("a message").sequence, 6);
}
