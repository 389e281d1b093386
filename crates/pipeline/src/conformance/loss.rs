use super::*;
use crate::ExpectedEnd;

/// Every call but `open` fails while there is no log, `open` makes it, and opening again changes nothing.
pub async fn only_open_makes_a_log<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    assert_everything_is_missing(&*pipeline).await;
    let made = pipeline.open().await.expect("opening");
    assert_eq!((made.first_sequence, made.last_sequence), (1, 0));
    publish_all(&*pipeline, "a", 0..3).await;
    let opened_again = harness.pipeline().await.open().await.expect("opening again");
    assert_eq!(opened_again.id, made.id);
    assert_eq!((opened_again.first_sequence, opened_again.last_sequence), (1, 3));
    assert_eq!(pipeline.state().await.expect("the state"), opened_again);
}

/// After a deletion nothing pretends that the log is there, and a waiting subscription ends.
pub async fn a_deleted_log_is_missing<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..3).await;
    let mut subscription = subscribe(&*pipeline, 0).await;
    next_texts(&mut *subscription, 3).await;
    harness.delete_log().await;
    for _ in 0..2 {
        let end = within("the end of the subscription", subscription.next()).await;
        assert!(matches!(end, Err(PipelineError::LogMissing { .. })), "{end:?}");
    }
    assert_everything_is_missing(&*pipeline).await;
}

/// A log made anew under the old name is never read as if it were the old one.
pub async fn a_replaced_log_ends_its_subscriptions<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let before = pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..3).await;
    let mut subscription = subscribe(&*pipeline, 0).await;
    next_texts(&mut *subscription, 3).await;
    harness.delete_log().await;
    let after = pipeline.open().await.expect("opening anew");
    assert_ne!(before.id, after.id);
    assert_eq!((after.first_sequence, after.last_sequence), (1, 0));
    // Past the place where the old subscription stands.
    publish_all(&*pipeline, "b", 0..9).await;
    for _ in 0..2 {
        match within("the end of the subscription", subscription.next()).await {
            Err(PipelineError::LogReplaced { expected, found }) => {
                assert_eq!((expected, found), (before.id.clone(), after.id.clone()));
            }
            // It may have looked just between the two.
            Err(PipelineError::LogMissing { .. }) => {}
            other => panic!("expected LogReplaced, got {other:?}"),
        }
    }
    let mut anew = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *anew, 9).await, texts("b", 0..9));
}

/// A log that is made above a sequence ends there at first, whatever becomes of the broker; one that exists stays as it is. So
/// an append that expects the end of the log before is refused, however much the new one holds.
pub async fn a_log_that_is_made_again_begins_above_what_writers_of_the_one_before_expect<H: Harness>(
    harness: &H,
) {
    let (deposed, leader) = (harness.pipeline().await, harness.pipeline().await);
    deposed.open_above(0).await.expect("opening");
    publish_all(&*deposed, "a", 0..3).await;
    let ends = |state: &LogState| (state.first_sequence, state.last_sequence);
    assert_eq!(ends(&deposed.open_above(100).await.expect("opening what exists")), (1, 3));
    harness.delete_log().await;
    // All at once, and each with another idea of the log before: one of them makes it.
    let (one, other) =
        within("both have it", futures::future::join(leader.open_above(100), deposed.open_above(50))).await;
    let (one, other) = (one.expect("opening anew"), other.expect("opening anew"));
    assert_eq!(one, other);
    let end = one.last_sequence;
    assert!([50, 100].contains(&end) && ends(&one) == (end + 1, end), "{one:?}");
    restart(harness, &[&*leader, &*deposed]).await;
    assert_eq!(leader.open_above(200).await.expect("opening what exists"), one);
    publish_all(&*leader, "b", 0..4).await;
    restart(harness, &[&*leader, &*deposed]).await;
    for expected in [0, 2, 3, 4] {
        let refused = within("an answer", async {
            deposed.append("a", Bytes::new(), ExpectedEnd::At(expected)).await?.ack.await
        })
        .await;
        assert!(matches!(refused, Err(PipelineError::WrongLastSequence { .. })), "{expected}: {refused:?}");
    }
    let taken = within("an answer", async {
        leader.append("b", "b:4".into(), ExpectedEnd::At(end + 4)).await?.ack.await
    })
    .await;
    assert_eq!(taken.expect("the end of the log").sequence, end + 5);
    let mut subscription = subscribe(&*leader, 0).await;
    assert_eq!(next_texts(&mut *subscription, 5).await, texts("b", 0..5));
    assert_eq!(ends(&leader.state().await.expect("the state")), (end + 1, end + 5));
}

async fn restart<H: Harness>(harness: &H, pipelines: &[&dyn Pipeline]) {
    harness.stop_broker().await;
    for pipeline in pipelines {
        until_down(*pipeline).await;
    }
    harness.start_broker().await;
    for pipeline in pipelines {
        until_up(*pipeline).await;
    }
}

/// A reader that has seen more than the log holds is told, instead of waiting for sequences that mean other messages.
pub async fn a_position_beyond_the_end_is_a_regress<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..3).await;
    match within("an answer", pipeline.subscribe(4)).await.err() {
        Some(PipelineError::LogRegressed { after, last_sequence, .. }) => {
            assert_eq!((after, last_sequence), (4, 3));
        }
        other => panic!("expected LogRegressed, got {other:?}"),
    }
}

async fn assert_everything_is_missing(pipeline: &dyn Pipeline) {
    let missing = |error: Option<PipelineError>, call: &str| {
        assert!(matches!(error, Some(PipelineError::LogMissing { .. })), "{call}: {error:?}");
    };
    missing(within("an answer", pipeline.state()).await.err(), "state");
    missing(within("an answer", pipeline.subscribe(0)).await.err(), "subscribe");
    missing(publish(pipeline, message("missing", 0)).await.err(), "publish");
}
