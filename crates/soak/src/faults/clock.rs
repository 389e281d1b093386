//! What happens to the clock of a node.

use rand::RngExt;

use crate::{
    failure::Outcome,
    now::now_ns,
    scene::{Node, Scene, Since},
};

/// How far a clock jumps at most. Two nodes of which one was this far ahead and the other is this far behind are still
/// within the drift that masters allow, a minute.
pub(super) const OFFSET_MS_MAX: i64 = 25_000;

/// The clock of one node jumps ahead or back, and is set right again some time later.
pub(crate) async fn jump<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let nodes = scene.nodes();
    let node = nodes[scene.random().random_range(0..nodes.len())].clone();
    let offset_ms = scene.random().random_range(-OFFSET_MS_MAX..=OFFSET_MS_MAX);
    node.set_clock(offset_ms).await?;
    scene.work(200..1_500).await;
    if scene.random().random_bool(0.3) {
        // It must not be led astray by what it stored itself.
        node.kill().await?;
        node.restart().await?;
        node.set_clock(offset_ms).await?;
        scene.work(100..500).await;
    }
    node.set_clock(0).await?;
    let since_ns = now_ns();
    scene.work(200..600).await;
    let what = format!("{what} {} by {offset_ms} ms", node.name());
    scene.recovers("clock", since_ns, &what, Since::Grown).await
}
