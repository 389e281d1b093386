//! Finds a place in a log by time.

use std::time::{Duration, SystemTime};

use archipelago_pipeline::{Incoming, LogState, Pipeline};

use super::ReplayError;

/// How long a message that the log has may take to come.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The first message of the log that was stored at `time` or later; one more than the last if there is none.
///
/// A binary search by short subscriptions: twenty for a million messages.
pub(super) async fn first_since(
    pipeline: &dyn Pipeline,
    log: &LogState,
    time: SystemTime,
) -> Result<u64, ReplayError> {
    let (mut low, mut high) = (log.first_sequence, log.last_sequence + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let message = tokio::time::timeout(READ_TIMEOUT, read(pipeline, middle)).await;
        let message = message.map_err(|_| ReplayError::Silent { waited: READ_TIMEOUT })??;
        if message.stored_at < time {
            // Of messages that are missing in between, none is later than this one.
            low = message.sequence + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The message at `sequence`, or the first one after it.
async fn read(pipeline: &dyn Pipeline, sequence: u64) -> Result<Incoming, ReplayError> {
    Ok(pipeline.subscribe(sequence - 1).await?.next().await?)
}
