use archipelago_manager::{
    MultiMasterManager,
    subscriber::{Cause, CheckpointMode, SubscriberStatus, put_checkpoint},
};
use archipelago_store::{Batch, Durability, Store, Table};

use super::*;

pub(crate) async fn events_come_once_and_in_the_order_of_the_log(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=3).await;
    writer.write("eu", [1]).await;
    // Sent again after an acknowledgement was lost: wholly, and as a part of a larger message.
    writer.write("us", 1..=3).await;
    writer.write("us", 2..=5).await;
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    seen.expect(["us/1", "us/2", "us/3", "eu/1", "us/4", "us/5"].map(String::from)).await;
    // Pushed as well as read.
    writer.write("eu", [2]).await;
    seen.expect(names("eu", [2])).await;
    handled(&subscriber, "eu", 2).await;
    assert!(subscriber.wait_for(|checkpoint| checkpoint.sequence() == 5).await);
    assert_eq!(subscriber.metrics().duplicates_skipped, 5);
    assert_eq!(subscriber.metrics().events_handled, 7);
    assert!(matches!(subscriber.status(), SubscriberStatus::Following));
    subscriber.close().await.expect("a sound store");
    assert!(matches!(subscriber.status(), SubscriberStatus::Closed));
    assert_eq!(seen.rest(), [""; 0]);
}

pub(crate) async fn a_batch_has_up_to_batch_size_events(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=7).await;
    let (saw, mut seen) = Seen::channel();
    let subscriber = options(harness).await.checkpoint_store(MemoryStore::new()).batch_size(3);
    let subscriber = subscriber.on_batch(move |delivery| {
        let events = &delivery.events;
        assert!(events.iter().all(|event| event.sequence == 1 && event.cause == Cause::New));
        // The message counts as handled once its last event is.
        let last = events.last().is_some_and(|event| event.event.dot.sequence == 7);
        assert_eq!(delivery.checkpoint.sequence(), u64::from(last));
        let _ = saw.send(batch_names(&delivery));
        async { Ok(()) }
    });
    let subscriber = subscriber.start().await.expect("sound options");
    seen.expect(["us/1 us/2 us/3", "us/4 us/5 us/6", "us/7"].map(String::from)).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_subscriber_goes_on_where_it_was_even_within_a_message(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=4).await;
    let store = MemoryStore::new();
    for life in 1..=4 {
        let (saw, mut seen) = Seen::channel();
        let (go, mut gone) = mpsc::channel::<()>(1);
        let subscriber = options(harness).await.checkpoint_store(store.clone()).on_event(move |delivery| {
            let (saw, go) = (saw.clone(), go.clone());
            async move {
                saw.send(entity(&delivery.event))?;
                if delivery.event.event.dot.sequence > life {
                    // It hangs here until the process ends.
                    go.send(()).await?;
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        let subscriber = subscriber.close_timeout(Duration::from_millis(1)).start().await.expect("sound");
        seen.expect(names("us", [life])).await;
        handled(&subscriber, "us", life).await;
        if life < 4 {
            seen.expect(names("us", [life + 1])).await;
            gone.recv().await;
        }
        subscriber.close().await.expect("a sound store");
        assert_eq!(seen.rest(), [""; 0]);
    }
}

pub(crate) async fn events_out_of_order_come_once_also_after_a_restart(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    // The outbox of a master was sent again from an earlier place.
    for sequences in [1..=2, 5..=6, 9..=9] {
        writer.write("us", sequences).await;
    }
    let store = MemoryStore::new();
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", [1, 2, 5, 6, 9])).await;
    handled(&subscriber, "us", 9).await;
    let checkpoint = subscriber.checkpoint().expect("it has seen the log");
    assert_eq!(checkpoint.vector().get(&dot("us", 1).actor), 2, "without a gap");
    subscriber.close().await.expect("a sound store");

    writer.write("us", 3..=9).await;
    let (subscriber, mut seen) = watch(harness, &store).await;
    seen.expect(names("us", [3, 4, 7, 8])).await;
    handled(&subscriber, "us", 8).await;
    let checkpoint = subscriber.checkpoint().expect("it has seen the log");
    assert_eq!(checkpoint.vector().get(&dot("us", 1).actor), 9);
    subscriber.close().await.expect("a sound store");
    assert_eq!(seen.rest(), [""; 0]);
}

pub(crate) async fn auto_delivers_again_what_a_crash_kept_from_the_checkpoint(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let checkpoints = Checkpoints::default();
    let start = async |saw: mpsc::UnboundedSender<String>, crash_at: Option<&'static str>| {
        let refuse = checkpoints.refuse.clone();
        let options = options(harness).await.checkpoint_store(checkpoints.clone()).max_retries(0);
        let options = options.on_event(move |delivery| {
            let name = entity(&delivery.event);
            refuse.store(crash_at == Some(name.as_str()), Ordering::SeqCst);
            let _ = saw.send(name);
            async { Ok(()) }
        });
        options.start().await.expect("sound options")
    };
    let (saw, mut seen) = Seen::channel();
    let crashed = start(saw, Some("us/2")).await;
    assert!(matches!(&*stopped(&crashed).await, SubscriberError::CheckpointStore { .. }));
    seen.expect(names("us", 1..=2)).await;
    assert_eq!(seen.rest(), [""; 0]);
    let (saw, mut seen) = Seen::channel();
    let restarted = start(saw, None).await;
    // Once more, and nothing before it.
    seen.expect(names("us", 2..=3)).await;
    restarted.close().await.expect("a sound store");
}

/// Counts for each entity in the entities of a store, in one batch with the checkpoint.
pub(crate) async fn an_effect_stored_with_its_checkpoint_happens_once_wherever_a_crash_strikes(
    harness: &impl Harness,
) {
    let writer = Writer::new(harness).await;
    writer.write("us", 1..=4).await;
    writer.write("us", 3..=8).await;
    writer.write("eu", 1..=4).await;
    let store = MemoryStore::new();
    // The process ends right after so many commits, and in the life after that right before.
    for crash in 0..6 {
        let (crashed, mut crashes) = mpsc::channel::<()>(1);
        let (effects, mut calls) = (store.clone(), 0);
        let options = options(harness).await.checkpoint_store(store.clone());
        let options = options.checkpoint_mode(CheckpointMode::Manual).batch_size(3);
        let subscriber = options.close_timeout(Duration::from_millis(1)).on_batch(move |delivery| {
            calls += 1;
            let (effects, crashed, crashes) = (effects.clone(), crashed.clone(), calls > crash / 2);
            async move {
                let before = crash % 2 == 0;
                if crashes && before {
                    crashed.send(()).await?;
                    std::future::pending::<()>().await;
                }
                let mut batch = Batch::new();
                for event in &delivery.events {
                    let key = entity(event);
                    let count = effects.get(Table::Entities, key.as_bytes())?.map_or(0, |count| count[0]);
                    batch.put(Table::Entities, key, vec![count + 1]);
                }
                put_checkpoint(&mut batch, "test", &delivery.checkpoint);
                effects.commit(batch, Durability::Fsync)?;
                if crashes {
                    crashed.send(()).await?;
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        let subscriber = subscriber.start().await.expect("sound options");
        tokio::select! {
            _ = crashes.recv() => {}
            () = handled(&subscriber, "eu", 4) => {}
        }
        subscriber.close().await.expect("closed");
    }
    let (subscriber, mut seen) = watch(harness, &store).await;
    writer.write("eu", [5]).await;
    seen.expect(names("eu", [5])).await;
    subscriber.close().await.expect("a sound store");
    for name in names("us", 1..=8).into_iter().chain(names("eu", 1..=4)) {
        let count = store.get(Table::Entities, name.as_bytes()).expect("open");
        assert_eq!(count.as_deref(), Some(&[1][..]), "{name}");
    }
}

pub(crate) async fn manual_goes_on_from_what_was_committed(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let store = MemoryStore::new();
    let start = async || {
        let (came, coming) = mpsc::unbounded_channel();
        let options = options(harness).await.checkpoint_store(store.clone());
        let options = options.checkpoint_mode(CheckpointMode::Manual).on_event(move |delivery| {
            let _ = came.send((entity(&delivery.event), delivery.checkpoint));
            async { Ok(()) }
        });
        (options.start().await.expect("sound options"), coming)
    };
    let (subscriber, mut coming) = start().await;
    for name in names("us", 1..=3) {
        let (came, checkpoint) = coming.recv().await.expect("an event");
        assert_eq!(came, name);
        if name == "us/2" {
            subscriber.commit(&checkpoint).await.expect("a sound store");
        }
    }
    subscriber.close().await.expect("a sound store");
    assert_eq!(subscriber.metrics().checkpoints_saved, 0);
    let (subscriber, mut coming) = start().await;
    assert_eq!(coming.recv().await.expect("an event").0, "us/3");
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn interval_saves_once_in_a_while_and_at_the_close(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    let checkpoints = Checkpoints::default();
    let start = async |mode| {
        let (saw, seen) = Seen::channel();
        let options = options(harness).await.checkpoint_store(checkpoints.clone());
        let options = options.checkpoint_mode(mode).on_event(tell(saw));
        (options.start().await.expect("sound options"), seen)
    };
    let (subscriber, _seen) = start(CheckpointMode::Interval(Duration::from_millis(20))).await;
    writer.write_each("us", 1..=2).await;
    handled(&subscriber, "us", 2).await;
    let saved = async {
        while !checkpoints.load("test").expect("sound").is_some_and(|saved| saved.contains(&dot("us", 2))) {
            tokio::task::yield_now().await;
        }
    };
    within("it is saved without a further event", saved).await;
    subscriber.close().await.expect("a sound store");

    let (subscriber, mut seen) = start(CheckpointMode::INTERVAL).await;
    writer.write_each("us", 3..=4).await;
    seen.expect(names("us", 3..=4)).await;
    handled(&subscriber, "us", 4).await;
    let saved = checkpoints.load("test").expect("sound").expect("one was saved");
    assert!(!saved.contains(&dot("us", 4)), "not yet");
    subscriber.close().await.expect("a sound store");
    let (subscriber, mut seen) = start(CheckpointMode::INTERVAL).await;
    writer.write("us", [5]).await;
    seen.expect(names("us", [5])).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn resume_from_needs_no_checkpoint_store(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=3).await;
    let mut stored = None;
    for expected in [1, 2, 3] {
        let (came, mut coming) = mpsc::unbounded_channel();
        let options = options(harness).await.checkpoint_mode(CheckpointMode::Manual);
        let options =
            options.resume_from(stored.map(|bytes: Vec<u8>| Checkpoint::decode(&bytes).expect("sound")));
        let subscriber = options.on_event(move |delivery| {
            let _ = came.send((entity(&delivery.event), delivery.checkpoint.encode()));
            async { Ok(()) }
        });
        let subscriber = subscriber.start().await.expect("sound options");
        let (came, checkpoint) = coming.recv().await.expect("an event");
        assert_eq!(came, name("us", expected));
        stored = Some(checkpoint);
        let checkpoint = subscriber.checkpoint().expect("it has seen the log");
        assert!(matches!(subscriber.commit(&checkpoint).await, Err(SubscriberError::Option { .. })));
        subscriber.close().await.expect("closed");
    }
}

pub(crate) async fn an_outage_loses_and_repeats_nothing(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write_each("us", 1..=20).await;
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    seen.expect(names("us", 1..=20)).await;
    for life in 1..=2 {
        harness.stop_broker().await;
        harness.start_broker().await;
        writer.write_each("us", life * 20 + 1..=life * 20 + 20).await;
        seen.expect(names("us", life * 20 + 1..=life * 20 + 20)).await;
    }
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_subscriber_waits_for_the_first_master(harness: &impl Harness) {
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    assert!(matches!(subscriber.status(), SubscriberStatus::Connecting));
    assert!(subscriber.checkpoint().is_none());
    let writer = Writer::new(harness).await;
    writer.write("us", [1]).await;
    seen.expect(names("us", [1])).await;
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn unusable_messages_are_skipped_and_counted(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    let limits = Limits::default();
    let mut foreign = BatchEncoder::new("another", &limits);
    foreign.push(&event("us", 1));
    let foreign = foreign.finish().expect("small").expect("an event");
    for garbage in [&b"garbage"[..], b"", &foreign] {
        writer.send("us", Bytes::copy_from_slice(garbage)).await;
    }
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    writer.write("us", [1]).await;
    seen.expect(names("us", [1])).await;
    assert!(subscriber.wait_for(|checkpoint| checkpoint.sequence() == 4).await);
    assert_eq!(subscriber.metrics().messages_unreadable, 3);
    subscriber.close().await.expect("a sound store");
}

pub(crate) async fn a_message_of_a_newer_build_holds_the_checkpoint_back(harness: &impl Harness) {
    let writer = Writer::new(harness).await;
    writer.write("us", [1]).await;
    // An envelope of version 2, see docs/FORMAT.md.
    let newer = [&b"\x95\xabarchipelago\x02"[..], b"\x01\x00\xc4\x00"].concat();
    writer.send("us", newer.into()).await;
    writer.write("us", [3]).await;
    let store = MemoryStore::new();
    for life in 0..2 {
        let (subscriber, mut seen) = watch(harness, &store).await;
        writer.write("eu", [life + 1]).await;
        match life {
            0 => seen.expect(["us/1", "us/3", "eu/1"].map(String::from)).await,
            _ => seen.expect(names("eu", [2])).await,
        }
        handled(&subscriber, "eu", life + 1).await;
        assert_eq!(subscriber.checkpoint().expect("it has seen the log").sequence(), 1);
        assert_eq!(subscriber.metrics().messages_unreadable, 1);
        subscriber.close().await.expect("a sound store");
        assert_eq!(seen.rest(), [""; 0]);
    }
}

pub(crate) async fn what_a_manager_writes_arrives(harness: &impl Harness) {
    let master = MultiMasterManager::builder().master_id("us-east").namespace(NAMESPACE);
    let master = master.store(MemoryStore::new()).pipeline(Switch::new(harness.pipeline().await));
    let master = master.start().await.expect("a sound store");
    let (subscriber, mut seen) = watch(harness, &MemoryStore::new()).await;
    let mut last = None;
    for number in 1..=50 {
        last = Some(master.write(name("user", number), &number).await.expect("a write"));
    }
    seen.expect(names("user", 1..=50)).await;
    let last = last.expect("fifty").dot;
    assert!(subscriber.wait_for(|checkpoint| checkpoint.contains(&last)).await);
    assert_eq!(subscriber.checkpoint().expect("it has seen the log").vector(), &master.vector_clock());
    subscriber.close().await.expect("a sound store");
    master.close().await.expect("a sound store");
}
