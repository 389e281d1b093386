//! What happens to the disk of a node.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::{
    disk::SmallDisk,
    failure::{Failure, Outcome},
    now::now_ns,
    scene::{Disk, Node, Scene, Since},
};

/// How long a node may take to notice that it can store nothing more.
const NOTICE_DEADLINE: Duration = Duration::from_secs(60);
/// How often a state that cannot be awaited is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What the system says of a write for which there is no room, one way or the other.
const REASONS: [&str; 2] = ["No space left on device", "File too large"];

/// A node's disk is full under load: it must say so and refuse, and have lost nothing when it is started with room again.
pub(crate) async fn full<S: Scene>(what: &str, scene: &mut S) -> Outcome {
    scene.work(50..300).await;
    let nodes = scene.nodes();
    let node = nodes[scene.random().random_range(0..nodes.len())].clone();
    node.kill().await?;
    let disk = SmallDisk::under(node.folder())?;
    node.restart().await?;
    if scene.random().random_bool(0.7) {
        scene.enthrone(&node).await?;
    }
    scene.work(100..500).await;
    node.foresee(Disk::Full);
    disk.fill(node.process_id()?)?;
    let reason = failure_told(&*node).await?;
    if !REASONS.iter().any(|expected| reason.contains(expected)) {
        let told = format!("{} does not say that its disk is full: {reason}", node.name());
        return Err(Failure::Wrong(told));
    }
    // Others go on.
    scene.work(100..1_500).await;
    match scene.random().random_bool(0.5) {
        true => node.close().await,
        false => node.kill().await?,
    }
    disk.make_room()?;
    node.foresee(Disk::Sound);
    node.restart().await?;
    let since_ns = now_ns();
    scene.work(100..500).await;
    let what = format!("{what} {} ({})", node.name(), disk.name());
    scene.recovers("disk-full", since_ns, &what, Since::Grown).await?;
    node.kill().await?;
    disk.put_back()?;
    node.restart().await
}

async fn failure_told<N: Node>(node: &N) -> Outcome<String> {
    let deadline = Instant::now() + NOTICE_DEADLINE;
    loop {
        if let Some(reason) = node.store_failed().await? {
            return Ok(reason);
        }
        if Instant::now() >= deadline {
            let what = format!("{} notices that its disk is full", node.name());
            return Err(Failure::Late { what, within_s: NOTICE_DEADLINE.as_secs(), state: String::new() });
        }
        tokio::time::sleep(POLL).await;
    }
}
