use super::*;

async fn ends(pipeline: &dyn Pipeline) -> (u64, u64) {
    let state = pipeline.state().await.expect("the state");
    (state.first_sequence, state.last_sequence)
}

/// Below, at and beyond the end: what is up to there is gone, sequences go on, and nothing else has changed.
pub async fn trimming_removes_up_to_there_and_keeps_sequences<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let id = pipeline.open().await.expect("opening").id;
    publish_all(&*pipeline, "a", 0..10).await;
    for (up_to, first) in [(0, 1), (1, 2), (4, 5), (3, 5), (4, 5)] {
        pipeline.trim(up_to).await.expect("trimming");
        assert_eq!(ends(&*pipeline).await, (first, 10), "up to {up_to}");
    }
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 6).await, texts("a", 4..10));
    for up_to in [10, 10, 11, 1_000, u64::MAX] {
        pipeline.trim(up_to).await.expect("trimming");
        assert_eq!(ends(&*pipeline).await, (11, 10), "up to {up_to}");
    }
    publish_all(&*pipeline, "a", 10..12).await;
    assert_eq!(ends(&*pipeline).await, (11, 12));
    assert_eq!(next(&mut *subscription).await.sequence, 11);
    assert_eq!(pipeline.state().await.expect("the state").id, id);
}

/// An empty log stays empty, and one that is not there is not made.
pub async fn trimming_nothing_changes_nothing<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    for _ in 0..2 {
        let missing = within("an answer", pipeline.trim(5)).await;
        assert!(matches!(missing, Err(PipelineError::LogMissing { .. })), "{missing:?}");
    }
    let opened = pipeline.open().await.expect("opening");
    for up_to in [0, 1, 5] {
        pipeline.trim(up_to).await.expect("trimming");
        assert_eq!(pipeline.state().await.expect("the state"), opened);
    }
    publish_all(&*pipeline, "a", 0..1).await;
    assert_eq!(ends(&*pipeline).await, (1, 1));
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    let refused = within("an answer", pipeline.trim(1)).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "{refused:?}");
    harness.start_broker().await;
    until_up(&*pipeline).await;
    assert_eq!(ends(&*pipeline).await, (1, 1));
}

/// Who subscribes behind the trim begins after it; who had subscribed before gets all that is left, in order.
pub async fn a_subscriber_behind_the_trim_sees_a_gap_and_goes_on<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..10).await;
    let mut early = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *early, 2).await, texts("a", 0..2));
    pipeline.trim(7).await.expect("trimming");
    let mut late = subscribe(&*pipeline, 2).await;
    assert_eq!(next(&mut *late).await.sequence, 8);
    publish_all(&*pipeline, "a", 10..12).await;
    assert_eq!(next_texts(&mut *late, 4).await, texts("a", 8..12));
    let mut seen = vec![2];
    while seen.last() != Some(&12) {
        let incoming = next(&mut *early).await;
        assert_eq!(text(&incoming), format!("a:{}", incoming.sequence - 1));
        seen.push(incoming.sequence);
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    assert!(seen.ends_with(&[8, 9, 10, 11, 12]), "what is left is delivered: {seen:?}");
}

/// A payload that lost its beginning does not come; its parts are told of, and what follows comes.
pub async fn a_payload_cut_by_a_trim_is_left_out<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let payload = Bytes::from(vec![7; pipeline.payload_bytes_good().expect("known once connected") * 4]);
    let ack = publish(&*pipeline, Outgoing { payload, ..message("a", 0) }).await.expect("publishing");
    publish_all(&*pipeline, "a", 1..2).await;
    pipeline.trim(2).await.expect("trimming");
    for after in [0, 2, 3] {
        let mut subscription = subscribe(&*pipeline, after).await;
        for sequence in after.max(2) + 1..=ack.sequence {
            let part = next(&mut *subscription).await;
            assert_eq!((part.sequence, part.payload), (sequence, None));
        }
        assert_eq!(text(&next(&mut *subscription).await), "a:1");
    }
}
