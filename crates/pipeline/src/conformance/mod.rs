//! What every implementation of [`Pipeline`] must do, as tests.
//!
//! An implementation writes a [`Harness`] and calls [`conformance_tests!`](crate::conformance_tests) with an
//! expression that makes one, in a module of its own:
//!
//! ```
//! # use std::sync::Arc;
//! use archipelago_pipeline::{MemoryBroker, Pipeline, conformance::Harness};
//!
//! struct Memory(MemoryBroker);
//!
//! #[async_trait::async_trait]
//! impl Harness for Memory {
//!     async fn pipeline(&self) -> Arc<dyn Pipeline> {
//!         Arc::new(self.0.pipeline("conformance"))
//!     }
//!     async fn stop_broker(&self) {
//!         self.0.stop();
//!     }
//!     async fn start_broker(&self) {
//!         self.0.start();
//!     }
//!     async fn delete_log(&self) {
//!         self.0.delete_log("conformance");
//!     }
//!     fn in_flight_max(&self) -> usize {
//!         256
//!     }
//! }
//!
//! archipelago_pipeline::conformance_tests!(Memory(MemoryBroker::default()));
//! # fn main() {}
//! ```
//!
//! The tests wait for what must happen, at most [`DEADLINE`]; they never sleep to let something happen. A failed
//! property panics.

mod appending;
mod delivery;
mod large;
mod leasing;
mod loss;
mod outage;
mod peers;
mod publishing;
mod trimming;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

pub use appending::*;
pub use delivery::*;
pub use large::*;
pub use leasing::*;
pub use loss::*;
pub use outage::*;
pub use peers::*;
pub use publishing::*;
pub use trimming::*;

use crate::{
    Incoming, LogState, Outgoing, Pipeline, PipelineError, PipelineStatus, PublishAck, Subscription,
};

/// How long the suite waits for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A broker under test, with one namespace of which no log exists yet. Made anew for each test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new, connected handle on the namespace, as one replica holds it.
    async fn pipeline(&self) -> Arc<dyn Pipeline>;
    /// Makes the broker unreachable; it keeps its logs.
    async fn stop_broker(&self);
    /// Makes the broker reachable again, under the same address.
    async fn start_broker(&self);
    /// Deletes the log behind the back of all handles.
    async fn delete_log(&self);
    /// How many acknowledgements of one handle may be outstanding.
    fn in_flight_max(&self) -> usize;
}

/// Writes one `#[tokio::test]` for each property of the suite; the argument is an expression that makes a
/// [`Harness`] and may use `.await`. The caller's crate needs `tokio` with `macros`
/// and `rt`.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests!(@each $harness;
            messages_arrive_in_order_and_whole,
            a_subscription_starts_exactly_after_its_position,
            a_late_subscriber_gets_everything,
            two_readers_see_the_same_order,
            a_dropped_next_loses_no_message,
            acknowledgements_follow_the_order_of_publishing,
            a_repeated_message_id_is_flagged_and_not_stored,
            a_message_that_is_too_large_is_refused_without_harm,
            the_largest_allowed_message_travels,
            a_dropped_acknowledgement_does_not_take_the_message_along,
            no_more_than_the_bound_are_in_flight,
            an_origin_that_is_no_token_is_refused,
            a_payload_larger_than_a_message_arrives_whole,
            parts_of_two_senders_do_not_mix,
            a_broker_lost_amid_a_payload_gets_the_rest_by_a_retry,
            a_repeated_large_payload_is_not_stored_again,
            a_reader_that_starts_amid_a_payload_gets_it_whole,
            questions_and_answers_larger_than_a_message_arrive_whole,
            an_announcement_larger_than_a_message_arrives_whole,
            only_open_makes_a_log,
            a_deleted_log_is_missing,
            a_replaced_log_ends_its_subscriptions,
            a_log_that_is_made_again_begins_above_what_writers_of_the_one_before_expect,
            a_position_beyond_the_end_is_a_regress,
            trimming_removes_up_to_there_and_keeps_sequences,
            trimming_nothing_changes_nothing,
            a_subscriber_behind_the_trim_sees_a_gap_and_goes_on,
            a_payload_cut_by_a_trim_is_left_out,
            a_stopped_broker_is_down_and_refuses,
            an_idle_subscription_survives_an_outage,
            an_outage_amid_reading_loses_and_repeats_nothing,
            an_outage_amid_publishing_loses_nothing,
            everyone_who_listens_hears_an_announcement,
            a_question_is_answered_by_whom_it_names,
            a_question_without_an_answer_ends_at_its_deadline,
            listening_survives_an_outage,
            appends_on_top_of_one_another_are_all_accepted_in_order,
            an_append_that_expects_another_end_stores_nothing,
            of_two_who_append_at_once_one_wins,
            an_append_after_what_another_published_is_refused,
            what_is_appended_on_top_of_a_refused_one_is_refused,
            an_append_that_finds_the_end_it_expects_is_stored_whoever_made_it,
            an_append_behind_ones_own_is_refused_behind_anothers,
            appends_behind_ones_own_may_be_pipelined,
            an_append_follows_a_large_one_of_ones_own,
            appends_are_not_taken_for_repeats,
            a_large_payload_is_appended_whole,
            a_large_payload_with_another_amid_is_refused,
            an_append_is_refused_where_publishing_is,
            appending_goes_on_after_an_outage,
            a_lease_is_held_by_one,
            of_those_who_acquire_at_once_one_wins,
            a_lease_is_renewed_by_its_revision,
            revisions_strictly_grow,
            a_lease_is_taken_over_only_from_the_revision_that_was_seen,
            a_lease_that_is_not_renewed_expires,
            a_released_lease_is_free,
            a_watch_tells_of_every_change_at_once,
            a_watch_tells_of_an_expiry,
            a_lease_outlives_an_outage,
            another_time_to_live_waits_until_nobody_holds_the_lease,
            a_lease_does_not_go_with_the_log,
        );
    };
    (@each $harness:expr; $($property:ident,)*) => {
        $(
            #[::tokio::test]
            async fn $property() {
                let harness = $harness;
                $crate::conformance::$property(&harness).await;
            }
        )*
    };
}

/// The message number `number` of `origin`, whose payload names both.
fn message(origin: &str, number: usize) -> Outgoing {
    Outgoing {
        origin: origin.into(),
        message_id: format!("{origin}-{number}"),
        payload: Bytes::from(format!("{origin}:{number}")),
    }
}

/// Waits for something that must happen.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {DEADLINE:?}: {what}"),
    }
}

/// Publishes one message and waits for the answer.
async fn publish(pipeline: &dyn Pipeline, message: Outgoing) -> Result<PublishAck, PipelineError> {
    within("an answer to a published message", async { pipeline.publish(message).await?.await }).await
}

/// Publishes messages one after the other, each acknowledged.
async fn publish_all(pipeline: &dyn Pipeline, origin: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        publish(pipeline, message(origin, number)).await.expect("publishing to a healthy broker");
    }
}

/// Publishes one message until it is acknowledged, as long as the errors are worth retrying.
async fn publish_until_acknowledged(pipeline: &dyn Pipeline, message: Outgoing) -> PublishAck {
    within("an acknowledgement after retries", async {
        loop {
            let answer = match pipeline.publish(message.clone()).await {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(ack) => return ack,
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("publishing failed for good: {error}"),
            }
        }
    })
    .await
}

async fn next(subscription: &mut dyn Subscription) -> Incoming {
    within("the next message", subscription.next()).await.expect("a message")
}

/// The next message that brings a payload.
async fn next_whole(subscription: &mut dyn Subscription) -> Incoming {
    loop {
        let incoming = next(subscription).await;
        if incoming.payload.is_some() {
            return incoming;
        }
    }
}

/// The next payloads as text.
async fn next_texts(subscription: &mut dyn Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(text(&next(subscription).await));
    }
    texts
}

fn text(message: &Incoming) -> String {
    let payload = message.payload.as_ref().expect("a whole message");
    String::from_utf8(payload.to_vec()).expect("the suite publishes text")
}

fn texts(origin: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{origin}:{number}")).collect()
}

async fn subscribe(pipeline: &dyn Pipeline, after: u64) -> Box<dyn Subscription> {
    within("a subscription", pipeline.subscribe(after)).await.expect("subscribing to a healthy broker")
}

async fn until_status(pipeline: &dyn Pipeline, what: &str, wanted: impl Fn(&PipelineStatus) -> bool) {
    let mut status = pipeline.status();
    within(what, status.wait_for(wanted)).await.expect("the status outlives its handle");
}

async fn until_up(pipeline: &dyn Pipeline) {
    until_status(pipeline, "the status goes up", |status| *status == PipelineStatus::Up).await;
}

async fn until_down(pipeline: &dyn Pipeline) {
    until_status(pipeline, "the status goes down", |status| *status != PipelineStatus::Up).await;
}
