//! Each fault: how it comes about, how it is healed, and what must hold afterwards.

mod broker;
mod copies;
mod kill;
mod removals;

use crate::{failure::Outcome, fleet::Fleet, options::Fault};

/// Brings the fault about, heals it, and checks. Errors leave the masters as they are, to be looked at.
pub(crate) async fn act(fault: Fault, what: &str, fleet: &mut Fleet) -> Outcome {
    match fault {
        Fault::Kill => kill::kill(what, fleet).await,
        Fault::EmptyDisk => kill::empty_disk(what, fleet).await,
        Fault::Pause => kill::pause(what, fleet).await,
        Fault::WipeStream => broker::wipe(broker::Wipe::Stream, what, fleet).await,
        Fault::WipeFiles => broker::wipe(broker::Wipe::Files, what, fleet).await,
        Fault::BrokerRestart => broker::restart(what, fleet).await,
        Fault::Restore => copies::restore(what, fleet).await,
        Fault::Twin => copies::twin(what, fleet).await,
        Fault::Deletes => removals::deletes(what, fleet).await,
        Fault::Laggard => removals::laggard(what, fleet).await,
    }
}
