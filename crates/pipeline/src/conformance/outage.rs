use std::collections::BTreeSet;

use futures::future::join;

use super::*;

/// While the broker is away the status says so and calls fail at once as worth retrying; afterwards all is well
/// without anyone's help, and the log is the same one.
pub async fn a_stopped_broker_is_down_and_refuses<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let before = pipeline.open().await.expect("opening");
    until_up(&*pipeline).await;
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    let refused = publish(&*pipeline, message("a", 0)).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "publish: {refused:?}");
    let refused = within("an answer", pipeline.state()).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "state: {refused:?}");
    let refused = within("an answer", pipeline.open()).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "open: {refused:?}");
    let refused = within("an answer", pipeline.subscribe(0)).await.err();
    assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "subscribe: {refused:?}");

    harness.start_broker().await;
    until_up(&*pipeline).await;
    let ack = publish_until_acknowledged(&*pipeline, message("a", 1)).await;
    assert_eq!(ack.sequence, 1, "what was refused was not stored");
    assert_eq!(pipeline.state().await.expect("the state").id, before.id);
}

/// A subscription that waits during an outage delivers what is published afterwards.
pub async fn an_idle_subscription_survives_an_outage<H: Harness>(harness: &H) {
    let (writer, reader) = (harness.pipeline().await, harness.pipeline().await);
    writer.open().await.expect("opening");
    publish_all(&*writer, "a", 0..5).await;
    let mut subscription = subscribe(&*reader, 0).await;
    assert_eq!(next_texts(&mut *subscription, 5).await, texts("a", 0..5));
    let mut idle_from_the_start = subscribe(&*reader, 5).await;
    for round in 1..=2 {
        harness.stop_broker().await;
        until_down(&*reader).await;
        harness.start_broker().await;
        until_up(&*writer).await;
        for number in round * 5..(round + 1) * 5 {
            publish_until_acknowledged(&*writer, message("a", number)).await;
        }
        for subscription in [&mut subscription, &mut idle_from_the_start] {
            let expected = texts("a", round * 5..(round + 1) * 5);
            assert_eq!(next_texts(&mut **subscription, 5).await, expected);
        }
    }
}

/// An outage between two messages of a backlog shows in nothing but the time it takes.
pub async fn an_outage_amid_reading_loses_and_repeats_nothing<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..1_000).await;
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 10).await, texts("a", 0..10));
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    harness.start_broker().await;
    assert_eq!(next_texts(&mut *subscription, 990).await, texts("a", 10..1_000));
}

/// A writer that repeats what was not acknowledged gets every message into the log, in spite of an outage, and what
/// was acknowledged is in the log.
pub async fn an_outage_amid_publishing_loses_nothing<H: Harness>(harness: &H) {
    let (writer, reader) = (harness.pipeline().await, harness.pipeline().await);
    writer.open().await.expect("opening");
    let mut subscription = subscribe(&*reader, 0).await;
    let writing = async {
        for number in 0..200 {
            publish_until_acknowledged(&*writer, message("a", number)).await;
        }
    };
    let reading = async {
        let mut seen = BTreeSet::new();
        let mut last_sequence = 0;
        while seen.len() < 200 {
            if last_sequence == 50 {
                harness.stop_broker().await;
                until_down(&*reader).await;
                harness.start_broker().await;
            }
            let incoming = next(&mut *subscription).await;
            assert!(incoming.sequence > last_sequence, "sequences strictly increase");
            last_sequence = incoming.sequence;
            seen.insert(text(&incoming));
        }
        seen
    };
    let ((), seen) = join(writing, reading).await;
    assert_eq!(seen, texts("a", 0..200).into_iter().collect());
}
