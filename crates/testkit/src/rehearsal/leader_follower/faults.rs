use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Fault, FaultRates};
use archipelago_store::MemoryStore;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::Instant;

use super::{
    disk::Failure,
    host::Life,
    kind::Kind,
    premise::Premise,
    way::Leg,
    world::{NAMESPACE, World},
};

/// How often it is looked whether the log is mended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the taking of a state that was forced may last.
const RESYNC_MAX: Duration = Duration::from_secs(5);

/// Breaks one thing after the other, until the time of trouble is over.
pub(super) async fn strike(world: &Arc<World>) {
    let mut random = StdRng::seed_from_u64(world.scenario.seed ^ 0x5eed);
    let mut premise = Premise::default();
    let deadline = Instant::now() + world.scenario.trouble;
    while Instant::now() < deadline {
        let next_at = Instant::now() + world.scenario.fault_rest_max.mul_f64(random.random_range(0.0..=1.0));
        while Instant::now() < next_at {
            tokio::time::sleep_until(next_at.min(Instant::now() + LOOK_INTERVAL)).await;
            premise.look(world).await;
        }
        let kind = *world.scenario.faults.choose(&mut random).expect("there is one");
        let mut one = Strike { world, random: &mut random, premise: &mut premise };
        if one.strike(kind).await {
            world.count(kind.name());
        }
    }
    // What is being mended is mended before more may be lost; nothing is from here on.
}

struct Strike<'a> {
    world: &'a Arc<World>,
    random: &'a mut StdRng,
    premise: &'a mut Premise,
}

impl Strike<'_> {
    /// False if it would break the premise, or there is nothing to break.
    async fn strike(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Cut | Kind::Hold => {
                let node = self.any_node();
                self.link(kind, node)
            }
            Kind::CutLeader | Kind::HoldLeader => self.leader().is_some_and(|node| self.link(kind, node)),
            Kind::Slow => {
                let node = self.any_node();
                self.slow(node)
            }
            Kind::SlowLeader => self.leader().is_some_and(|node| self.slow(node)),
            Kind::Pause => {
                let node = self.any_node();
                self.pause(node)
            }
            Kind::PauseLeader => self.leader().is_some_and(|node| self.pause(node)),
            Kind::FailDisk => {
                let node = self.any_node();
                self.fail_disk(node)
            }
            Kind::FailDiskOfLeader => self.leader().is_some_and(|node| self.fail_disk(node)),
            Kind::JumpClock => self.jump_clock(),
            Kind::Crash | Kind::LoseDisk => {
                let node = self.any_node();
                self.crash(kind, node)
            }
            Kind::CrashLeader => self.leader().is_some_and(|node| self.crash(kind, node)),
            Kind::Close => self.close(),
            Kind::Promote => self.promote(),
            Kind::Demote => self.demote(),
            Kind::Resync => self.resync(),
            Kind::StopBroker => self.stop_broker(),
            Kind::FaultyAppends => self.faulty_appends(),
            Kind::FaultyLease => {
                self.world.broker.fault_next_lease_call(self.fault());
                true
            }
            Kind::DropLease => {
                self.world.note("the broker forgets the lease");
                self.world.broker.drop_lease(NAMESPACE);
                true
            }
            Kind::TruncateTail | Kind::DeleteLog | Kind::Purge | Kind::TrimHead => {
                if !self.premise.begin_loss(self.world).await {
                    return false;
                }
                self.lose(kind);
                true
            }
        }
    }

    fn any_node(&mut self) -> usize {
        self.random.random_range(0..self.world.scenario.nodes.len())
    }

    fn leader(&self) -> Option<usize> {
        let leads =
            |host: &super::host::Host| host.life.as_ref().is_some_and(|life| life.manager.is_leader());
        self.world.hosts().iter().position(leads)
    }

    fn name(&self, node: usize) -> String {
        self.world.scenario.nodes[node].name.clone()
    }

    fn while_it_lasts(&mut self) -> Duration {
        // Some last shorter than the lease, some longer.
        let max = if self.random.random_bool(0.5) { 500 } else { 5_000 };
        Duration::from_millis(self.random.random_range(5..max))
    }

    fn fault(&mut self) -> Fault {
        *[Fault::Unavailable, Fault::LoseMessage, Fault::LoseAck]
            .choose(self.random)
            .expect("there are three")
    }

    fn link(&mut self, kind: Kind, node: usize) -> bool {
        let lasts = self.while_it_lasts();
        let Some(life) = self.world.life(node).filter(|_| self.premise.allows_cuts()) else { return false };
        let switch = life.switch;
        match kind {
            Kind::Cut | Kind::CutLeader => switch.cut(),
            _ => switch.hold(),
        }
        self.note_struck(node, kind, lasts);
        self.mend_after(node, lasts, move |life| match kind {
            Kind::Cut | Kind::CutLeader => life.switch.heal(),
            _ => life.switch.release(),
        });
        true
    }

    fn slow(&mut self, node: usize) -> bool {
        let lasts = self.while_it_lasts();
        let Some(life) = self.world.life(node) else { return false };
        for leg in Leg::ALL {
            let max_ms = if self.random.random_bool(0.5) { 20 } else { 400 };
            life.way.slow(leg, Duration::from_millis(self.random.random_range(0..max_ms)));
        }
        self.note_struck(node, Kind::Slow, lasts);
        let world = Arc::clone(self.world);
        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            // Also of one that is being closed, which takes the longer the slower its link is.
            for leg in Leg::ALL {
                life.way.slow(leg, Duration::ZERO);
            }
            world.note(format!("{} is fast again", life.manager.node_id()));
        });
        true
    }

    fn pause(&mut self, node: usize) -> bool {
        let lasts = self.while_it_lasts();
        let Some(life) = self.world.life(node).filter(|_| self.premise.allows_cuts()) else { return false };
        life.process.pause();
        self.note_struck(node, Kind::Pause, lasts);
        let world = Arc::clone(self.world);
        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            // Also one that is being closed, and could not be while it stood still.
            life.process.resume();
            world.note(format!("{} runs on", life.manager.node_id()));
        });
        true
    }

    /// The next commit fails. After a while somebody mends the disk, and starts the node again.
    fn fail_disk(&mut self, node: usize) -> bool {
        let lasts = self.while_it_lasts();
        let Some(life) = self.world.life(node).filter(|_| self.premise.allows_stop(node)) else {
            return false;
        };
        let failure = if self.random.random_bool(0.5) { Failure::Nothing } else { Failure::Late };
        life.disk.fail(failure);
        self.note_struck(node, Kind::FailDisk, lasts);
        let world = Arc::clone(self.world);
        let lives = world.hosts()[node].lives;
        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            {
                let host = &mut world.hosts()[node];
                if host.lives != lives || host.life.is_none() {
                    return;
                }
                host.kill();
            }
            world.start(node).await;
        });
        true
    }

    fn jump_clock(&mut self) -> bool {
        let node = self.any_node();
        let max_ms: i64 = if self.random.random_bool(0.5) { 500 } else { 3_600_000 };
        let off_ms = self.random.random_range(-max_ms..=max_ms);
        self.world.note(format!("the clock of {} is wrong by {off_ms} ms", self.name(node)));
        self.world.hosts()[node].clock.jump(off_ms);
        true
    }

    fn note_struck(&self, node: usize, kind: Kind, lasts: Duration) {
        self.world.note(format!("{} is struck by {kind:?} for {lasts:?}", self.name(node)));
    }

    /// Ends something that was done to a process, if it still runs by then: one that is gone stays cut off.
    fn mend_after(&self, node: usize, lasts: Duration, mend: impl FnOnce(&Life) + Send + 'static) {
        let world = Arc::clone(self.world);
        let lives = world.hosts()[node].lives;
        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            let life = world.life(node).filter(|_| world.hosts()[node].lives == lives);
            if let Some(life) = life {
                mend(&life);
                world.note(format!("{} is itself again", life.manager.node_id()));
            }
        });
    }

    fn crash(&mut self, kind: Kind, node: usize) -> bool {
        let lasts = self.while_it_lasts();
        let loses_disk = kind == Kind::LoseDisk;
        let is_allowed = match loses_disk {
            true => self.premise.allows_disk_loss(self.world, node),
            false => self.premise.allows_stop(node),
        };
        if !is_allowed || self.world.life(node).is_none() {
            return false;
        }
        self.world.note(format!("{} crashes, loses its disk: {loses_disk}", self.name(node)));
        let host = &mut self.world.hosts()[node];
        host.kill();
        if loses_disk {
            host.disk = Arc::new(MemoryStore::new());
            host.had = 0;
        }
        self.start_after(node, lasts);
        true
    }

    fn start_after(&self, node: usize, lasts: Duration) {
        let world = Arc::clone(self.world);

        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            world.start(node).await;
        });
    }

    fn close(&mut self) -> bool {
        let (node, lasts) = (self.any_node(), self.while_it_lasts());
        if !self.premise.allows_stop(node) || self.world.life(node).is_none() {
            return false;
        }
        self.world.note(format!("{} is closed", self.name(node)));
        let world = Arc::clone(self.world);

        self.world.spawn(async move {
            world.close(node).await;
            tokio::time::sleep(lasts).await;
            world.start(node).await;
        });
        true
    }

    fn promote(&mut self) -> bool {
        let node = self.any_node();
        let Some(life) = self.world.life(node) else { return false };
        let (world, name) = (Arc::clone(self.world), self.name(node));

        self.world.spawn(async move {
            world.note(format!("{name} is told to lead"));
            let promoted = life.process.spawn(async move { life.manager.promote().await }).await;
            world.note(format!("{name} was told to lead: {promoted:?}"));
        });
        true
    }

    fn demote(&mut self) -> bool {
        let Some(life) = self.leader().and_then(|node| self.world.life(node)) else { return false };
        let world = Arc::clone(self.world);

        self.world.spawn(async move {
            world.note(format!("{} is told to follow", life.manager.node_id()));
            let _ = life.process.spawn(async move { life.manager.demote().await }).await;
        });
        true
    }

    fn resync(&mut self) -> bool {
        let node = self.any_node();
        // Its own state is gone until it has that of another.
        if !self.premise.allows_disk_loss(self.world, node) {
            return false;
        }
        let Some(life) = self.world.life(node) else { return false };
        self.world.hosts()[node].is_told_to_resync(RESYNC_MAX);
        self.world.note(format!("{} is told to take the state anew", self.name(node)));

        self.world.spawn(async move {
            let manager = life.manager;
            let _ = life.process.spawn(async move { manager.force_resync(manager.node_id()).await }).await;
        });
        true
    }

    fn stop_broker(&mut self) -> bool {
        let lasts = self.while_it_lasts();
        if !self.premise.allows_cuts() {
            return false;
        }
        self.world.note(format!("the broker stops for {lasts:?}"));
        self.world.broker.stop();
        let world = Arc::clone(self.world);

        self.world.spawn(async move {
            tokio::time::sleep(lasts).await;
            world.broker.start();
            world.note("the broker runs");
        });
        true
    }

    fn faulty_appends(&mut self) -> bool {
        if self.random.random_bool(0.3) {
            let mut rate = || self.random.random_range(0.0..0.2);
            let rates = FaultRates {
                unavailable: rate(),
                lose_message: rate(),
                lose_ack: rate(),
                ..FaultRates::default()
            };
            self.world.note(format!("appends fail: {rates:?}"));
            self.world.broker.set_fault_rates(rates);
        } else {
            self.world.broker.set_fault_rates(FaultRates::default());
            for _ in 0..self.random.random_range(1..=3) {
                let fault = self.fault();
                self.world.note(format!("an append meets {fault:?}"));
                self.world.broker.fault_next(fault);
            }
        }
        true
    }

    fn lose(&mut self, kind: Kind) {
        let broker = &self.world.broker;
        let count = self.random.random_range(1..=20);
        self.world.note(format!("the log is struck by {kind:?}, of {count} messages"));
        match kind {
            Kind::TruncateTail => broker.truncate_tail(NAMESPACE, count),
            Kind::DeleteLog => broker.delete_log(NAMESPACE),
            Kind::Purge => broker.purge(NAMESPACE),
            _ => broker.trim_head(NAMESPACE, count),
        }
        if self.random.random_bool(0.3)
            && let Some(node) = self.leader()
        {
            self.crash(Kind::CrashLeader, node);
        }
    }
}
