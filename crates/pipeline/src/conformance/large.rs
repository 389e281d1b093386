use futures::{FutureExt, future::join};

use super::{peers::announce_until_heard, *};
use crate::{Heard, Listener};

/// A payload that takes `messages` messages, and differs from those of other seeds in every part.
fn large(pipeline: &dyn Pipeline, messages: usize, seed: u8) -> Bytes {
    let bytes = pipeline.payload_bytes_good().expect("known once connected") * (messages - 1) + 1;
    assert!(
        bytes <= pipeline.payload_bytes_max().expect("known once connected"),
        "the suite needs more room"
    );
    (0..bytes).map(|at| u8::try_from(at % 251).expect("a byte") ^ seed).collect::<Vec<_>>().into()
}

fn large_message(origin: &str, number: usize, payload: &Bytes) -> Outgoing {
    Outgoing { payload: payload.clone(), ..message(origin, number) }
}

/// The parts take places of their own, which the subscription tells of; the payload comes with the last, as published,
/// and the acknowledgement names it.
pub async fn a_payload_larger_than_a_message_arrives_whole<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let mut subscription = subscribe(&*pipeline, 0).await;
    publish_all(&*pipeline, "a", 0..1).await;
    let payload = large(&*pipeline, 40, 0);
    let ack = publish(&*pipeline, large_message("a", 1, &payload)).await.expect("publishing");
    publish_all(&*pipeline, "a", 2..3).await;
    let last = pipeline.state().await.expect("the state").last_sequence;
    assert_eq!(last, ack.sequence + 1);
    assert!((42..=44).contains(&last), "as few parts as fit: {last}");
    for sequence in 1..=last {
        let incoming = next(&mut *subscription).await;
        assert_eq!((incoming.sequence, &*incoming.origin), (sequence, "a"));
        match sequence {
            1 => assert_eq!(text(&incoming), "a:0"),
            _ if sequence == ack.sequence => assert!(incoming.payload == Some(payload.clone())),
            _ if sequence == last => assert_eq!(text(&incoming), "a:2"),
            _ => assert_eq!(incoming.payload, None, "a part"),
        }
    }
}

/// Two senders whose parts stand between one another are both understood.
pub async fn parts_of_two_senders_do_not_mix<H: Harness>(harness: &H) {
    let (left, right) = (harness.pipeline().await, harness.pipeline().await);
    left.open().await.expect("opening");
    let mut subscription = subscribe(&*left, 0).await;
    let payloads = [large(&*left, 40, 1), large(&*left, 40, 2)];
    // The same number, and with it the same end of the message id: the origin tells.
    let (a, b) = join(
        publish(&*left, large_message("left", 0, &payloads[0])),
        publish(&*right, large_message("right", 0, &payloads[1])),
    )
    .await;
    let mut expected = [
        (a.expect("publishing").sequence, "left", &payloads[0]),
        (b.expect("publishing").sequence, "right", &payloads[1]),
    ];
    expected.sort_by_key(|(sequence, ..)| *sequence);
    for (sequence, origin, payload) in expected {
        let incoming = next_whole(&mut *subscription).await;
        assert_eq!((incoming.sequence, &*incoming.origin), (sequence, origin));
        assert!(incoming.payload.as_ref() == Some(payload), "the payload of {origin}");
    }
}

/// A broker that goes down when it has some of the parts gets the others by a retry; nothing is delivered before.
pub async fn a_broker_lost_amid_a_payload_gets_the_rest_by_a_retry<H: Harness>(harness: &H) {
    let (writer, reader) = (harness.pipeline().await, harness.pipeline().await);
    writer.open().await.expect("opening");
    let mut subscription = subscribe(&*reader, 0).await;
    let payload = large(&*writer, 40, 3);
    let mut publishing = writer.publish(large_message("a", 0, &payload));
    // What is not polled sends no more than the first few parts.
    let first = within("the first parts", async {
        loop {
            assert!((&mut publishing).now_or_never().is_none(), "there are more parts to send");
            match reader.state().await.expect("the state").last_sequence {
                0 => tokio::task::yield_now().await,
                stored => return stored,
            }
        }
    })
    .await;
    assert!(first < 40, "{first} parts");
    harness.stop_broker().await;
    until_down(&*writer).await;
    let lost = match within("an answer", publishing).await {
        Ok(pending) => within("an answer", pending).await.err(),
        Err(error) => Some(error),
    };
    assert!(lost.as_ref().is_some_and(PipelineError::is_retryable), "{lost:?}");
    harness.start_broker().await;
    until_up(&*writer).await;
    let ack = publish_until_acknowledged(&*writer, large_message("a", 0, &payload)).await;
    publish_until_acknowledged(&*writer, message("a", 1)).await;
    let whole = next_whole(&mut *subscription).await;
    assert_eq!(whole.sequence, ack.sequence);
    assert!(whole.payload == Some(payload));
    assert_eq!(text(&next_whole(&mut *subscription).await), "a:1");
}

/// Each part has an id of its own that a retry repeats.
pub async fn a_repeated_large_payload_is_not_stored_again<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let payload = large(&*pipeline, 5, 4);
    let first = publish(&*pipeline, large_message("a", 0, &payload)).await.expect("publishing");
    assert!(!first.duplicate);
    publish_all(&*pipeline, "a", 1..2).await;
    let again = publish(&*pipeline, large_message("a", 0, &payload)).await.expect("publishing again");
    assert_eq!(again, PublishAck { sequence: first.sequence, duplicate: true });
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, first.sequence + 1);
}

/// Wherever among the parts a subscription begins, the payload comes whole, and nothing from before it.
pub async fn a_reader_that_starts_amid_a_payload_gets_it_whole<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..10).await;
    let payload = large(&*pipeline, 5, 5);
    let ack = publish(&*pipeline, large_message("a", 10, &payload)).await.expect("publishing");
    publish_all(&*pipeline, "a", 11..12).await;
    for after in 10..ack.sequence {
        let mut subscription = subscribe(&*pipeline, after).await;
        for sequence in after + 1..ack.sequence {
            let part = next(&mut *subscription).await;
            assert_eq!((part.sequence, part.payload), (sequence, None));
        }
        let whole = next(&mut *subscription).await;
        assert_eq!(whole.sequence, ack.sequence);
        assert!(whole.payload.as_ref() == Some(&payload), "after {after}");
        assert_eq!(text(&next(&mut *subscription).await), "a:11");
    }
}

/// Both ways are as wide as the log.
pub async fn questions_and_answers_larger_than_a_message_arrive_whole<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let mut in_tokyo = tokyo.listen("tokyo").await.expect("listening");
    announce_until_heard(&*paris, "paris", Bytes::from_static(b"up"), &mut *in_tokyo).await;
    let (question, reply) = (large(&*paris, 20, 6), large(&*paris, 40, 7));
    let answering = async {
        loop {
            if let Heard::Question { payload, answer } = in_tokyo.next().await.expect("listening") {
                let right = payload == question;
                answer.send(if right { reply.clone() } else { Bytes::from_static(b"wrong") }).await;
            }
        }
    };
    let asking = async {
        let (one, two) = join(
            paris.ask("tokyo", question.clone(), DEADLINE),
            paris.ask("tokyo", Bytes::from_static(b"small"), DEADLINE),
        )
        .await;
        assert!(one.expect("an answer") == reply);
        assert_eq!(two.expect("an answer"), "wrong");
        let bytes_max = paris.payload_bytes_max().expect("known once connected");
        let refused = paris.ask("tokyo", Bytes::from(vec![0; bytes_max + 1]), DEADLINE).await;
        assert!(matches!(refused, Err(PipelineError::TooLarge { .. })), "{refused:?}");
    };
    tokio::select! {
        () = within("the answers", asking) => {}
        () = answering => {}
    }
}

/// What everyone is told may be large as well.
pub async fn an_announcement_larger_than_a_message_arrives_whole<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let mut listeners: Vec<Box<dyn Listener>> = vec![
        paris.listen("paris").await.expect("listening"),
        tokyo.listen("tokyo").await.expect("listening"),
    ];
    for listener in &mut listeners {
        announce_until_heard(&*paris, "paris", Bytes::from_static(b"up"), &mut **listener).await;
    }
    let payload = large(&*paris, 10, 8);
    paris.announce("paris", payload.clone()).await.expect("announcing");
    for listener in &mut listeners {
        let hearing = async {
            loop {
                match listener.next().await.expect("listening") {
                    Heard::Announcement { payload: heard, .. } if heard == payload => return,
                    Heard::Announcement { payload: heard, .. } => assert_eq!(heard, "up"),
                    Heard::Question { .. } => panic!("nobody asks"),
                }
            }
        };
        within("the announcement", hearing).await;
    }
}
