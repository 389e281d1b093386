use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{FaultRates, Pipeline};

use super::{
    host::{Life, Standing},
    platter::{End, Image},
    tap::Silence,
    world::{NAMESPACE, World},
};
use crate::simulation::{Durability, Fault, network::BROKER};

/// How long a master that leaves waits until others know.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);
/// How often an acknowledgement is lost while they are.
const LOST_ACKS: f64 = 0.7;

/// Something breaks. What names a host that is not there, or does not run, may do nothing.
pub(super) fn breaks(world: &Arc<World>, fault: &Fault) {
    let count = world.hosts().len();
    if fault.islands().any(|at| at != BROKER && at >= count) {
        return;
    }
    if happens(world, fault) {
        world.count(fault.kind());
        world.note(format!("FAULT {fault:?}"));
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn happens(world: &Arc<World>, fault: &Fault) -> bool {
    match *fault {
        Fault::Kill { island, down_ms } => {
            let keep = world.dice().index(4);
            let is_killed = world.kill(island, End::Killed { keep }).is_some();
            is_killed && rises(world, island, down_ms)
        }
        Fault::KillInCommit { island, is_stored, down_ms } => {
            kill_in_commit(world, island, is_stored, down_ms)
        }
        Fault::PowerLoss { island, keep, down_ms } => {
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            let Some(lost) = world.kill(island, End::PowerLost { keep }) else { return false };
            if lost > 0 {
                let platter = world.hosts()[island].platter.clone();
                let before = world.is_a_copy(&platter);
                // With every acknowledged write synced, nothing that was made here is excused.
                let synced = world.scenario.settings().durability == Durability::Fsync;
                world.excuse_what_is_gone(synced.then_some(before));
            }
            rises(world, island, down_ms)
        }
        Fault::EmptyDisk { island, down_ms } => {
            has_disk(world, island, None) && rises(world, island, down_ms)
        }
        Fault::Backup { island } => {
            let host = &mut world.hosts()[island];
            host.backup = Some((host.platter.image(), host.platter.lineage()));
            true
        }
        Fault::Restore { island, down_ms } => {
            let backup = world.hosts()[island].backup.clone();
            backup.is_some_and(|backup| has_disk(world, island, Some(backup)))
                && rises(world, island, down_ms)
        }
        Fault::Twin { island, for_ms } => twin(world, island, for_ms),
        Fault::DiskFull { island, for_ms } => {
            let platter = world.hosts()[island].platter.clone();
            platter.is_full(true);
            world.after(ms(for_ms), |_| async move { platter.is_full(false) });
            true
        }
        Fault::Slow { island, for_ms } => with(world, island, |life| slow(world, life, for_ms)),
        Fault::Cut { from: BROKER, to, for_ms } => {
            with(world, to, |life| falls_silent(world, life, Silence::Deaf, for_ms))
        }
        Fault::Cut { from, to: BROKER, for_ms } => {
            with(world, from, |life| falls_silent(world, life, Silence::Mute, for_ms))
        }
        Fault::Cut { from, for_ms, .. } => with(world, from, |life| cut(world, life, for_ms)),
        Fault::Partition { ref islands, for_ms } => {
            let lives = islands.iter().filter_map(|at| world.life(*at));
            lives.map(|life| cut(world, life, for_ms)).count() > 0
        }
        Fault::Skew { island, by_ms, for_ms } => {
            let clock = world.hosts()[island].clock.clone();
            clock.is_off_by(by_ms);
            world.after(ms(for_ms), |_| async move { clock.is_right() });
            true
        }
        Fault::StopClock { island, for_ms } => {
            let clock = world.hosts()[island].clock.clone();
            clock.stops();
            world.after(ms(for_ms), |_| async move { clock.is_right() });
            true
        }
        Fault::BrokerRestart { down_ms } => broker_restarts(world, down_ms),
        Fault::LoseTail { messages, down_ms } => {
            world.broker.truncate_tail(NAMESPACE, usize::try_from(messages).expect("a few"));
            broker_restarts(world, down_ms)
        }
        Fault::Recreate => {
            world.broker.delete_log(NAMESPACE);
            true
        }
        Fault::Trim { keep } => {
            let pipeline = world.broker.pipeline(NAMESPACE);
            let inner = Arc::clone(world);
            world.spawn(async move {
                let Ok(state) = pipeline.state().await else { return };
                let messages = (state.last_sequence + 1).saturating_sub(state.first_sequence);
                let count = messages.saturating_sub(keep);
                inner.broker.trim_head(NAMESPACE, usize::try_from(count).expect("a few"));
            });
            true
        }
        Fault::LoseAcks { for_ms } => {
            world.broker.set_fault_rates(FaultRates { lose_ack: LOST_ACKS, ..FaultRates::default() });
            world.after(ms(for_ms), |world| async move {
                if world.is_troubled() {
                    world.broker.set_fault_rates(world.scenario.fault_rates());
                }
            });
            true
        }
        Fault::Leave { island, away_ms } => leave(world, island, away_ms),
        Fault::Retire { by, island } => {
            let name = world.hosts()[island].name.clone();
            with(world, by, |life| {
                let manager = life.manager.clone();
                drop(life.process.spawn(async move { manager.retire(&name).await.is_ok() }));
            })
        }
        Fault::Join => {
            let at = world.settle_host();
            rises(world, at, 0)
        }
        // All masters are of one build here.
        Fault::Upgrade { .. } => false,
    }
}

fn with(world: &World, at: usize, what: impl FnOnce(Life)) -> bool {
    world.life(at).map(what).is_some()
}

fn rises(world: &Arc<World>, at: usize, after_ms: u64) -> bool {
    world.after(ms(after_ms), |world| async move { world.start(at).await });
    true
}

fn cut(world: &Arc<World>, life: Life, for_ms: u64) {
    life.switch.cut();
    // A process that is gone stays cut off; nobody hears it any more.
    world.after(ms(for_ms), |_| async move {
        if !life.process.is_killed() {
            life.switch.heal();
        }
    });
}

fn falls_silent(world: &Arc<World>, life: Life, silence: Silence, for_ms: u64) {
    life.tap.falls_silent(silence);
    world.after(ms(for_ms), |_| async move { life.tap.falls_silent(Silence::None) });
}

/// The process stands still, or its link does.
fn slow(world: &Arc<World>, life: Life, for_ms: u64) {
    let is_link = world.dice().permille(400);
    match is_link {
        true => life.switch.hold(),
        false => life.process.pause(),
    }
    world.count(if is_link { "hold" } else { "pause" });
    world.after(ms(for_ms), |_| async move {
        life.process.resume();
        life.switch.release();
    });
}

fn kill_in_commit(world: &Arc<World>, at: usize, is_stored: bool, down_ms: u64) -> bool {
    let Some(life) = world.life(at) else { return false };
    let platter = world.hosts()[at].platter.clone();
    let (inner, number) = (Arc::clone(world), life.number);
    platter.dies_in_commit(is_stored, move || {
        life.kill();
        let outside = Arc::clone(&inner);
        outside.spawn(async move {
            if inner.bury(at, number) {
                tokio::time::sleep(ms(down_ms)).await;
                inner.start(at).await;
            }
        });
    });
    true
}

/// The disk is replaced by another one. False if it is in use in a way that does not allow that.
fn has_disk(world: &Arc<World>, at: usize, copy: Option<(Image, u64)>) -> bool {
    let is_free = {
        let host = &world.hosts()[at];
        !host.is_busy && host.standing == Standing::Member
    };
    if !is_free {
        return false;
    }
    world.kill(at, End::Killed { keep: 0 });
    let platter = world.platter(at, copy);
    world.hosts()[at].platter = platter;
    world.excuse_what_is_gone(None);
    true
}

/// A second process on a copy of the disk.
fn twin(world: &Arc<World>, at: usize, for_ms: u64) -> bool {
    let (name, copy) = {
        let host = &world.hosts()[at];
        if host.life.is_none() || host.standing != Standing::Member {
            return false;
        }
        (host.name.clone(), (host.platter.image(), host.platter.lineage()))
    };
    let twin = world.add(name, Some(copy), Standing::Twin);
    let inner = Arc::clone(world);
    world.spawn(async move {
        inner.start(twin).await;
        tokio::time::sleep(ms(for_ms)).await;
        while inner.hosts()[twin].is_busy {
            tokio::time::sleep(ms(10)).await;
        }
        inner.twin_ends(twin);
    });
    true
}

fn broker_restarts(world: &Arc<World>, down_ms: u64) -> bool {
    world.broker.stop();
    world.after(ms(down_ms), |world| async move { world.broker.start() });
    true
}

fn leave(world: &Arc<World>, at: usize, away_ms: u64) -> bool {
    let life = {
        let host = &mut world.hosts()[at];
        if host.standing != Standing::Member || host.is_busy {
            return false;
        }
        let Some(life) = host.life.clone() else { return false };
        host.is_busy = true;
        life
    };
    let inner = Arc::clone(world);
    world.spawn(async move {
        let manager = life.manager.clone();
        let left = life.process.spawn(async move { manager.leave(LEAVE_DEADLINE).await.is_ok() });
        // It may be killed meanwhile, or stand still.
        let _ = tokio::time::timeout(4 * LEAVE_DEADLINE, left).await;
        inner.hosts()[at].is_busy = false;
        if inner.bury(at, life.number) {
            tokio::time::sleep(ms(away_ms)).await;
        }
        inner.start(at).await;
    });
    true
}
