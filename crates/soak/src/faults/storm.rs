//! Many faults at once.

use std::time::Duration;

use archipelago_testkit::Line;
use rand::{RngExt, seq::SliceRandom};

use super::clock::OFFSET_MS_MAX;
use crate::{
    failure::{Failure, Outcome},
    now::now_ns,
    scene::{Node, Scene, Since},
};

/// How slow and how bad lines are at most.
const LINE_MS_MAX: u64 = 30;
const LOST_PER_MILLE_MAX: u16 = 30;

/// What is mended, one after the other.
#[derive(Clone, Copy, Debug)]
enum Mend {
    Lines,
    Server,
    Killed,
    Paused,
    Clock,
}

/// Lines are slow and lossy, a server is killed or paused, one node is killed, another one is paused, and the clock of a
/// third one jumps; all of that is mended in an order of chance.
pub(crate) async fn storm<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let mut nodes = scene.nodes();
    nodes.shuffle(scene.random());
    let (killed, paused, jumped) = (&nodes[0], nodes.get(1), nodes.get(2));
    let servers = scene.broker().servers().len();
    let at = scene.random().random_range(0..servers);
    let is_server_killed = scene.random().random_bool(0.5);

    for node in &nodes {
        let random = scene.random();
        let latency = Duration::from_millis(random.random_range(0..=LINE_MS_MAX));
        let jitter = Duration::from_millis(random.random_range(0..=LINE_MS_MAX));
        let lost_per_mille = random.random_range(0..=LOST_PER_MILLE_MAX);
        node.way().degrade(Line {
            latency,
            jitter,
            lost_per_mille,
            seed: random.random(),
            ..Line::default()
        });
    }
    if let Some(node) = jumped {
        let offset_ms = scene.random().random_range(-OFFSET_MS_MAX..=OFFSET_MS_MAX);
        node.set_clock(offset_ms).await?;
    }
    scene.work(0..800).await;
    let server = scene.broker().server(at);
    match is_server_killed {
        true => server.kill().await.map_err(Failure::broken("kill a server"))?,
        false => server.pause().map_err(Failure::broken("pause a server"))?,
    }
    scene.work(0..800).await;
    killed.kill().await?;
    if let Some(node) = paused {
        node.pause()?;
    }
    scene.work(200..3_000).await;

    let mut mends = [Mend::Lines, Mend::Server, Mend::Killed, Mend::Paused, Mend::Clock];
    mends.shuffle(scene.random());
    for mend in mends {
        match mend {
            Mend::Lines => nodes.iter().for_each(|node| node.way().heal()),
            Mend::Server if is_server_killed => {
                scene.broker().server(at).restart().await.map_err(Failure::broken("start a server"))?;
            }
            Mend::Server => scene.broker().server(at).resume().map_err(Failure::broken("resume a server"))?,
            Mend::Killed => killed.restart().await?,
            Mend::Paused => paused.map_or(Ok(()), |node| node.resume())?,
            Mend::Clock => {
                if let Some(node) = jumped {
                    node.set_clock(0).await?;
                }
            }
        }
        scene.work(0..500).await;
    }
    let (since_ns, streams) = (now_ns(), scene.streams());
    scene.broker().whole(&streams).await?;
    scene.work(50..300).await;
    let what = format!("{what} {} and server-{}", killed.name(), at + 1);
    scene.recovers("storm", since_ns, &what, Since::Lost).await
}
