//! What happens to the one who leads.

use std::sync::Arc;

use archipelago_testkit::history::KvOp;
use futures::future::join_all;
use rand::RngExt;

use crate::{
    failure::Outcome,
    faults::network::any_loss,
    leader::ensemble::Ensemble,
    now::now_ns,
    scene::{Node as _, Since},
};

/// How many writes are asked of a leader that was deposed and does not know.
const STALE_WRITES: u64 = 16;
/// Their clients' numbers begin here; each round has its own.
const STALE_CLIENTS: u64 = 1 << 32;

/// SIGKILL under load.
pub(crate) async fn kill(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let (leader, leading) = ensemble.leader();
    let at_ns = now_ns();
    leader.kill().await?;
    ensemble.served("kill", at_ns, Some(leading.term)).await?;
    ensemble.work(0..300).await;
    leader.restart().await?;
    ensemble.work(0..200).await;
    ensemble.settle(&format!("{what} {}", leader.name()), Since::Grown).await
}

/// SIGSTOP until another one leads and has acknowledged writes, then SIGCONT, with writes that wait for it.
pub(crate) async fn pause(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let (leader, leading) = ensemble.leader();
    let at_ns = now_ns();
    leader.pause()?;
    ensemble.served("pause", at_ns, Some(leading.term)).await?;
    ensemble.work(0..500).await;
    let stale = ask_deposed(ensemble, leading.at);
    // They are in its pipe before it goes on.
    tokio::task::yield_now().await;
    let resumed_ns = now_ns();
    leader.resume()?;
    ensemble.demoted("pause", &leader, resumed_ns, leading.term).await?;
    let _ = stale.await;
    ensemble.work(0..200).await;
    ensemble.settle(&format!("{what} {}", leader.name()), Since::Grown).await
}

/// Cut off from the broker, silently, in one direction, or with closed connections, until another one leads and has acknowledged writes.
pub(crate) async fn partition(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let (leader, leading) = ensemble.leader();
    let at_ns = now_ns();
    let loss = any_loss(ensemble);
    leader.way.lose(loss);
    // It is asked to write all the while.
    let stale = ask_deposed(ensemble, leading.at);
    ensemble.served("partition", at_ns, Some(leading.term)).await?;
    // By its own clock: nobody can tell it.
    ensemble.demoted("partition", &leader, at_ns, leading.term).await?;
    let _ = stale.await;
    ensemble.work(0..300).await;
    // Whatever it had sent reaches the broker now.
    leader.way.heal();
    ensemble.work(0..200).await;
    ensemble.settle(&format!("{what} {} {}", leader.name(), loss.name()), Since::Grown).await
}

/// Asks a leader for writes that it must not do any more.
fn ask_deposed(ensemble: &mut Ensemble, at: usize) -> tokio::task::JoinHandle<()> {
    let scene = Arc::clone(&ensemble.scene);
    let round: u64 = ensemble.random.random_range(0..1 << 31);
    tokio::spawn(async move {
        let asked = (0..STALE_WRITES).map(|number| {
            let process = STALE_CLIENTS + round * STALE_WRITES + number;
            let key = format!("stale/{process}");
            scene.ask(process, at, KvOp::create(key.clone(), key))
        });
        join_all(asked).await;
    })
}
