use futures::{
    FutureExt,
    future::{join, join_all},
};

use super::*;
use crate::{Appending, ExpectedEnd};

/// Appends the message `number` of `origin`, as [`publish_all`] would publish it.
async fn append(
    pipeline: &dyn Pipeline,
    origin: &str,
    number: usize,
    expected_last: u64,
) -> Result<PublishAck, PipelineError> {
    let payload = message(origin, number).payload;
    within("an answer to an append", async {
        let Appending { sequence, ack } =
            pipeline.append(origin, payload, ExpectedEnd::At(expected_last)).await?;
        assert_eq!(sequence, expected_last + 1);
        let ack = ack.await?;
        assert_eq!(ack, PublishAck { sequence, duplicate: false });
        Ok(ack)
    })
    .await
}

fn assert_refused(answer: Result<PublishAck, PipelineError>, expected_last: u64, actual: u64) {
    match answer {
        Err(error @ PipelineError::WrongLastSequence { expected, last_sequence, .. }) => {
            assert_eq!(expected, expected_last);
            assert!(last_sequence.is_none_or(|last| last == actual), "{last_sequence:?} is not {actual}");
            assert!(!error.is_retryable() && !error.is_loss());
        }
        other => panic!("expected WrongLastSequence, got {other:?}"),
    }
}

/// Each append may be sent on top of the one before it, without waiting for its answer.
pub async fn appends_on_top_of_one_another_are_all_accepted_in_order<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..3).await;
    let (count, mut last, mut pending) = (harness.in_flight_max().min(100), 3, Vec::new());
    for number in 3..3 + count {
        let appending = pipeline.append("a", message("a", number).payload, ExpectedEnd::At(last));
        let Appending { sequence, ack } = within("an append", appending).await.expect("appending");
        assert_eq!(sequence, last + 1);
        last = sequence;
        pending.push(ack);
    }
    for (sequence, ack) in (4..).zip(within("all answers", join_all(pending)).await) {
        assert_eq!(ack.expect("an acknowledgement"), PublishAck { sequence, duplicate: false });
    }
    publish_all(&*pipeline, "a", 3 + count..5 + count).await;
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 5 + count).await, texts("a", 0..5 + count));
}

/// Whether the log is longer or shorter than expected, nothing is stored, and the answer says so.
pub async fn an_append_that_expects_another_end_stores_nothing<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    for wrong in [1, 1_000] {
        assert_refused(append(&*pipeline, "a", 0, wrong).await, wrong, 0);
    }
    append(&*pipeline, "a", 0, 0).await.expect("the log is empty");
    append(&*pipeline, "a", 1, 1).await.expect("one is there");
    for wrong in [0, 1, 3, 1_000] {
        assert_refused(append(&*pipeline, "a", 2, wrong).await, wrong, 2);
    }
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, 2);
    append(&*pipeline, "a", 2, 2).await.expect("two are there");
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 3).await, texts("a", 0..3));
}

/// However two writers race for the end of the log, each place goes to one of them.
pub async fn of_two_who_append_at_once_one_wins<H: Harness>(harness: &H) {
    let (left, right) = (harness.pipeline().await, harness.pipeline().await);
    left.open().await.expect("opening");
    let mut winners = Vec::new();
    for last in 0..20 {
        let number = winners.len();
        let (one, other) =
            join(append(&*left, "left", number, last), append(&*right, "right", number, last)).await;
        let (winner, loser) = if one.is_ok() { ("left", other) } else { ("right", one) };
        assert_refused(loser, last, last + 1);
        winners.push(format!("{winner}:{number}"));
    }
    assert_eq!(left.state().await.expect("the state").last_sequence, 20);
    let mut subscription = subscribe(&*left, 0).await;
    assert_eq!(next_texts(&mut *subscription, 20).await, winners);
}

/// What another one published is as good as an append: the end has moved.
pub async fn an_append_after_what_another_published_is_refused<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    append(&*leader, "a", 0, 0).await.expect("appending");
    publish_all(&*other, "b", 0..1).await;
    assert_refused(append(&*leader, "a", 1, 1).await, 1, 2);
    append(&*leader, "a", 1, 2).await.expect("appending");
}

/// Appends `count` messages of `origin` on top of one another, and gives all answers.
async fn append_all(
    pipeline: &dyn Pipeline,
    origin: &str,
    expected: impl Fn(u64) -> ExpectedEnd,
    mut last: u64,
    count: usize,
) -> Vec<Result<PublishAck, PipelineError>> {
    let mut pending = Vec::new();
    for number in 0..count {
        let payload = message(origin, number).payload;
        let appending = within("an append", pipeline.append(origin, payload, expected(last)));
        let Appending { sequence, ack } = appending.await.expect("handed over");
        last = sequence;
        pending.push(ack);
    }
    within("all answers", join_all(pending)).await
}

/// A refusal brings down all that were sent on top of it, where others have appended more than that.
pub async fn what_is_appended_on_top_of_a_refused_one_is_refused<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    for answer in append_all(&*leader, "a", ExpectedEnd::At, 0, 10).await {
        answer.expect("an acknowledgement");
    }
    publish_all(&*other, "b", 0..10).await;
    for (expected, answer) in (10..).zip(append_all(&*leader, "a", ExpectedEnd::At, 10, 10).await) {
        assert_refused(answer, expected, 20);
    }
    assert_eq!(leader.state().await.expect("the state").last_sequence, 20);
    append(&*leader, "a", 10, 20).await.expect("it knows the log now");
}

/// Only sequences are compared: where others have put one message into the place of the first of several, the first is
/// refused and the others are not. Who pipelines has to know.
pub async fn an_append_that_finds_the_end_it_expects_is_stored_whoever_made_it<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    publish_all(&*other, "b", 0..1).await;
    let mut answers = append_all(&*leader, "a", ExpectedEnd::At, 0, 4).await.into_iter();
    assert_refused(answers.next().expect("the first"), 0, 1);
    for (sequence, answer) in (2..).zip(answers) {
        assert_eq!(answer.expect("an acknowledgement").sequence, sequence);
    }
    let mut subscription = subscribe(&*leader, 0).await;
    assert_eq!(next_texts(&mut *subscription, 4).await, ["b:0", "a:1", "a:2", "a:3"]);
}

/// Who appends behind what it wrote itself is refused where another one's message has that sequence, and stores nothing.
pub async fn an_append_behind_ones_own_is_refused_behind_anothers<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    publish_all(&*other, "b", 0..1).await;
    let refused = append_all(&*leader, "a", ExpectedEnd::Own, 1, 1).await.pop().expect("an answer");
    assert_refused(refused, 1, 1);
    append(&*leader, "a", 0, 1).await.expect("whoever wrote it");
    for last in 2..5 {
        let answers = append_all(&*leader, "a", ExpectedEnd::Own, last, 1).await;
        assert_eq!(answers.into_iter().flatten().map(|ack| ack.sequence).collect::<Vec<_>>(), [last + 1]);
    }
    let refused = append_all(&*other, "b", ExpectedEnd::Own, 5, 1).await.pop().expect("an answer");
    assert_refused(refused, 5, 5);
    let mut subscription = subscribe(&*leader, 0).await;
    assert_eq!(next_texts(&mut *subscription, 5).await, ["b:0", "a:0", "a:0", "a:0", "a:0"]);
    assert_eq!(leader.state().await.expect("the state").last_sequence, 5);
}

/// Behind what is under way, one's own is known as well; and if the first is refused, nothing is stored that would have
/// followed it at once.
pub async fn appends_behind_ones_own_may_be_pipelined<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    append(&*leader, "a", 0, 0).await.expect("appending");
    let count = harness.in_flight_max().min(100);
    for round in 0..3 {
        let last = 1 + (round * count) as u64;
        let answers = append_all(&*leader, "a", ExpectedEnd::Own, last, count).await;
        for (sequence, answer) in (last + 1..).zip(answers) {
            assert_eq!(answer.expect("an acknowledgement"), PublishAck { sequence, duplicate: false });
        }
    }
    let last = 1 + 3 * count as u64;
    publish_all(&*other, "b", 0..10).await;
    for (expected, answer) in (last..).zip(append_all(&*leader, "a", ExpectedEnd::Own, last, 10).await) {
        assert_refused(answer, expected, last + 10);
    }
    assert_eq!(leader.state().await.expect("the state").last_sequence, last + 10);
}

/// A payload of several messages is one's own as well, and is known by its last.
pub async fn an_append_follows_a_large_one_of_ones_own<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    append(&*pipeline, "a", 0, 0).await.expect("appending");
    let payload = Bytes::from(vec![7; pipeline.payload_bytes_good().expect("known once connected") * 20]);
    let mut last = 1;
    for payload in [payload.clone(), payload, message("a", 1).payload] {
        let appending = within("an append", pipeline.append("a", payload, ExpectedEnd::Own(last))).await;
        let Appending { sequence, ack } = appending.expect("appending");
        within("an answer", ack).await.expect("an acknowledgement");
        last = sequence;
    }
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, last);
}

/// The same payload twice is two payloads.
pub async fn appends_are_not_taken_for_repeats<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    for last in 0..3 {
        append(&*pipeline, "a", 7, last).await.expect("appending");
    }
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 3).await, ["a:7", "a:7", "a:7"]);
}

/// A payload that takes several messages says where its last one will be, so that the next may follow at once.
pub async fn a_large_payload_is_appended_whole<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    publish_all(&*pipeline, "a", 0..1).await;
    let payload = Bytes::from(vec![7; pipeline.payload_bytes_good().expect("known once connected") * 20]);
    let mut last = 1;
    let mut pending = Vec::new();
    for payload in [payload.clone(), message("a", 1).payload, payload.clone()] {
        let appending = within("an append", pipeline.append("a", payload, ExpectedEnd::At(last))).await;
        let Appending { sequence, ack } = appending.expect("appending");
        last = sequence;
        pending.push((sequence, ack));
    }
    for (sequence, ack) in pending {
        let ack = within("an answer", ack).await.expect("an acknowledgement");
        assert_eq!(ack, PublishAck { sequence, duplicate: false });
    }
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, last);
    let mut subscription = subscribe(&*pipeline, 1).await;
    assert!(next_whole(&mut *subscription).await.payload.as_ref() == Some(&payload));
    assert_eq!(text(&next(&mut *subscription).await), "a:1");
    let incoming = next_whole(&mut *subscription).await;
    assert!(incoming.payload == Some(payload) && incoming.sequence == last);
}

/// Who steps in between the messages of a large payload keeps it out of the log.
pub async fn a_large_payload_with_another_amid_is_refused<H: Harness>(harness: &H) {
    let (leader, other) = (harness.pipeline().await, harness.pipeline().await);
    leader.open().await.expect("opening");
    let payload = Bytes::from(vec![7; leader.payload_bytes_good().expect("known once connected") * 39]);
    let mut appending = leader.append("a", payload, ExpectedEnd::At(0));
    // What is not polled sends no more than the first few parts.
    within("the first parts", async {
        loop {
            assert!((&mut appending).now_or_never().is_none(), "there are more parts to send");
            match other.state().await.expect("the state").last_sequence {
                0 => tokio::task::yield_now().await,
                _ => return,
            }
        }
    })
    .await;
    publish_all(&*other, "b", 0..1).await;
    let answer = match within("an answer", appending).await {
        Ok(Appending { ack, .. }) => within("an answer", ack).await,
        Err(error) => Err(error),
    };
    assert!(matches!(answer, Err(PipelineError::WrongLastSequence { .. })), "{answer:?}");
    let last = other.state().await.expect("the state").last_sequence;
    assert!(last < 40, "{last} messages");
    append(&*leader, "a", 1, last).await.expect("appending behind what is left of it");
    let mut subscription = subscribe(&*other, 0).await;
    assert_eq!(text(&next_whole(&mut *subscription).await), "b:0");
    assert_eq!(text(&next_whole(&mut *subscription).await), "a:1");
}

/// An append is refused where a published message would be.
pub async fn an_append_is_refused_where_publishing_is<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    let missing = append(&*pipeline, "a", 0, 0).await;
    assert!(matches!(missing, Err(PipelineError::LogMissing { .. })), "{missing:?}");
    pipeline.open().await.expect("opening");
    let refused = append(&*pipeline, "no token", 0, 0).await;
    assert!(matches!(refused, Err(PipelineError::InvalidName { .. })), "{refused:?}");
    let bytes_max = pipeline.payload_bytes_max().expect("known once connected");
    let refused = pipeline.append("a", Bytes::from(vec![7; bytes_max + 1]), ExpectedEnd::At(0)).await;
    assert!(matches!(refused, Err(PipelineError::TooLarge { .. })), "{refused:?}");
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    let refused = append(&*pipeline, "a", 0, 0).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "{refused:?}");
    harness.start_broker().await;
    until_up(&*pipeline).await;
    assert_eq!(pipeline.state().await.expect("the state").last_sequence, 0, "nothing was stored");
}

/// What was acknowledged before an outage is there after it, and the next append follows it.
pub async fn appending_goes_on_after_an_outage<H: Harness>(harness: &H) {
    let pipeline = harness.pipeline().await;
    pipeline.open().await.expect("opening");
    for last in 0..5 {
        append(&*pipeline, "a", usize::try_from(last).expect("few"), last).await.expect("appending");
    }
    harness.stop_broker().await;
    until_down(&*pipeline).await;
    harness.start_broker().await;
    until_up(&*pipeline).await;
    let last = pipeline.state().await.expect("the state").last_sequence;
    assert_eq!(last, 5);
    append(&*pipeline, "a", 5, last).await.expect("appending");
    let mut subscription = subscribe(&*pipeline, 0).await;
    assert_eq!(next_texts(&mut *subscription, 6).await, texts("a", 0..6));
}
