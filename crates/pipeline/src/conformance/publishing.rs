use futures::future::join_all;

use super::*;

/// Messages that one handle sends without waiting for answers are stored in the order of the calls.
pub async fn acknowledgements_follow_the_order_of_publishing<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let count = harness.in_flight_max().min(100);
    let mut pending = Vec::new();
    for number in 0..count {
        pending.push(within("a publish", pipeline.publish(message("a", number))).await.expect("publishing"));
    }
    let acks = within("all acknowledgements", join_all(pending)).await;
    for (place, ack) in (1..).zip(acks) {
        assert_eq!(ack.expect("an acknowledgement"), PublishAck { sequence: place, duplicate: false });
    }
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, count).await, texts("a", 0..count));
}

/// Within the window, a message with a known id is acknowledged with the place of the first and stored once.
pub async fn a_repeated_message_id_is_flagged_and_not_stored<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let first = publish(&*pipeline, message("a", 0)).await.expect("publishing");
    assert!(!first.duplicate);
    publish_all(&*pipeline, "a", 1..2).await;
    let again = publish(&*pipeline, message("a", 0)).await.expect("publishing again");
    assert_eq!(again, PublishAck { sequence: first.sequence, duplicate: true });
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, 2);
}

/// A message over the limit is refused as such, and the connection and the log are as before.
pub async fn a_message_that_is_too_large_is_refused_without_harm<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let bytes_max = pipeline.payload_bytes_max().expect("known once connected");
    let payload = Bytes::from(vec![7; bytes_max + 1]);
    match publish(&*pipeline, Outgoing { payload, ..message("a", 0) }).await {
        Err(PipelineError::TooLarge { bytes, bytes_max: limit }) => {
            assert_eq!((bytes, limit), (bytes_max + 1, bytes_max));
        }
        other => panic!("expected TooLarge, got {other:?}"),
    }
    let ack = publish(&*pipeline, message("a", 1)).await.expect("publishing a small message");
    assert_eq!(ack.sequence, 1);
    assert_eq!(*pipeline.status().borrow(), PipelineStatus::Up);
}

/// The announced limit can be used to the last byte.
pub async fn the_largest_allowed_message_travels<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let bytes_max = pipeline.payload_bytes_max().expect("known once connected");
    let payload = Bytes::from(vec![7; bytes_max]);
    // The longest names, so that the overhead is the largest.
    let message_id = "i".repeat(256);
    let outgoing = Outgoing { payload: payload.clone(), message_id, ..message(&"x".repeat(64), 0) };
    publish(&*pipeline, outgoing).await.expect("publishing");
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_whole(&mut *subscription).await.payload, Some(payload));
}

/// Who does not care for the answer may drop it; the message goes its way.
pub async fn a_dropped_acknowledgement_does_not_take_the_message_along<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let mut subscription = subscribe(&*pipeline, 0).await;
    // More than are allowed in flight: a dropped acknowledgement gives its place back.
    let count = harness.in_flight_max() + 10;
    for number in 0..count {
        drop(within("a publish", pipeline.publish(message("a", number))).await.expect("publishing"));
    }
    assert_eq!(next_texts(&mut *subscription, count).await, texts("a", 0..count));
}

/// With the allowed number of acknowledgements outstanding, the next publish waits until one of them is done.
pub async fn no_more_than_the_bound_are_in_flight<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let mut pending = Vec::new();
    for number in 0..harness.in_flight_max() {
        pending.push(within("a publish", pipeline.publish(message("a", number))).await.expect("publishing"));
    }
    let mut one_more = pipeline.publish(message("b", 0));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut one_more).await;
    assert!(waited.is_err(), "a publish beyond the bound must wait");
    within("an acknowledgement", pending.remove(0)).await.expect("an acknowledgement");
    within("a publish once there is room", one_more)
        .await
        .expect("publishing")
        .await
        .expect("an acknowledgement");
    drop(pending);
}

/// An origin that would break the subject is refused before anything is sent.
pub async fn an_origin_that_is_no_token_is_refused<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    for origin in ["", "a.b", "a b", ">", "a\r\n"] {
        let refused = publish(&*pipeline, Outgoing { origin: origin.into(), ..message("a", 0) }).await;
        assert!(matches!(refused, Err(PipelineError::InvalidName { .. })), "{origin:?}: {refused:?}");
    }
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, 0);
}
