//! Copies of a master's folder: one that is put back later, and one that runs beside it.
//!
//! In these epochs CRDTs are changed under names that each process has for itself: what two copies of one store count
//! under one name, as long as neither knows of the other, is by design the greater of the two, not the sum.

use std::sync::Arc;

use rand::RngExt;

use crate::{
    failure::{Failure, Outcome},
    fleet::Fleet,
    island::Island,
    protocol::{Actor, Request},
    scene::Node as _,
};

/// How many entities are there when the copy is made and removed before it is put back: they must not return.
const REMOVED: u64 = 100;

/// A master comes back on a copy of its folder that is older than what others have of it.
pub(crate) async fn restore(what: &str, fleet: &mut Fleet) -> Outcome {
    fleet.check_as(&format!("{what} (before)"), Actor::Process).await?;
    let at = fleet.pick();
    let other = fleet.pick_other(at);
    let island = fleet.members[at].island.clone();
    let prefix = format!("removed/{what}/");
    island.tell(Request::Fill { prefix: prefix.clone(), from: 0, count: REMOVED }).await?;
    fleet.work(50..300).await;
    let copy = fleet.new_folder("copy");
    island.copy_folder(copy.clone()).await?;
    let at_copy = island.status().await?;
    fork(fleet, &island).await?;

    remove_elsewhere(fleet, other, &prefix).await?;
    fleet.work(200..1_000).await;
    if fleet.random.random_bool(0.5) {
        // The worst case: nobody has the removals any more, and the copy has what was removed.
        let _held = fleet.hold_all().await;
        fleet.agree(&fleet.islands(), fleet.settle_deadline()).await?;
        fleet.no_tombstones(&fleet.islands(), fleet.settle_deadline()).await?;
    }
    fleet.work(100..300).await;
    let held = fleet.hold(at).await;
    fleet.drained(&island).await?;
    let last = island.status().await?;
    if last.vector.get(&at_copy.replica) <= at_copy.vector.get(&at_copy.replica) {
        return Err(Failure::Broken(format!("{} wrote nothing after it was copied", island.label)));
    }
    island.kill().await?;
    std::fs::remove_dir_all(island.folder()).map_err(Failure::broken("remove a folder"))?;
    std::fs::rename(&copy, island.folder()).map_err(Failure::broken("put a copy back"))?;
    island.restart().await?;
    drop(held);
    parted(fleet, &island, "takes a new identity after its restore").await?;
    fleet.work(100..500).await;
    fleet.check(&format!("{what} {}", island.label)).await?;
    fleet.none_visible(&fleet.islands(), &prefix).await?;
    fleet.count(|report| report.restores += 1);
    Ok(())
}

/// A second process runs on a copy of the folder while the first goes on. Both write, both must part; then one of them is
/// stopped for good.
pub(crate) async fn twin(what: &str, fleet: &mut Fleet) -> Outcome {
    fleet.check_as(&format!("{what} (before)"), Actor::Process).await?;
    let at = fleet.pick();
    let island = fleet.members[at].island.clone();
    fleet.work(50..500).await;
    let copy = fleet.new_folder(&island.options().name);
    island.copy_folder(copy.clone()).await?;
    fork(fleet, &island).await?;
    fleet.work(0..300).await;
    let name = island.options().name.clone();
    // There may have been twins of this name before.
    let label = copy.file_name().map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
    let twin = fleet.add(label, name, copy).await?;
    parted(fleet, &island, "takes a new identity beside its twin").await?;
    parted(fleet, &twin, "takes a new identity beside its twin").await?;
    fleet.work(100..1_000).await;
    fleet.check(&format!("{what} {}: both", island.label)).await?;

    let leaving = if fleet.random.random_bool(0.5) { at } else { fleet.members.len() - 1 };
    let gone = fleet.dismiss(leaving);
    let _held = gone.island.gate.clone().write_owned().await;
    // All that it wrote since the check must have left it, too.
    fleet.drained(&gone.island).await?;
    let (one, other) = if Arc::ptr_eq(&gone.island, &twin) { (&island, &twin) } else { (&twin, &island) };
    let (stays, left) = (one.status().await?.replica, other.status().await?.replica);
    gone.island.close().await;
    std::fs::remove_dir_all(gone.island.folder()).map_err(Failure::broken("remove a folder"))?;
    drop(gone);
    if left.incarnation() > stays.incarnation() {
        // A name stands for its latest incarnation, and everyone would wait for that one. An operator gives it up.
        let by = fleet.members.iter().position(|member| member.island.options().name != left.name());
        let by = by.ok_or_else(|| Failure::Broken("there is no other master".to_owned()))?;
        fork(fleet, one).await?;
        fleet.retire(by, left.name()).await?;
        // The one that stays comes back to its name as the latest, which changes its identity once more.
        let what = format!("{} comes back to its name", one.label);
        let is_back = async || Ok(one.status().await?.replica != stays);
        fleet.until(&what, fleet.settle_deadline(), is_back).await?;
    }
    fleet.work(100..300).await;
    fleet.check(&format!("{what} {}: one", island.label)).await?;
    fleet.count(|report| report.twins += 1);
    Ok(())
}

/// What was written under the identity of the moment may go by another name later.
async fn fork(fleet: &Fleet, island: &Arc<Island>) -> Outcome {
    let replica = island.status().await?.replica;
    fleet.load.ledger(|ledger| ledger.current().forked.insert(replica));
    Ok(())
}

async fn remove_elsewhere(fleet: &Fleet, other: usize, prefix: &str) -> Outcome {
    let remover = fleet.members[other].island.clone();
    let there = usize::try_from(REMOVED).unwrap_or(usize::MAX);
    let has_all = async || Ok(remover.visible(prefix, there).await? == there);
    fleet.until("another master has what is to be removed", fleet.settle_deadline(), has_all).await?;
    remover.tell(Request::Clear { prefix: prefix.to_owned(), from: 0, count: REMOVED }).await
}

/// Waits until the master has told that it is fenced, and has another identity.
async fn parted(fleet: &Fleet, island: &Arc<Island>, what: &str) -> Outcome {
    let what = format!("{} {what}, and tells", island.label);
    fleet
        .until(&what, fleet.settle_deadline(), async || {
            let told = island.status().await?.told;
            // What a slow listener missed counts for what is waited for.
            Ok((told.fenced > 0 && told.reincarnated > 0) || told.missed > 0)
        })
        .await?;
    fleet.count(|report| report.reincarnations += 1);
    Ok(())
}
