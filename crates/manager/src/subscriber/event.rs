use std::time::SystemTime;

use archipelago_proto::Event;

use super::Checkpoint;

/// An event, and where the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// The event. Its `dot` is its id: two events with the same dot are the same write.
    pub event: Event,
    /// The message of the log that brought it. Up to a thousand events share one.
    pub sequence: u64,
    /// When the broker stored that message, by the broker's clock.
    pub stored_at: SystemTime,
    /// Why it is delivered.
    pub cause: Cause,
}

/// Why an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It is new.
    New,
    /// The application asked for a replay. It was handled before, or is older than what the subscriber began with.
    Replay,
    /// The application asked to try it again after it was dead-lettered. Later events were handled before it.
    DeadLetter,
}

/// One event for [`on_event`](super::EventSubscriberBuilder::on_event).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventDelivery {
    /// The event.
    pub event: LoggedEvent,
    /// The how-manieth attempt this is, from 1.
    pub attempt: u32,
    /// How far the subscriber is once this event is handled: to be stored with its effects.
    pub checkpoint: Checkpoint,
}

/// Several events for [`on_batch`](super::EventSubscriberBuilder::on_batch), in the order of the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchDelivery {
    /// At least one event, at most `batch_size`.
    pub events: Vec<LoggedEvent>,
    /// The how-manieth attempt this is, from 1.
    pub attempt: u32,
    /// How far the subscriber is once all these events are handled: to be stored with their effects.
    pub checkpoint: Checkpoint,
}
