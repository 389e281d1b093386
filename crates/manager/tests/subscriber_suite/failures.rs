use archipelago_manager::subscriber::{Cause, DeadLetterError, DeliveryFailure, NextStep};

use super::*;

/// A subscriber that fails as `failures` says, with dead letters in `letters`, and says what it handled.
async fn start(
    options: EventSubscriberBuilder,
    failures: &Failures,
) -> (EventSubscriber, Seen, mpsc::UnboundedReceiver<DeliveryFailure>) {
    let (saw, seen) = Seen::channel();
    let (told, failed) = mpsc::unbounded_channel();
    let failures = failures.clone();
    let options = options.on_error(move |failure| drop(told.send(failure.clone())));
    let options = options.on_event(move |delivery| {
        let name = entity(&delivery.event);
        let outcome = failures.check(&name);
        if outcome.is_ok() {
            let _ = saw.send(name);
        }
        async { outcome }
    });
    (options.start().await.expect("sound options"), seen, failed)
}

pub(crate) async fn failures_are_retried_in_order_and_then_put_aside(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=4).await;
    let failures = Failures::default();
    failures.fail("us/2", 3);
    failures.fail("us/3", 4);
    let options = options(harness).await.checkpoint_store(MemoryStore::new());
    let options = options.dead_letter_store(MemoryStore::new()).retry_delay(Duration::from_millis(8));
    let (subscriber, mut seen, mut failed) = start(options, &failures).await;
    let mut notices = subscriber.notices();
    // The fourth attempt succeeds; of the third event it fails too.
    seen.expect(names("us", [1, 2, 4])).await;
    for (sequence, attempts) in [(2, 1..=3), (3, 1..=4)] {
        for attempt in attempts {
            let failure = failed.recv().await.expect("it is told");
            assert_eq!((failure.events, failure.attempt), (vec![dot("us", sequence)], attempt));
            assert!(failure.reason.contains("no luck"), "{}", failure.reason);
            match failure.next {
                NextStep::Retry { after } => {
                    // 8, 16 and 32 ms, less up to a half.
                    let longest = Duration::from_millis(8 << (attempt - 1));
                    assert!(attempt <= 3 && after <= longest && after >= longest / 2, "{after:?}");
                }
                next => assert_eq!((next, attempt), (NextStep::DeadLetter, 4)),
            }
        }
    }
    handled(&subscriber, "us", 4).await;
    let metrics = subscriber.metrics();
    assert_eq!((metrics.events_handled, metrics.failures), (3, 7));
    assert_eq!((metrics.events_dead_lettered, metrics.dead_letters), (1, 1));
    assert!(subscriber.checkpoint().expect("connected").contains(&dot("us", 3)), "it is not read again");
    let put_aside = noticed(&mut notices, |notice| match notice {
        SubscriberNotice::DeadLettered { event, .. } => Some(event),
        _ => None,
    });
    assert_eq!(put_aside.await, dot("us", 3));
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_dead_letter_is_listed_retried_and_discarded(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=5).await;
    let (failures, letters, store) = (Failures::default(), MemoryStore::new(), MemoryStore::new());
    for bad in names("us", [1, 3, 5]) {
        failures.fail(&bad, 1);
    }
    let (causes, mut caused) = mpsc::unbounded_channel();
    let builder = options(harness).await.checkpoint_store(store.clone()).max_retries(0);
    let failing = failures.clone();
    let builder = builder.dead_letter_store(letters.clone()).on_event(move |delivery| {
        let outcome = failing.check(&entity(&delivery.event));
        let _ = causes.send((entity(&delivery.event), delivery.event.cause, delivery.attempt));
        async { outcome }
    });
    let subscriber = builder.start().await.expect("sound options");
    handled(&subscriber, "us", 5).await;
    for name in names("us", 1..=5) {
        assert_eq!(caused.recv().await, Some((name, Cause::New, 1)));
    }

    let all = subscriber.dead_letters(None, 10).await.expect("a sound store");
    assert_eq!(all.iter().map(|letter| letter.id.event.sequence).collect::<Vec<_>>(), [1, 3, 5]);
    assert!(all.iter().all(|letter| letter.attempts == 1 && letter.reason.contains("no luck")));
    assert_eq!(all[1].event, event("us", 3));
    let page = subscriber.dead_letters(Some(&all[0].id), 1).await.expect("a sound store");
    assert_eq!(page, [all[1].clone()]);

    subscriber.retry_dead_letter(&all[0].id).await.expect("the handler is content by now");
    assert_eq!(caused.recv().await, Some(("us/1".into(), Cause::DeadLetter, 2)));
    failures.fail("us/3", 1);
    let again = subscriber.retry_dead_letter(&all[1].id).await.expect_err("it fails once more");
    assert!(matches!(again, DeadLetterError::Failed { .. }), "{again}");
    subscriber.discard_dead_letter(&all[2].id).await.expect("it is there");
    let gone = subscriber.discard_dead_letter(&all[2].id).await.expect_err("it is gone");
    assert!(matches!(gone, DeadLetterError::Unknown { .. }), "{gone}");
    subscriber.close().await.expect("a sound store");
    assert!(matches!(subscriber.retry_dead_letter(&all[1].id).await, Err(DeadLetterError::Stopped)));

    // What is left is there in the next life, and in no other subscriber's.
    let (other, _seen) = {
        let (saw, seen) = Seen::channel();
        let options = options(harness).await.name("test-2").checkpoint_store(store.clone());
        (options.dead_letter_store(letters.clone()).on_event(tell(saw)).start().await.expect("sound"), seen)
    };
    assert_eq!(other.dead_letters(None, 10).await.expect("a sound store"), []);
    other.close().await.expect("a sound store");
    let options = options(harness).await.checkpoint_store(store).dead_letter_store(letters);
    let (subscriber, mut seen, _) = start(options, &failures).await;
    assert_eq!(subscriber.metrics().dead_letters, 1);
    let left = subscriber.dead_letters(None, 10).await.expect("a sound store");
    assert_eq!((left.len(), &left[0].id, left[0].attempts), (1, &all[1].id, 2));
    subscriber.retry_dead_letter(&left[0].id).await.expect("the handler is content by now");
    seen.expect(names("us", [3])).await;
    assert_eq!(subscriber.metrics().dead_letters, 0);
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn without_a_dead_letter_store_the_subscriber_stops_and_loses_nothing(
    harness: &impl Harness,
) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=3).await;
    let (failures, store) = (Failures::default(), MemoryStore::new());
    failures.fail("us/2", 4);
    let (subscriber, mut seen, mut failed) =
        start(options(harness).await.checkpoint_store(store.clone()), &failures).await;
    match &*stopped(&subscriber).await {
        SubscriberError::HandlerFailed { event, attempts: 4, .. } => assert_eq!(*event, dot("us", 2)),
        other => panic!("{other}"),
    }
    assert_eq!(seen.rest(), names("us", [1]));
    let last = std::iter::from_fn(|| failed.try_recv().ok()).last().expect("it is told");
    assert_eq!(last.next, NextStep::Stop);
    assert!(matches!(subscriber.dead_letters(None, 1).await, Err(DeadLetterError::NoStore)));
    assert!(matches!(&*subscriber.close().await.expect_err("why"), SubscriberError::HandlerFailed { .. }));
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", 2..=3)).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_full_dead_letter_store_stops_and_loses_nothing(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=4).await;
    let (failures, store, letters) = (Failures::default(), MemoryStore::new(), MemoryStore::new());
    for bad in names("us", [1, 2, 3]) {
        failures.fail(&bad, 1);
    }
    let bounded = async || {
        let options = options(harness).await.checkpoint_store(store.clone()).max_retries(0);
        options.dead_letter_store(letters.clone()).dead_letters_max(2)
    };
    let (subscriber, _, _) = start(bounded().await, &failures).await;
    let error = stopped(&subscriber).await;
    assert!(matches!(&*error, SubscriberError::DeadLettersFull { dead_letters: 2 }), "{error}");
    assert!(error.to_string().contains("dead_letters_max"), "{error}");
    let all = subscriber.dead_letters(None, 10).await.expect("also of a stopped one");
    assert_eq!(all.len(), 2);
    subscriber.discard_dead_letter(&all[0].id).await.expect("also of a stopped one");
    failures.fail("us/3", 1);
    let (subscriber, mut seen, _) = start(bounded().await, &failures).await;
    seen.expect(names("us", [4])).await;
    let all = subscriber.dead_letters(None, 10).await.expect("a sound store");
    assert_eq!(all.iter().map(|letter| letter.id.event.sequence).collect::<Vec<_>>(), [2, 3]);
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn an_event_put_aside_twice_is_one_dead_letter(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    let (checkpoints, letters, failures) = (Checkpoints::default(), MemoryStore::new(), Failures::default());
    failures.fail("us/1", 2);
    let bounded = async || {
        let options = options(harness).await.checkpoint_store(checkpoints.clone()).max_retries(0);
        options.dead_letter_store(letters.clone())
    };
    // The process ends after the event was put aside, and before the checkpoint says so.
    let (subscriber, _, _) = start(bounded().await, &failures).await;
    assert!(subscriber.wait_for(|_| true).await);
    while subscriber.metrics().checkpoints_saved == 0 {
        tokio::task::yield_now().await;
    }
    checkpoints.refuse.store(true, Ordering::SeqCst);
    writer.write("us", 1..=2).await;
    stopped(&subscriber).await;
    checkpoints.refuse.store(false, Ordering::SeqCst);
    let (subscriber, mut seen, _) = start(bounded().await, &failures).await;
    seen.expect(names("us", [2])).await;
    assert_eq!(subscriber.dead_letters(None, 10).await.expect("a sound store").len(), 1);
    assert_eq!(subscriber.metrics().dead_letters, 1);
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn one_bad_event_does_not_take_its_batch_along(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=6).await;
    let (saw, mut seen) = Seen::channel();
    let (told, mut failed) = mpsc::unbounded_channel();
    let options = options(harness).await.checkpoint_store(MemoryStore::new()).max_retries(1).batch_size(4);
    let options = options.dead_letter_store(MemoryStore::new());
    let options =
        options.on_error(move |failure| drop(told.send((failure.events.len(), failure.next.clone()))));
    let options = options.on_batch(move |delivery| {
        let bad = delivery.events.iter().any(|event| entity(event) == "us/3");
        if !bad {
            let _ = saw.send(batch_names(&delivery));
        }
        async move { if bad { Err("a bad event".into()) } else { Ok(()) } }
    });
    let subscriber = options.start().await.expect("sound options");
    seen.expect(["us/1", "us/2", "us/4", "us/5 us/6"].map(String::from)).await;
    handled(&subscriber, "us", 6).await;
    let mut nexts = Vec::new();
    while let Ok((events, next)) = failed.try_recv() {
        nexts.push((events, matches!(next, NextStep::Retry { .. }), next));
    }
    assert!(nexts[0].1 && nexts[2].1 && nexts.len() == 4, "{nexts:?}");
    assert_eq!((nexts[1].0, &nexts[1].2), (4, &NextStep::OneByOne));
    assert_eq!((nexts[3].0, &nexts[3].2), (1, &NextStep::DeadLetter));
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_panic_is_a_failure(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=2).await;
    let (saw, mut seen) = Seen::channel();
    let options = options(harness).await.checkpoint_store(MemoryStore::new()).max_retries(1);
    let options = options.dead_letter_store(MemoryStore::new()).on_event(move |delivery| {
        assert!(entity(&delivery.event) != "us/1", "not this one");
        let _ = saw.send(entity(&delivery.event));
        async { Ok(()) }
    });
    let subscriber = options.start().await.expect("sound options");
    seen.expect(names("us", [2])).await;
    let letters = subscriber.dead_letters(None, 10).await.expect("a sound store");
    assert!(letters[0].reason.contains("panicked: not this one"), "{}", letters[0].reason);
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_checkpoint_that_cannot_be_saved_stops_the_subscriber(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    let checkpoints = Checkpoints::default();
    let (saw, mut seen) = Seen::channel();
    let options = options(harness).await.checkpoint_store(checkpoints.clone()).on_event(tell(saw));
    let subscriber = options.start().await.expect("sound options");
    writer.write("us", [1]).await;
    seen.expect(names("us", [1])).await;
    handled(&subscriber, "us", 1).await;
    checkpoints.refuse.store(true, Ordering::SeqCst);
    writer.write("us", [2]).await;
    let error = stopped(&subscriber).await;
    assert!(matches!(&*error, SubscriberError::CheckpointStore { action: "saved", .. }), "{error}");
    assert!(error.to_string().contains("about to crash"), "{error}");
}
