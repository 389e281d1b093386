//! Each fault: how it comes about, how it is healed, and what must hold afterwards.

mod leader;
mod log;

use super::{ensemble::Ensemble, options::Fault};
use crate::{
    failure::Outcome,
    faults::{broker, clock, disk, network, storm},
};

/// Brings the fault about, heals it, and checks. Errors leave the nodes as they are.
pub(crate) async fn bring(fault: Fault, what: &str, ensemble: &mut Ensemble) -> Outcome {
    ensemble.work(50..300).await;
    match fault {
        Fault::Kill => leader::kill(what, ensemble).await,
        Fault::Pause => leader::pause(what, ensemble).await,
        Fault::Partition => leader::partition(what, ensemble).await,
        Fault::Tail => log::tail(what, ensemble).await,
        Fault::Delete => log::delete(what, ensemble).await,
        Fault::Broker => broker::restart(what, ensemble).await,
        Fault::BrokerPause => broker::pause(what, ensemble).await,
        Fault::BrokerPartition => broker::part(what, ensemble).await,
        Fault::Outage => broker::outage(what, ensemble).await,
        Fault::Delay => network::delay(what, ensemble).await,
        Fault::Loss => network::loss(what, ensemble).await,
        Fault::Clock => clock::jump(what, ensemble).await,
        Fault::DiskFull => disk::full(what, ensemble).await,
        Fault::Storm => storm::storm(what, ensemble).await,
    }
}
