use archipelago_manager::subscriber::GapAction;

use super::*;

/// A subscriber that goes on after gaps, and says what they were.
async fn resume(
    harness: &impl Harness,
    store: &MemoryStore,
) -> (EventSubscriber, Seen, mpsc::UnboundedReceiver<(String, Checkpoint)>) {
    let ((saw, seen), (told, gaps)) = (Seen::channel(), mpsc::unbounded_channel());
    let options = options(harness).await.checkpoint_store(store.clone()).on_event(tell(saw));
    let options = options.on_gap(move |gap| {
        let _ = told.send((gap.reason, gap.checkpoint));
        async { GapAction::Resume }
    });
    (options.start().await.expect("sound options"), seen, gaps)
}

async fn expect_lost(subscriber: &EventSubscriber) -> String {
    match &*stopped(subscriber).await {
        error @ SubscriberError::LogLost { .. } => error.to_string(),
        other => panic!("{other}"),
    }
}

pub(crate) async fn a_deleted_log_stops_the_subscriber(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", [1]).await;
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    let mut notices = subscriber.notices();
    seen.expect(names("us", [1])).await;
    harness.delete_log().await;
    let told = noticed(&mut notices, |notice| match notice {
        SubscriberNotice::Gap { reason } => Some(reason),
        _ => None,
    });
    let reason = told.await;
    let error = expect_lost(&subscriber).await;
    assert!(error.contains(&reason) && error.contains("on_gap"), "{error}");
}

pub(crate) async fn a_replaced_log_stops_the_subscriber_at_its_start(harness: &impl Harness) {
    let store = MemoryStore::new();
    let writer = Writer::new(harness).await;
    let (subscriber, _) = watch(harness, &store).await;
    // Of an empty log, too: nothing was read of it, but what was in it since may be gone.
    assert!(subscriber.wait_for(|_| true).await);
    subscriber.close().await.expect("a sound store");
    writer.write("us", [1]).await;
    harness.delete_log().await;
    let writer = Writer::new(harness).await;
    writer.write("us", [2]).await;
    let (subscriber, mut seen) = watch(harness, &store).await;
    let error = expect_lost(&subscriber).await;
    assert!(error.contains("deleted and made again"), "{error}");
    assert_eq!(seen.rest(), [""; 0]);
}

pub(crate) async fn after_a_gap_delivery_can_go_on_without_repeating_anything(harness: &impl Harness) {
    let store = MemoryStore::new();
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let (subscriber, mut seen, mut gaps) = resume(harness, &store).await;
    seen.expect(names("us", 1..=3)).await;
    handled(&subscriber, "us", 3).await;
    harness.delete_log().await;
    let (_, checkpoint) = gaps.recv().await.expect("a gap");
    assert!(checkpoint.contains(&dot("us", 3)));
    // A master that repairs the log writes again what was in it.
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=5).await;
    seen.expect(names("us", 4..=5)).await;
    handled(&subscriber, "us", 5).await;
    assert_ne!(subscriber.checkpoint().expect("connected").log(), checkpoint.log());
    subscriber.close().await.expect("a sound store");
    // The gap is behind it, also after a restart.
    let (subscriber, mut seen, mut gaps) = resume(harness, &store).await;
    writer.write("us", [6]).await;
    seen.expect(names("us", [6])).await;
    subscriber.close().await.expect("a sound store");
    assert!(gaps.try_recv().is_err());
}

pub(crate) async fn messages_trimmed_before_they_were_read_are_a_gap(harness: &impl Harness) {
    let store = MemoryStore::new();
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=2).await;
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", 1..=2)).await;
    handled(&subscriber, "us", 2).await;
    subscriber.close().await.expect("a sound store");
    writer.write_each("us", 3..=6).await;
    harness.trim(4).await;
    let (subscriber, mut seen) = watch(harness, &store).await;
    let error = expect_lost(&subscriber).await;
    assert!(error.contains("3 to 4"), "{error}");
    assert_eq!(seen.rest(), [""; 0]);
    let (subscriber, mut seen, mut gaps) = resume(harness, &store).await;
    seen.expect(names("us", 5..=6)).await;
    assert!(gaps.recv().await.expect("a gap").0.contains("3 to 4"));
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn messages_trimmed_after_they_were_read_are_only_told(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    let mut notices = subscriber.notices();
    seen.expect(names("us", 1..=3)).await;
    handled(&subscriber, "us", 3).await;
    harness.trim(2).await;
    let trimmed = noticed(&mut notices, |notice| match notice {
        SubscriberNotice::Trimmed { to } => Some(to),
        _ => None,
    });
    assert_eq!(trimmed.await, 2);
    writer.write("us", [4]).await;
    seen.expect(names("us", [4])).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_log_that_begins_late_is_a_gap_for_a_new_subscriber(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    harness.trim(2).await;
    let (subscriber, _) = watch(harness, &MemoryStore::new()).await;
    let error = expect_lost(&subscriber).await;
    assert!(error.contains("1 to 2"), "{error}");
}

pub(crate) async fn a_log_that_lost_its_tail_is_noticed(harness: &impl Harness) {
    let store = MemoryStore::new();
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=2).await;
    harness.remember_tail().await;
    writer.write_each("us", 3..=4).await;
    let (subscriber, mut seen, mut gaps) = resume(harness, &store).await;
    seen.expect(names("us", 1..=4)).await;
    handled(&subscriber, "us", 4).await;
    harness.lose_tail(2).await;
    let (reason, _) = gaps.recv().await.expect("a gap");
    assert!(reason.contains("lost its tail"), "{reason}");
    // Another master's takes the place of what was lost, which was handled and comes back later.
    writer.write("eu", [1]).await;
    writer.write_each("us", 3..=5).await;
    seen.expect(["eu/1", "us/5"].map(String::from)).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_log_that_lost_its_tail_and_grew_beyond_it_is_noticed(harness: &impl Harness) {
    let store = MemoryStore::new();
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=2).await;
    harness.remember_tail().await;
    writer.write_each("us", 3..=4).await;
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", 1..=4)).await;
    handled(&subscriber, "us", 4).await;
    subscriber.close().await.expect("a sound store");
    harness.lose_tail(2).await;
    writer.write_each("eu", 1..=4).await;
    let (subscriber, mut seen, mut gaps) = resume(harness, &store).await;
    seen.expect(names("eu", 1..=4)).await;
    assert!(gaps.recv().await.expect("a gap").0.contains("lost its tail"));
    subscriber.close().await.expect("a sound store");
}
