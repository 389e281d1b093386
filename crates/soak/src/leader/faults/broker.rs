//! What happens to the servers.

use rand::RngExt;

use crate::{
    failure::{Failure, Outcome},
    leader::{book::Since, ensemble::Ensemble, options::Fault, protocol::now_ns},
};

/// SIGKILL and restart: of the only server, or of one of the cluster, without which the others go on.
pub(crate) async fn kill(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let servers = ensemble.broker.servers().len();
    let at = ensemble.random.random_range(0..servers);
    let is_only = servers == 1;
    let killed_ns = now_ns();
    ensemble.broker.server(at).kill().await.map_err(Failure::broken("kill a server"))?;
    if !is_only {
        ensemble.served(Fault::Broker, killed_ns, None).await?;
    }
    ensemble.work(0..1_500).await;
    ensemble.broker.server(at).restart().await.map_err(Failure::broken("start a server"))?;
    if is_only {
        ensemble.served(Fault::Broker, now_ns(), None).await?;
    } else {
        // Before another one is killed: two are the quorum.
        ensemble.broker.whole(&Ensemble::streams()).await?;
    }
    ensemble.work(0..300).await;
    ensemble.settle(&format!("{what} server-{}", at + 1), Since::Lost).await
}
