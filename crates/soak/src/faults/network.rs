//! What happens on the way between nodes and the broker.

use std::time::Duration;

use archipelago_testkit::{Line, Towards};
use rand::RngExt;

use crate::{
    broker::Loss,
    failure::Outcome,
    now::now_ns,
    scene::{Node, Scene, Since},
};

/// How long a message takes at most, and how much longer some do.
const LATENCY_MS_MAX: u64 = 60;
/// How many pieces in a thousand must be sent again at most.
const LOST_PER_MILLE_MAX: u16 = 80;
/// At how many pieces in a thousand the connection breaks at most.
const RESET_PER_MILLE_MAX: u16 = 2;

/// A node cannot reach the broker, or is not reached by it, or neither.
pub(crate) async fn partition<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let nodes = scene.nodes();
    let node = nodes[scene.random().random_range(0..nodes.len())].clone();
    let loss = any_loss(scene);
    node.way().lose(loss);
    scene.work(300..5_000).await;
    node.way().heal();
    let since_ns = now_ns();
    scene.work(50..300).await;
    let what = format!("{what} {} {}", node.name(), loss.name());
    scene.recovers("partition", since_ns, &what, Since::Grown).await
}

/// Silence in both directions, or in one, or closed connections.
pub(crate) fn any_loss<S: Scene>(scene: &mut S) -> Loss {
    match scene.random().random_range(0..100) {
        0..40 => Loss::Silent,
        40..55 => Loss::OneWay(Towards::Server),
        55..70 => Loss::OneWay(Towards::Client),
        _ => Loss::Closed,
    }
}

/// All messages take long, each as long as chance decides, and longer for some nodes than for others.
pub(crate) async fn delay<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    for node in scene.nodes() {
        let random = scene.random();
        let latency = Duration::from_millis(random.random_range(1..=LATENCY_MS_MAX));
        let jitter = Duration::from_millis(random.random_range(0..=LATENCY_MS_MAX));
        node.way().degrade(Line { latency, jitter, seed: random.random(), ..Line::default() });
    }
    bad_lines("delay", what, scene).await
}

/// Some messages must be sent again, and some connections break.
pub(crate) async fn loss<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    for node in scene.nodes() {
        let random = scene.random();
        node.way().degrade(Line {
            lost_per_mille: random.random_range(0..=LOST_PER_MILLE_MAX),
            reset_per_mille: random.random_range(0..=RESET_PER_MILLE_MAX),
            seed: random.random(),
            ..Line::default()
        });
    }
    bad_lines("loss", what, scene).await
}

async fn bad_lines<S: Scene>(fault: &'static str, what: &str, scene: &mut S) -> Outcome {
    scene.work(1_000..4_000).await;
    scene.nodes().iter().for_each(|node| node.way().heal());
    let since_ns = now_ns();
    scene.work(50..300).await;
    scene.recovers(fault, since_ns, what, Since::Grown).await
}
