use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::join};

use super::*;

/// What was published arrives with its bytes, its origin and consecutive sequences.
pub async fn messages_arrive_in_order_and_whole<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let mut subscription = subscribe(&*pipeline, 0).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [Vec::new(), vec![0], every_byte.clone(), every_byte.repeat(256)].map(Bytes::from);
    for (number, payload) in payloads.iter().enumerate() {
        let outgoing = Outgoing { payload: payload.clone(), ..message("a_B-9", number) };
        publish(&*pipeline, outgoing).await.expect("publishing");
    }
    for (place, payload) in (1..).zip(&payloads) {
        let incoming = next(&mut *subscription).await;
        assert_eq!(incoming.sequence, place);
        assert_eq!(incoming.origin, "a_B-9");
        assert_eq!(incoming.payload.as_ref(), Some(payload), "the payload of message {place}");
    }
}

/// `subscribe(after)` delivers `after + 1` first, also if nothing was delivered before.
pub async fn a_subscription_starts_exactly_after_its_position<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..10).await;
    for after in [0_u8, 1, 6, 9] {
        let mut subscription = subscribe(&*pipeline, after.into()).await;
        let incoming = next(&mut *subscription).await;
        assert_eq!(incoming.sequence, u64::from(after) + 1);
        assert_eq!(text(&incoming), format!("a:{after}"));
    }
    let mut at_the_end = subscribe(&*pipeline, 10).await;
    publish_all(&*pipeline, "a", 10..11).await;
    assert_eq!(next(&mut *at_the_end).await.sequence, 11);
}

/// A replica that subscribes after the fact gets all, and then what is new.
pub async fn a_late_subscriber_gets_everything<H: Harness>(harness: &H) {
    let (early, late) = (harness.pipeline().await, harness.pipeline().await);
    early.open().await.expect("opening");
    publish_all(&*early, "a", 0..40).await;
    let mut subscription = subscribe(&*late, 0).await;
    assert_eq!(next_texts(&mut *subscription, 40).await, texts("a", 0..40));
    publish_all(&*early, "a", 40..50).await;
    assert_eq!(next_texts(&mut *subscription, 10).await, texts("a", 40..50));
}

/// Whatever the order of concurrent writers turns out to be, all readers see the same.
pub async fn two_readers_see_the_same_order<H: Harness>(harness: &H) {
    let (left, right) = (harness.pipeline().await, harness.pipeline().await);
    left.open().await.expect("opening");
    let mut readers = [subscribe(&*left, 0).await, subscribe(&*right, 0).await];
    join(publish_all(&*left, "left", 0..50), publish_all(&*right, "right", 0..50)).await;
    let mut seen = Vec::new();
    for reader in &mut readers {
        let mut order = Vec::new();
        for _ in 0..100 {
            let incoming = next(&mut **reader).await;
            order.push((incoming.sequence, text(&incoming)));
        }
        seen.push(order);
    }
    assert_eq!(seen[0], seen[1]);
    for origin in ["left", "right"] {
        let own = seen[0].iter().map(|(_, text)| text).filter(|text| text.starts_with(origin));
        assert_eq!(own.cloned().collect::<Vec<_>>(), texts(origin, 0..50), "each writer's own order is kept");
    }
}

/// Dropping the future of `next` before it is ready loses nothing, however often it is done.
pub async fn a_dropped_next_loses_no_message<H: Harness>(harness: &H) {
    let pipeline: Arc<dyn Pipeline> = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    let mut subscription = subscribe(&*pipeline, 0).await;
    let reading = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            // Polls once and drops.
            match subscription.next().now_or_never() {
                Some(incoming) => seen.push(text(&incoming.expect("a message"))),
                None => tokio::task::yield_now().await,
            }
        }
        seen
    };
    let writing = publish_all(&*pipeline, "a", 0..100);
    let (seen, ()) = within("all messages", join(reading, writing)).await;
    assert_eq!(seen, texts("a", 0..100));
}
