use std::{sync::Arc, time::Duration};

use archipelago_proto::Limits;

use super::{host::Standing, world::World};
use crate::{
    StoredMaster,
    simulation::{
        Verdict,
        checkers::{Broken, acknowledged, causality, convergence, state},
        view::{IslandView, Source},
    },
};

/// How often somebody is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Looks again and again at what must hold at any time.
pub(super) fn watch(world: &Arc<World>) {
    let inner = Arc::clone(world);
    world.spawn(async move {
        while inner.is_troubled() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            check_bounds(&inner);
            let count = inner.hosts().len();
            let at = inner.dice().index(count);
            check_store(&inner, at);
        }
    });
}

/// No queue is longer than it may be.
fn check_bounds(world: &World) {
    let settings = world.scenario.settings();
    let (buffer_max, outbox_max) =
        (settings.event_buffer_events_max as u64, world.scenario.options.outbox_events_max);
    for host in &*world.hosts() {
        let Some(life) = &host.life else { continue };
        let metrics = life.manager.metrics();
        for (queue, length, max) in [
            ("the causal buffer", metrics.event_buffer_size, buffer_max),
            ("the outbox", metrics.outbox_len, outbox_max),
        ] {
            if length > max {
                world
                    .book()
                    .violates("bounds", format!("{queue} of {} has {length}, and may have {max}", host.name));
            }
        }
    }
}

/// What is stored fits together, and is what follows from the writes in it.
fn check_store(world: &World, at: usize) {
    let (platter, seen) = {
        let host = &world.hosts()[at];
        if host.standing == Standing::Gone {
            return;
        }
        (host.platter.clone(), host.seen.clone())
    };
    let strategies = world.scenario.simulated.strategies();
    let master = match StoredMaster::read(&platter, strategies) {
        Ok(Some(master)) => master,
        Ok(None) => return,
        Err(error) => return world.book().violates("store", format!("{at}: {error}")),
    };
    let mut book = world.book();
    let limits = Limits::default();
    let view = IslandView { source: Source::Stored { master: &master, strategies }, limits: &limits };
    let mut broken = Vec::new();
    let lineage = platter.lineage();
    // With its identity it may have given up what others wrote, until it has read that again.
    let is_same = |(of, replica, _): &(u64, _, _)| *of == lineage && *replica == master.replica;
    if let Some((.., seen)) = seen.filter(is_same)
        && master.vector.dominates(&seen)
    {
        broken.extend(causality::check(&seen, &master.vector, &book.ledger).err());
    }
    for entity in world.scenario.simulated.entities() {
        broken.extend(state::check(&view, entity, &book.ledger).err());
    }
    for (checker, detail) in broken {
        book.violates(checker, format!("{at}: {detail}"));
    }
    drop(book);
    let host = &mut world.hosts()[at];
    if host.platter.lineage() == lineage {
        host.seen = Some((lineage, master.replica, master.vector));
    }
}

/// What must hold in the end.
pub(super) async fn check(world: &World) {
    check_bounds(world);
    let count = world.hosts().len();
    for at in 0..count {
        check_store(world, at);
    }
    let strategies = world.scenario.simulated.strategies();
    let mut masters = Vec::new();
    for at in 0..count {
        let (life, platter) = {
            let host = &world.hosts()[at];
            if host.standing != Standing::Member {
                continue;
            }
            (host.life.clone(), host.platter.clone())
        };
        let Some(life) = life else {
            world.book().violates("liveness", format!("{at} does not run"));
            continue;
        };
        let (Ok(Some(master)), Ok((_, digest))) =
            (StoredMaster::read(&platter, strategies), life.manager.state_digest().await)
        else {
            continue;
        };
        if master.digest.root() != digest.root() {
            world.book().violates("digest", format!("the digest of {at} is not that of what it has stored"));
        }
        masters.push(master);
    }
    hold_together(world, &masters, |verdict| {
        vec![acknowledged::check(verdict), convergence::check(verdict, &world.scenario.simulated)]
    });
}

/// The masters did not become equal. If all have applied the same, tells of what they have another state.
pub(super) fn tell_difference(world: &World) {
    let strategies = world.scenario.simulated.strategies();
    let platters: Vec<_> = {
        let hosts = world.hosts();
        let members = hosts.iter().filter(|host| host.standing == Standing::Member);
        members.map(|host| host.platter.clone()).collect()
    };
    let masters =
        platters.iter().filter_map(|platter| StoredMaster::read(platter, strategies).ok().flatten());
    let masters: Vec<StoredMaster> = masters.collect();
    if masters.windows(2).all(|pair| pair[0].vector == pair[1].vector) {
        hold_together(world, &masters, |verdict| {
            vec![convergence::check(verdict, &world.scenario.simulated)]
        });
    }
}

/// Holds the masters against each other and what was written.
fn hold_together(
    world: &World,
    masters: &[StoredMaster],
    checks: impl FnOnce(&Verdict<'_>) -> Vec<Result<(), Broken>>,
) {
    let strategies = world.scenario.simulated.strategies();
    let limits = Limits::default();
    let islands = masters
        .iter()
        .map(|master| IslandView { source: Source::Stored { master, strategies }, limits: &limits });
    let mut book = world.book();
    let verdict = Verdict { islands: islands.collect(), ledger: &book.ledger, notes: &[] };
    let broken = checks(&verdict);
    drop(verdict);
    for (checker, detail) in broken.into_iter().filter_map(Result::err) {
        book.violates(checker, detail);
    }
}
