use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago_clock::{CLOUD_RUNS_MAX, CausalContext, Dot, VECTOR_ENTRIES_MAX, VersionVector};
use archipelago_pipeline::LogId;
use serde::{Deserialize, Serialize};

/// The version of the bytes of a checkpoint. A build refuses a newer one.
const FORMAT: u32 = 1;

/// How far a subscriber is: in which log, up to which message, and which events it has handled.
///
/// A subscriber that goes on from a checkpoint delivers no event that the checkpoint has as handled, however often the
/// log has it. So whoever stores the checkpoint in the same transaction as the effects of the events that came with it
/// has each effect exactly once.
///
/// Cheap to clone. Keep it as the bytes that [`encode`](Self::encode) gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint(Arc<State>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    format: u32,
    log: LogId,
    sequence: u64,
    /// When the broker stored the message at `sequence`, in nanoseconds since the Unix epoch: tells apart two messages
    /// that had the same place in a log that lost its tail.
    stored_unix_ns: Option<u64>,
    handled: CausalContext,
    replay: Option<Replay>,
}

/// A part of the log that is delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Replay {
    /// The last message of it.
    until: u64,
    /// What of it was delivered again.
    handled: CausalContext,
}

/// Bytes are not a checkpoint that this build can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A newer build wrote it. Permanent for this build: use the newer one.
    #[error("the checkpoint has format {found}, and this build knows {FORMAT}; use a newer build")]
    Newer {
        /// The format found.
        found: u32,
    },
    /// The bytes are damaged, or something else. Permanent: start without a checkpoint, and rebuild what was made of
    /// the events.
    #[error("not a checkpoint: {reason}")]
    Malformed {
        /// What is wrong with the bytes.
        reason: String,
    },
}

impl Checkpoint {
    /// Nothing was handled; the first message is the one after `sequence`.
    pub(super) fn new(log: LogId, sequence: u64) -> Self {
        let handled = CausalContext::new();
        Checkpoint(Arc::new(State {
            format: FORMAT,
            log,
            sequence,
            stored_unix_ns: None,
            handled,
            replay: None,
        }))
    }

    /// The last message of the log of which every event is handled; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// The log.
    pub fn log(&self) -> &LogId {
        &self.0.log
    }

    /// For each master, the sequence up to which all of its events are handled.
    ///
    /// Events handled beyond a gap, because an earlier one of the same master came later or never, are part of the
    /// checkpoint too, and not of this vector.
    pub fn vector(&self) -> &VersionVector {
        self.0.handled.clock()
    }

    /// True if this event is handled. During a replay, events that are yet to be delivered again count as handled.
    pub fn contains(&self, event: &Dot) -> bool {
        self.0.handled.contains(event)
    }

    /// True while messages are delivered again, and up to which.
    pub fn replaying_until(&self) -> Option<u64> {
        self.0.replay.as_ref().map(|replay| replay.until)
    }

    /// As bytes, for a row or a file. They are MessagePack; a later build reads them as well.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(&*self.0).expect("a checkpoint is plain data")
    }

    /// From the bytes that [`encode`](Self::encode) gave.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let malformed =
            |error: rmp_serde::decode::Error| CheckpointError::Malformed { reason: error.to_string() };
        let Format { format: found } = rmp_serde::from_slice(bytes).map_err(malformed)?;
        if found != FORMAT {
            return Err(CheckpointError::Newer { found });
        }
        rmp_serde::from_slice(bytes).map(|state| Checkpoint(Arc::new(state))).map_err(malformed)
    }

    pub(super) fn stored_at(&self) -> Option<SystemTime> {
        self.0.stored_unix_ns.map(|ns| UNIX_EPOCH + Duration::from_nanos(ns))
    }

    fn state(&mut self) -> &mut State {
        Arc::make_mut(&mut self.0)
    }

    /// True if the message at `sequence` is delivered again.
    pub(super) fn replays(&self, sequence: u64) -> bool {
        self.0.replay.as_ref().is_some_and(|replay| sequence <= replay.until)
    }

    /// True if this event of the message at `sequence` has been delivered as often as it should be.
    pub(super) fn is_done(&self, event: &Dot, sequence: u64) -> bool {
        match &self.0.replay {
            Some(replay) if sequence <= replay.until => replay.handled.contains(event),
            _ => self.0.handled.contains(event),
        }
    }

    /// Notes that an event is handled, if there is room for it: `gaps_max` is the number of gaps.
    pub(super) fn handle(
        &mut self,
        event: &Dot,
        sequence: u64,
        gaps_max: usize,
    ) -> Result<bool, OriginsFull> {
        let state = self.state();
        let replayed = match &mut state.replay {
            Some(replay) if sequence <= replay.until => insert(&mut replay.handled, event, gaps_max)?,
            _ => true,
        };
        Ok(insert(&mut state.handled, event, gaps_max)? && replayed)
    }

    /// Notes that all of the message at `sequence` is handled.
    pub(super) fn finish(&mut self, sequence: u64, stored_at: Option<SystemTime>) {
        let state = self.state();
        state.sequence = sequence;
        state.stored_unix_ns = stored_at
            .and_then(|stored_at| u64::try_from(stored_at.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok());
        if state.replay.as_ref().is_some_and(|replay| sequence >= replay.until) {
            state.replay = None;
        }
    }

    /// Delivers again what comes after `after`, up to `until`.
    pub(super) fn replay(&mut self, after: u64, until: u64) {
        let state = self.state();
        state.replay = (until > after).then(|| Replay { until, handled: CausalContext::new() });
        (state.sequence, state.stored_unix_ns) = (after, None);
    }

    /// Goes on after the message `after` of this log, knowing what was handled.
    pub(super) fn move_to(&mut self, log: LogId, after: u64) {
        let state = self.state();
        (state.log, state.sequence, state.stored_unix_ns, state.replay) = (log, after, None, None);
    }
}

/// More masters than a vector can have.
#[derive(Debug)]
pub(super) struct OriginsFull;

/// False if there is no room beyond a gap.
fn insert(context: &mut CausalContext, event: &Dot, gaps_max: usize) -> Result<bool, OriginsFull> {
    let clock = context.clock();
    let follows = clock.get(&event.actor).checked_add(1) == Some(event.sequence);
    if follows {
        if event.sequence == 1 && clock.len() >= VECTOR_ENTRIES_MAX {
            return Err(OriginsFull);
        }
    } else if !context.contains(event) && context.cloud().len() >= gaps_max.min(CLOUD_RUNS_MAX) {
        let touches = |(actor, run): (&_, std::ops::RangeInclusive<u64>)| {
            *actor == event.actor
                && (run.end().checked_add(1) == Some(event.sequence)
                    || event.sequence.checked_add(1) == Some(*run.start()))
        };
        if !context.cloud().any(touches) {
            return Ok(false);
        }
    }
    context.insert(event.clone());
    Ok(true)
}

/// When the checkpoint is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointMode {
    /// After each call of the handler that succeeded. A crash in between delivers the events of that call again: at
    /// least once.
    #[default]
    Auto,
    /// By the application: in the transaction of the effects, or with
    /// [`commit`](crate::subscriber::EventSubscriber::commit). Exactly once by effect, if it is the former.
    Manual,
    /// Once in a while, if there is something to store, and at the close. A crash delivers again what was handled
    /// since: at least once.
    Interval(Duration),
}

impl CheckpointMode {
    /// [`Interval`](CheckpointMode::Interval) at its default of 5 s.
    pub const INTERVAL: CheckpointMode = CheckpointMode::Interval(Duration::from_secs(5));
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Incarnation, ReplicaId};

    use super::*;

    fn log() -> LogId {
        LogId { name: "people".into(), created_unix_ns: 7 }
    }

    fn dot(sequence: u64) -> Dot {
        Dot::new(ReplicaId::new("us-east", Incarnation::from_bits(1)).unwrap(), sequence)
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let mut checkpoint = Checkpoint::new(log(), 3);
        for sequence in [1, 2, 5] {
            assert!(checkpoint.handle(&dot(sequence), 4, 10).unwrap());
        }
        checkpoint.finish(4, Some(UNIX_EPOCH + Duration::from_nanos(99)));
        checkpoint.replay(2, 4);
        let read = Checkpoint::decode(&checkpoint.encode()).unwrap();
        assert_eq!(read, checkpoint);
        assert_eq!((read.sequence(), read.vector().get(&dot(1).actor)), (2, 2));
        assert_eq!(read.replaying_until(), Some(4));
        assert!(read.contains(&dot(5)) && !read.contains(&dot(3)));
    }

    #[test]
    fn bytes_of_the_first_format_are_read_for_ever() {
        let mut checkpoint = Checkpoint::new(log(), 0);
        checkpoint.handle(&dot(1), 1, 10).unwrap();
        checkpoint.handle(&dot(3), 1, 10).unwrap();
        checkpoint.finish(1, Some(UNIX_EPOCH + Duration::from_nanos(99)));
        let frozen = include_bytes!("../../tests/golden/checkpoint-v1.bin");
        assert_eq!(Checkpoint::decode(frozen).unwrap(), checkpoint);
        assert_eq!(checkpoint.encode(), frozen);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        assert!(matches!(Checkpoint::decode(b"garbage"), Err(CheckpointError::Malformed { .. })));
        let newer = rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("format", 2)])).unwrap();
        assert_eq!(Checkpoint::decode(&newer), Err(CheckpointError::Newer { found: 2 }));
    }

    #[test]
    fn a_replay_ends_where_it_began_and_knows_what_came_before() {
        let mut checkpoint = Checkpoint::new(log(), 0);
        for sequence in 1..=4 {
            checkpoint.handle(&dot(sequence), sequence, 10).unwrap();
            checkpoint.finish(sequence, None);
        }
        checkpoint.replay(1, 4);
        assert!(!checkpoint.is_done(&dot(2), 2), "it is to be delivered again");
        checkpoint.handle(&dot(2), 2, 10).unwrap();
        assert!(checkpoint.is_done(&dot(2), 3), "but not twice");
        checkpoint.finish(4, None);
        assert_eq!(checkpoint.replaying_until(), None);
        assert!(checkpoint.is_done(&dot(1), 5));
    }

    #[test]
    fn gaps_are_bounded_and_close() {
        let mut checkpoint = Checkpoint::new(log(), 0);
        assert!(checkpoint.handle(&dot(5), 1, 1).unwrap());
        assert!(!checkpoint.handle(&dot(9), 2, 1).unwrap(), "there is no room for a second gap");
        assert!(checkpoint.handle(&dot(6), 3, 1).unwrap(), "it makes no gap of its own");
        for sequence in 1..=4 {
            assert!(checkpoint.handle(&dot(sequence), 4, 1).unwrap());
        }
        assert_eq!(checkpoint.vector().get(&dot(1).actor), 6);
    }
}
