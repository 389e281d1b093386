//! What happens to one process: SIGKILL, SIGSTOP, the loss of its disk.

use std::time::Duration;

use rand::RngExt;

use crate::{
    failure::{Failure, Outcome},
    fleet::Fleet,
    scene::Node as _,
};

/// SIGKILL at a moment of chance; one in four times again while it starts.
pub(crate) async fn kill(what: &str, fleet: &mut Fleet) -> Outcome {
    let at = fleet.pick();
    let island = fleet.members[at].island.clone();
    fleet.work(20..400).await;
    island.kill().await?;
    fleet.count(|report| report.kills += 1);
    fleet.work(0..200).await;
    if fleet.random.random_ratio(1, 4) {
        let after = Duration::from_millis(fleet.random.random_range(0..150));
        island.restart_and_kill(after).await?;
        fleet.count(|report| report.kills += 1);
    }
    island.restart().await?;
    fleet.work(20..200).await;
    fleet.check(&format!("{what} {}", island.label)).await
}

/// The master comes back on an empty folder. What it acknowledged was taken by the broker before: what only the lost disk
/// had is nobody's to bring back.
pub(crate) async fn empty_disk(what: &str, fleet: &mut Fleet) -> Outcome {
    let at = fleet.pick();
    let island = fleet.members[at].island.clone();
    fleet.work(100..500).await;
    let held = fleet.hold(at).await;
    fleet.drained(&island).await?;
    let before = island.status().await?.replica;
    island.kill().await?;
    std::fs::remove_dir_all(island.folder()).map_err(Failure::broken("remove a folder"))?;
    island.restart().await?;
    drop(held);
    let after = island.status().await?.replica;
    if after == before {
        return Err(Failure::Wrong(format!("{before} lost its disk and goes on under the same identity")));
    }
    fleet.work(100..500).await;
    fleet.check(&format!("{what} {}", island.label)).await?;
    fleet.count(|report| report.empty_disks += 1);
    Ok(())
}

/// A master stands still for a while.
pub(crate) async fn pause(what: &str, fleet: &mut Fleet) -> Outcome {
    fleet.work(50..300).await;
    let at = fleet.pick();
    let island = fleet.members[at].island.clone();
    island.pause()?;
    fleet.work(200..4_000).await;
    island.resume()?;
    fleet.work(50..300).await;
    fleet.check(&format!("{what} {}", island.label)).await?;
    fleet.count(|report| report.pauses += 1);
    Ok(())
}
