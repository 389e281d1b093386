//! Each fault: how it comes about, how it is healed, and what must hold afterwards.

mod copies;
mod kill;
mod log;
mod removals;

use crate::{
    failure::Outcome,
    faults::{broker, clock, disk, network, storm},
    fleet::Fleet,
    options::Fault,
};

/// Brings the fault about, heals it, and checks. Errors leave the masters as they are, to be looked at.
pub(crate) async fn act(fault: Fault, what: &str, fleet: &mut Fleet) -> Outcome {
    match fault {
        Fault::Kill => kill::kill(what, fleet).await,
        Fault::EmptyDisk => kill::empty_disk(what, fleet).await,
        Fault::Pause => kill::pause(what, fleet).await,
        Fault::WipeStream => log::wipe(log::Wipe::Stream, what, fleet).await,
        Fault::WipeFiles => log::wipe(log::Wipe::Files, what, fleet).await,
        Fault::Restore => copies::restore(what, fleet).await,
        Fault::Twin => copies::twin(what, fleet).await,
        Fault::Deletes => removals::deletes(what, fleet).await,
        Fault::Laggard => removals::laggard(what, fleet).await,
        Fault::Partition => network::partition(what, fleet).await,
        Fault::Delay => network::delay(what, fleet).await,
        Fault::Loss => network::loss(what, fleet).await,
        Fault::Clock => clock::jump(what, fleet).await,
        Fault::DiskFull => disk::full(what, fleet).await,
        Fault::BrokerRestart => broker::restart(what, fleet).await,
        Fault::BrokerPause => broker::pause(what, fleet).await,
        Fault::BrokerPartition => broker::part(what, fleet).await,
        Fault::Outage => broker::outage(what, fleet).await,
        Fault::Storm => storm::storm(what, fleet).await,
    }
}
