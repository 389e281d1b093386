//! Payloads that are larger than a message of the server.

mod support;

use archipelago_pipeline::{Heard, Outgoing, Pipeline, Subscription};
use archipelago_testkit::nats::NatsServer;
use async_nats::HeaderMap;
use bytes::Bytes;
use support::*;

fn large(bytes: usize) -> Bytes {
    (0..bytes).map(|at| u8::try_from(at % 251).expect("a byte")).collect::<Vec<_>>().into()
}

async fn next_whole(subscription: &mut dyn Subscription) -> Bytes {
    loop {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        if let Some(payload) = incoming.payload {
            return payload;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_large_as_may_be_travels_all_ways_on_a_server_as_it_comes() {
    let server = server().await;
    let (paris, tokyo) = (pipeline(&server).await, pipeline(&server).await);
    paris.open().await.expect("opening");
    let payload = large(paris.payload_bytes_max().expect("connected"));
    assert_eq!(payload.len(), 64 * 1024 * 1024);
    let mut subscription = tokyo.subscribe(0).await.expect("subscribing");
    let outgoing = Outgoing { payload: payload.clone(), ..message(0) };
    let pending = within("sending", paris.publish(outgoing)).await.expect("publishing");
    within("an acknowledgement", pending).await.expect("an acknowledgement");
    assert!(next_whole(&mut *subscription).await == payload);

    let mut heard = tokyo.listen("tokyo").await.expect("listening");
    let answering = async {
        loop {
            match heard.next().await.expect("listening") {
                Heard::Question { payload, answer } => answer.send(payload).await,
                Heard::Announcement { .. } => {}
            }
        }
    };
    let asking = async {
        // Until the subscription has reached the server.
        while paris.ask("tokyo", Bytes::new(), DEADLINE).await.is_err() {
            tokio::task::yield_now().await;
        }
        paris.ask("tokyo", payload.clone(), DEADLINE).await.expect("an answer")
    };
    tokio::select! {
        answer = within("the answer", asking) => assert!(answer == payload),
        () = answering => {}
    }
}

#[tokio::test]
async fn forged_and_unfinished_parts_harm_nothing_and_wait_within_their_bound() {
    let server = server().await;
    let config = config(&server).payload_bytes_max(10_000).assembly_bytes_max(10_000);
    let pipeline = archipelago_pipeline_nats::NatsPipeline::connect(config).await.expect("connecting");
    pipeline.open().await.expect("opening");
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    let jetstream = jetstream(&server).await;
    let publish = async |whole: &str, index: &str, count: &str, bytes: &str, payload: Vec<u8>| {
        let mut headers = HeaderMap::new();
        let names = ["Archipelago-Whole", "Archipelago-Part", "Archipelago-Parts", "Archipelago-Bytes"];
        for (name, value) in names.into_iter().zip([whole, index, count, bytes]) {
            headers.insert(name, value);
        }
        let subject = "archipelago.test.events.paris";
        let sent = jetstream.publish_with_headers(subject, headers, payload.into()).await;
        sent.expect("publishing").await.expect("an acknowledgement").sequence
    };
    let mut sequence = 0;
    for (index, count, bytes) in [
        ("0", "2", "18446744073709551615"),
        ("4294967295", "4294967295", "18446744073709551615"),
        ("0", "0", "0"),
        ("7", "2", "8"),
        ("-1", "x", ""),
        ("0", "1", "10001"),
        ("0", "2", "10"),
    ] {
        sequence = publish("forged", index, count, bytes, vec![7; 4]).await;
    }
    // The first of them has waited for too long when the last comes.
    for whole in ["a", "b", "c"] {
        sequence = publish(whole, "0", "2", "8000", vec![7; 4_000]).await;
    }
    for whole in ["c", "a"] {
        sequence = publish(whole, "1", "2", "8000", vec![8; 4_000]).await;
    }
    publish_all(&pipeline, 0..1).await;
    for at in 1..=sequence + 1 {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        assert_eq!(incoming.sequence, at);
        match incoming.payload {
            Some(payload) if at == sequence - 1 => assert_eq!(payload, [[7; 4_000], [8; 4_000]].concat()),
            Some(payload) => assert_eq!((at, &*payload), (sequence + 1, &b"0"[..])),
            None => assert!(at <= sequence, "{at}"),
        }
    }
}

#[tokio::test]
async fn a_server_whose_messages_have_no_room_for_parts_takes_what_fits() {
    let server = NatsServer::builder().max_payload_bytes(1_024).start().await.expect("a server");
    let pipeline = pipeline(&server).await;
    assert_eq!(pipeline.payload_bytes_max(), Some(512));
    assert_eq!(pipeline.payload_bytes_good(), Some(512));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_what_is_fetched_ahead_is_read_without_a_pause() {
    let server = server().await;
    let pipeline = pipeline(&server).await;
    pipeline.open().await.expect("opening");
    let good = pipeline.payload_bytes_good().expect("connected");
    // As large as messages may be, larger, and small ones in between: the fetches end at every place.
    let sizes: Vec<usize> = (0..300).map(|at| [good, 10, good * 2, 1_000, 0, good - 1][at % 6]).collect();
    for (at, bytes) in sizes.iter().enumerate() {
        let outgoing = Outgoing { payload: large(*bytes), ..message(at) };
        let pending = within("sending", pipeline.publish(outgoing)).await.expect("publishing");
        within("an acknowledgement", pending).await.expect("an acknowledgement");
    }
    let mut subscription = pipeline.subscribe(0).await.expect("subscribing");
    let reading = async {
        for bytes in &sizes {
            assert_eq!(next_whole(&mut *subscription).await.len(), *bytes);
        }
    };
    // Half of what a request for messages that is not answered takes to expire.
    tokio::time::timeout(std::time::Duration::from_secs(15), reading).await.expect("no pause");
}
