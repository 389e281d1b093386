//! Whatever the log has up to the checkpoint is in the state, or is left to repair for a reason.

use std::collections::BTreeSet;

use archipelago_clock::Dot;

use super::Broken;
use crate::simulation::{
    broker::{Broker, Payload},
    disk::Rows,
};

/// How many of the last messages before the checkpoint are looked at.
const LOOKED_AT: u64 = 32;

/// Looks at what is stored, as a process starts on it. `left` is what was left to repair.
pub(super) fn check(rows: &Rows, broker: &Broker, left: &BTreeSet<Dot>) -> Result<(), Broken> {
    let checkpoint = rows.checkpoint().min(broker.sound_to());
    if rows.log.is_none() || rows.log != broker.log {
        return Ok(());
    }
    for sequence in checkpoint.saturating_sub(LOOKED_AT).max(broker.first().saturating_sub(1))..checkpoint {
        let Some(message) = broker.next(sequence) else { continue };
        let Payload::Events(events) = &message.payload else { continue };
        if let Some(event) =
            events.iter().find(|event| !rows.vector.contains(&event.dot) && !left.contains(&event.dot))
        {
            let detail = format!(
                "the checkpoint is {checkpoint}, and {} of message {} was not applied",
                event.dot,
                sequence + 1
            );
            return Err(("checkpoint", detail));
        }
    }
    Ok(())
}
