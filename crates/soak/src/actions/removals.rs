//! Mass removals, and a master that is away during them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt;

use crate::{
    failure::{Failure, Outcome},
    fleet::{Fleet, statuses},
    island::Island,
    protocol::{Request, Status},
    report::Removals,
    scene::Node as _,
    stage::millis,
};

/// How many entities are written or removed before the next master goes on.
const CHUNK: u64 = 20_000;

/// Up to so many entities are written and removed beside the load; more without it, or the load would be all there is to
/// compare.
const BESIDE_LOAD_MAX: u64 = 20_000;

/// How many removals a second are reckoned with when it is decided how long to wait.
const REMOVALS_PER_S: u64 = 500;

/// How many heartbeats a removal is watched for that must be held back.
const WATCHED_BEATS: u32 = 5;

/// Entities are written and removed on all masters; then no tombstone may be left anywhere.
pub(crate) async fn deletes(what: &str, fleet: &mut Fleet) -> Outcome {
    let entities = fleet.options.entities;
    let prefix = format!("bulk/{what}/");
    let within = fleet.settle_deadline() + Duration::from_secs(entities / REMOVALS_PER_S);
    let islands = fleet.islands();
    let held = match entities > BESIDE_LOAD_MAX {
        true => Some(fleet.hold_all().await),
        false => None,
    };
    let disk = |islands: &[Arc<Island>]| islands.iter().map(|island| island.disk_bytes()).sum();
    let mut removals = Removals { entities, disk_bytes_before: disk(&islands), ..Removals::default() };

    let began = Instant::now();
    for (at, from) in chunks(entities) {
        fleet.progress.show(&format!("{what}: {from} of {entities} written"));
        let count = CHUNK.min(entities - from);
        let fill = Request::Fill { prefix: prefix.clone(), from, count };
        islands[at % islands.len()].tell(fill).await?;
    }
    removals.write_ms = millis(began.elapsed());
    let expected = usize::try_from(entities.min(1_000)).unwrap_or(usize::MAX);
    for island in &islands {
        let has_all = async || Ok(island.visible(&prefix, expected).await? == expected);
        fleet.until("all masters have what is to be removed", within, has_all).await?;
    }
    if held.is_some() {
        fleet.agree(&islands, within).await?;
    }
    removals.disk_bytes_written = disk(&islands);

    let began = Instant::now();
    for (at, from) in chunks(entities) {
        fleet.progress.show(&format!("{what}: {from} of {entities} removed"));
        let count = CHUNK.min(entities - from);
        let clear = Request::Clear { prefix: prefix.clone(), from, count };
        // Not by the one that wrote it.
        islands[(at + 1) % islands.len()].tell(clear).await?;
    }
    removals.remove_ms = millis(began.elapsed());
    removals.disk_bytes_removed = disk(&islands);

    let held = match held {
        Some(held) => held,
        None => fleet.hold_all().await,
    };
    fleet.progress.show(&format!("{what}: waiting until no tombstone is left"));
    let began = Instant::now();
    fleet.agree(&islands, within).await?;
    fleet.no_tombstones(&islands, within).await?;
    removals.reclaim_ms = millis(began.elapsed());
    removals.disk_bytes_reclaimed = disk(&islands);
    removals.memory_bytes_max = islands.iter().filter_map(|island| island.memory_bytes_max()).max();
    fleet.agree(&islands, within).await?;
    fleet.none_visible(&islands, &prefix).await?;
    drop(held);
    fleet.count(|report| {
        report.acknowledged += 2 * entities;
        report.removed += entities;
        if report.removals.as_ref().is_none_or(|largest| largest.entities <= entities) {
            report.removals = Some(removals);
        }
    });
    fleet.check(what).await
}

fn chunks(entities: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..entities).step_by(usize::try_from(CHUNK).unwrap_or(usize::MAX)).enumerate()
}

/// A master is away, frozen or cut off and writing, while others remove. Removals are held back until it is retired, and
/// are gone then; it returns, and nothing that was removed comes back with it.
pub(crate) async fn laggard(what: &str, fleet: &mut Fleet) -> Outcome {
    let entities = (fleet.options.entities / 4).clamp(1, BESIDE_LOAD_MAX);
    let prefix = format!("lag/{what}/");
    let Some(at) = pick_member(fleet).await? else {
        // Beside twins there may be nobody whom removals wait for.
        return fleet.check(&format!("{what}: nobody is waited for")).await;
    };
    let remover = fleet.pick_other(at);
    let laggard = fleet.members[at].island.clone();
    let others: Vec<Arc<Island>> =
        fleet.islands().into_iter().filter(|island| !Arc::ptr_eq(island, &laggard)).collect();
    fleet.members[remover]
        .island
        .tell(Request::Fill { prefix: prefix.clone(), from: 0, count: entities })
        .await?;
    fleet.check(&format!("{what} (before)")).await?;
    let is_active = async || {
        let status = laggard.status().await?;
        Ok(status.members.get(&status.replica.to_string()).is_some_and(|state| state == "Active"))
    };
    fleet.until("the laggard is an active member", fleet.settle_deadline(), is_active).await?;

    let freezes = fleet.random.random_bool(0.5);
    let held = match freezes {
        true => {
            let held = fleet.hold(at).await;
            laggard.pause()?;
            Some(held)
        }
        false => {
            // A master that was retired writes what it had not sent anew. So what it writes meanwhile to a register may
            // outlive a later removal that nobody has any more: it writes to its own.
            let held = fleet.hold(at).await;
            fleet.keep_to_itself(at, true);
            laggard.tell(Request::Cut).await?;
            drop(held);
            None
        }
    };
    let clear = Request::Clear { prefix: prefix.clone(), from: 0, count: entities };
    fleet.members[remover].island.tell(clear).await?;
    fleet.work(100..1_000).await;
    held_back_until_retired(fleet, &laggard, &others, remover, entities).await?;
    match freezes {
        true => laggard.resume()?,
        false => laggard.tell(Request::Heal).await?,
    }
    drop(held);
    let returned = async || Ok(laggard.status().await?.told.returned > 0);
    fleet.until("the laggard learns that it was retired", fleet.settle_deadline(), returned).await?;
    fleet.work(100..500).await;
    fleet.check(&format!("{what} {} {}", laggard.label, if freezes { "frozen" } else { "cut off" })).await?;
    fleet.keep_to_itself(at, false);
    let islands = fleet.islands();
    fleet.none_visible(&islands, &prefix).await?;
    {
        let _held = fleet.hold_all().await;
        fleet.no_tombstones(&islands, fleet.settle_deadline()).await?;
        fleet.agree(&islands, fleet.settle_deadline()).await?;
    }
    fleet.count(|report| {
        report.laggards += 1;
        report.acknowledged += 2 * entities;
        report.removed += entities;
    });
    Ok(())
}

/// One by chance of those who stand for their name: removals wait for them. What stays of a twin may not.
async fn pick_member(fleet: &mut Fleet) -> Outcome<Option<usize>> {
    let statuses = statuses(&fleet.islands()).await?;
    let stands = |status: &Status| status.members.contains_key(&status.replica.to_string());
    let members: Vec<usize> = (0..statuses.len()).filter(|at| stands(&statuses[*at])).collect();
    Ok(match members.is_empty() {
        true => None,
        false => Some(members[fleet.random.random_range(0..members.len())]),
    })
}

async fn held_back_until_retired(
    fleet: &Fleet,
    laggard: &Arc<Island>,
    others: &[Arc<Island>],
    remover: usize,
    entities: u64,
) -> Outcome {
    let mut gates = Vec::new();
    for island in others {
        gates.push(island.gate.clone().write_owned().await);
    }
    let within = fleet.settle_deadline();
    fleet.agree(others, within).await?;
    let name = &laggard.options().name;
    // That nothing is reclaimed can only be watched for a while.
    let watched = Instant::now() + fleet.heartbeats(WATCHED_BEATS);
    while Instant::now() < watched {
        for island in others {
            let report = island.reclaimable().await?;
            if report.tombstones < entities {
                let left = report.tombstones;
                return Err(Failure::Wrong(format!(
                    "{} reclaimed although {name} is away: {left} of {entities} tombstones are left",
                    island.label
                )));
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let is_named = async || {
        let named = fleet.members[remover].island.reclaimable().await?.held_back_by;
        Ok(named.iter().any(|member| member.starts_with(name.as_str())))
    };
    fleet.until_among(others, "the one that holds removals back is named", within, is_named).await?;
    fleet.retire(remover, name).await?;
    fleet.no_tombstones(others, within).await
}
