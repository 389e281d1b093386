//! Each fault: how it comes about, how it is healed, and what must hold afterwards.

mod broker;
mod leader;
mod log;

use super::{ensemble::Ensemble, options::Fault};
use crate::failure::Outcome;

/// Brings the fault about, heals it, and checks. Errors leave the nodes as they are.
pub(crate) async fn bring(fault: Fault, what: &str, ensemble: &mut Ensemble) -> Outcome {
    ensemble.work(50..300).await;
    match fault {
        Fault::Kill => leader::kill(what, ensemble).await,
        Fault::Pause => leader::pause(what, ensemble).await,
        Fault::Partition => leader::partition(what, ensemble).await,
        Fault::Tail => log::tail(what, ensemble).await,
        Fault::Delete => log::delete(what, ensemble).await,
        Fault::Broker => broker::kill(what, ensemble).await,
    }
}
