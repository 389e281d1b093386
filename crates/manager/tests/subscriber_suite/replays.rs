use std::time::SystemTime;

use archipelago_manager::subscriber::{Cause, ReplayError, ReplayFrom, SubscriberStatus};

use super::*;

/// A subscriber that says what it sees and why.
async fn start(
    options: EventSubscriberBuilder,
) -> (EventSubscriber, mpsc::UnboundedReceiver<(String, Cause, SystemTime)>) {
    let (saw, seen) = mpsc::unbounded_channel();
    let options = options.on_event(move |delivery| {
        let event = &delivery.event;
        let _ = saw.send((entity(event), event.cause, event.stored_at));
        async { Ok(()) }
    });
    (options.start().await.expect("sound options"), seen)
}

async fn expect(
    seen: &mut mpsc::UnboundedReceiver<(String, Cause, SystemTime)>,
    names: Vec<String>,
    cause: Cause,
) -> Vec<SystemTime> {
    let mut times = Vec::new();
    for name in names {
        let (came, why, stored_at) = seen.recv().await.expect("the handler lives");
        assert_eq!((came, why), (name, cause));
        times.push(stored_at);
    }
    times
}

pub(crate) async fn a_replay_delivers_again_from_a_message_on(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=4).await;
    writer.write("us", 3..=5).await;
    let (subscriber, mut seen) = start(options(harness).await.checkpoint_store(MemoryStore::new())).await;
    let mut notices = subscriber.notices();
    expect(&mut seen, names("us", 1..=5), Cause::New).await;
    handled(&subscriber, "us", 5).await;
    for (from, first) in [(ReplayFrom::Sequence(3), 3), (ReplayFrom::Start, 1)] {
        assert_eq!(subscriber.replay(from).await.expect("the log holds it"), first);
        // Once each, although the log has some of them twice.
        expect(&mut seen, names("us", first..=5), Cause::Replay).await;
        let finished = noticed(&mut notices, |notice| match notice {
            SubscriberNotice::ReplayFinished { until } => Some(until),
            _ => None,
        });
        assert_eq!(finished.await, 5);
    }
    assert!(matches!(subscriber.status(), SubscriberStatus::Following));
    // What came before the replay is known after it.
    writer.write("us", 1..=6).await;
    expect(&mut seen, names("us", [6]), Cause::New).await;
    subscriber.close().await.expect("a sound store");
    assert!(seen.try_recv().is_err());
}

pub(crate) async fn a_replay_delivers_again_from_a_time_on(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=9).await;
    let (subscriber, mut seen) = start(options(harness).await.checkpoint_store(MemoryStore::new())).await;
    let times = expect(&mut seen, names("us", 1..=9), Cause::New).await;
    handled(&subscriber, "us", 9).await;
    let first_at = |time: SystemTime| times.iter().filter(|stored| **stored < time).count() as u64 + 1;
    for time in [times[0] - Duration::from_secs(1), times[4], times[8], SystemTime::UNIX_EPOCH] {
        let first = subscriber.replay(ReplayFrom::Time(time)).await.expect("the log holds it");
        assert_eq!(first, first_at(time));
        expect(&mut seen, names("us", first..=9), Cause::Replay).await;
    }
    // Nothing is that new: there is nothing to replay.
    let later = times[8] + Duration::from_secs(3_600);
    assert_eq!(subscriber.replay(ReplayFrom::Time(later)).await.expect("no error"), 10);
    writer.write("us", [10]).await;
    expect(&mut seen, names("us", [10]), Cause::New).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_replay_goes_on_after_a_restart(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let store = MemoryStore::new();
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", 1..=3)).await;
    handled(&subscriber, "us", 3).await;
    subscriber.close().await.expect("a sound store");
    // The process ends in the middle of the replay, with its second event under way.
    let (saw, mut seen) = Seen::channel();
    let options = options(harness).await.checkpoint_store(store.clone()).on_event(move |delivery| {
        let saw = saw.clone();
        async move {
            saw.send(entity(&delivery.event))?;
            if entity(&delivery.event) == "us/2" {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let subscriber = options.close_timeout(Duration::from_millis(1)).start().await.expect("sound options");
    assert!(subscriber.wait_for(|_| true).await);
    subscriber.replay(ReplayFrom::Start).await.expect("the log holds it");
    seen.expect(names("us", 1..=2)).await;
    assert!(matches!(subscriber.status(), SubscriberStatus::Replaying { until: 3 }));
    subscriber.close().await.expect("a sound store");
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", 2..=3)).await;
    assert!(subscriber.wait_for(|checkpoint| checkpoint.replaying_until().is_none()).await);
    subscriber.close().await.expect("a sound store");
    assert_eq!(seen.rest(), [""; 0]);
}

pub(crate) async fn a_replay_that_cannot_be_is_refused_and_changes_nothing(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=5).await;
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    seen.expect(names("us", 1..=5)).await;
    assert!(subscriber.wait_for(|checkpoint| checkpoint.sequence() == 5).await);
    harness.trim(2).await;
    let gone = subscriber.replay(ReplayFrom::Sequence(2)).await.expect_err("it is gone");
    assert!(matches!(gone, ReplayError::Gone { asked: 2, first_sequence: 3 }), "{gone}");
    let ahead = subscriber.replay(ReplayFrom::Sequence(7)).await.expect_err("it is yet to come");
    assert!(matches!(ahead, ReplayError::Ahead { asked: 7, next_sequence: 6 }), "{ahead}");
    assert_eq!(subscriber.replay(ReplayFrom::Start).await.expect("what is left"), 3);
    seen.expect(names("us", 3..=5)).await;
    subscriber.close().await.expect("a sound store");
    assert!(matches!(subscriber.replay(ReplayFrom::Start).await, Err(ReplayError::Stopped)));
    assert_eq!(seen.rest(), [""; 0]);
}

pub(crate) async fn a_new_subscriber_starts_where_it_is_told(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=6).await;
    let store = MemoryStore::new();
    let from = options(harness).await.checkpoint_store(store.clone()).start_from(ReplayFrom::Sequence(4));
    let (subscriber, mut seen) = start(from).await;
    let times = expect(&mut seen, names("us", 4..=6), Cause::New).await;
    handled(&subscriber, "us", 6).await;
    subscriber.close().await.expect("a sound store");
    // With a checkpoint it goes on from there.
    let from = options(harness).await.checkpoint_store(store).start_from(ReplayFrom::Start);
    let (subscriber, mut seen) = start(from).await;
    writer.write("us", 6..=7).await;
    expect(&mut seen, names("us", [7]), Cause::New).await;
    subscriber.close().await.expect("a sound store");

    let since = options(harness).await.checkpoint_store(MemoryStore::new());
    let (subscriber, mut seen) = start(since.start_from(ReplayFrom::Time(times[2]))).await;
    expect(&mut seen, names("us", 6..=7), Cause::New).await;
    subscriber.close().await.expect("a sound store");

    harness.trim(3).await;
    for (sequence, words) in [(2, "2 is gone"), (20, "yet to come")] {
        let nowhere = options(harness).await.checkpoint_store(MemoryStore::new());
        let (subscriber, _) = start(nowhere.start_from(ReplayFrom::Sequence(sequence))).await;
        let error = stopped(&subscriber).await;
        assert!(error.to_string().contains(words), "{error}");
    }
}
