//! What happens to the servers.

use rand::RngExt;

use crate::{
    broker::Broker,
    failure::{Failure, Outcome},
    now::now_ns,
    scene::{Scene, Since},
};

/// Stopped or killed, and started again: the only server, or one of the cluster, without which the others go on.
pub(crate) async fn restart<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let at = pick(scene);
    let is_only = scene.broker().servers().len() == 1;
    let gently = scene.random().random_bool(0.3);
    let server = scene.broker().server(at);
    match gently {
        true => server.stop().await.map_err(Failure::broken("stop a server"))?,
        false => server.kill().await.map_err(Failure::broken("kill a server"))?,
    }
    if !is_only {
        scene.serves("broker", now_ns()).await?;
    }
    scene.work(0..1_500).await;
    scene.broker().server(at).restart().await.map_err(Failure::broken("start a server"))?;
    let since_ns = now_ns();
    whole(scene).await?;
    scene.work(50..500).await;
    scene.recovers("broker", since_ns, &format!("{what} server-{}", at + 1), Since::Lost).await
}

/// SIGKILL of all servers, or of all but one, at once: there is no quorum until they are back.
pub(crate) async fn outage<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let spared = scene.random().random_bool(0.5).then(|| pick(scene));
    let servers = scene.broker().servers().len();
    let killed: Vec<usize> = (0..servers).filter(|at| Some(*at) != spared).collect();
    for at in &killed {
        scene.broker().server(*at).kill().await.map_err(Failure::broken("kill a server"))?;
    }
    scene.work(0..2_000).await;
    for at in &killed {
        scene.broker().server(*at).restart().await.map_err(Failure::broken("start a server"))?;
    }
    let since_ns = now_ns();
    whole(scene).await?;
    scene.work(50..500).await;
    let what = format!("{what} {} of {servers} servers", killed.len());
    scene.recovers("outage", since_ns, &what, Since::Lost).await
}

/// SIGSTOP of a server, and SIGCONT: connections to it stay open, and nothing answers.
pub(crate) async fn pause<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let at = pick(scene);
    scene.broker().server(at).pause().map_err(Failure::broken("pause a server"))?;
    scene.work(200..8_000).await;
    scene.broker().server(at).resume().map_err(Failure::broken("resume a server"))?;
    let since_ns = now_ns();
    whole(scene).await?;
    scene.work(50..300).await;
    scene.recovers("broker-pause", since_ns, &format!("{what} server-{}", at + 1), Since::Grown).await
}

/// A server of the cluster is parted from the others; its clients still reach it.
pub(crate) async fn part<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let at = pick(scene);
    let silently = scene.random().random_bool(0.6);
    let Broker::Cluster(cluster) = scene.broker() else {
        return Err(Failure::Broken("there is no cluster to be parted".into()));
    };
    match silently {
        true => cluster.stall(at),
        false => cluster.cut(at),
    }
    scene.work(500..8_000).await;
    if let Broker::Cluster(cluster) = scene.broker() {
        cluster.heal();
    }
    let since_ns = now_ns();
    whole(scene).await?;
    scene.work(50..300).await;
    scene.recovers("broker-partition", since_ns, &format!("{what} server-{}", at + 1), Since::Grown).await
}

fn pick<S: Scene>(scene: &mut S) -> usize {
    let servers = scene.broker().servers().len();
    scene.random().random_range(0..servers)
}

/// Before the next one is broken: two of three are the quorum.
async fn whole<S: Scene>(scene: &mut S) -> Outcome {
    let streams = scene.streams();
    scene.broker().whole(&streams).await
}
