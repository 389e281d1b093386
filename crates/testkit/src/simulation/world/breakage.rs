use super::{Happening, Standing, World};
use crate::simulation::{
    Fault,
    disk::Disk,
    island::{DiesInCommit, Island},
    ledger::Fate,
    network::BROKER,
    wall_clock::WallClock,
};

impl World<'_> {
    /// Something breaks. Whatever names a replica that is not there does nothing.
    pub(super) fn breaks(&mut self, fault: &Fault) {
        let kind = fault.kind();
        if fault.islands().any(|at| at != BROKER && at >= self.islands.len()) {
            return;
        }
        self.tally.injected(kind);
        self.trace.note(self.now_ms, || format!("FAULT {fault:?}"));
        match fault {
            Fault::Kill { island, down_ms } => {
                self.tally.felt(kind, u64::from(self.islands[*island].is_up()));
                self.dies(*island);
                self.rises(*island, *down_ms);
            }
            Fault::KillInCommit { island, is_stored, down_ms } => {
                let (is_stored, down_ms) = (*is_stored, *down_ms);
                self.islands[*island].dies_in_commit = Some(DiesInCommit { is_stored, down_ms });
            }
            Fault::PowerLoss { island, keep, down_ms } => self.loses_power(*island, *keep, *down_ms),
            Fault::EmptyDisk { island, down_ms } => {
                let (name, clock) = (self.islands[*island].name.clone(), self.islands[*island].clock);
                let replica = self.new_replica(&name, clock);
                self.gets_disk(*island, Disk::new(replica, true), None, *down_ms);
                self.tally.felt(kind, 1);
            }
            Fault::Backup { island } => {
                let island = &mut self.islands[*island];
                island.backup = Some((island.disk.rows.clone(), island.lineage));
                self.tally.felt(kind, 1);
            }
            Fault::Restore { island, down_ms } => {
                if let Some((rows, of)) = self.islands[*island].backup.clone() {
                    self.tally.felt(kind, u64::from(rows.vector != self.islands[*island].disk.rows.vector));
                    self.gets_disk(*island, Disk::holding(rows, true), Some(of), *down_ms);
                }
            }
            Fault::Twin { island, for_ms } => self.gets_twin(*island, *for_ms),
            Fault::DiskFull { island, for_ms } => {
                self.islands[*island].disk_full_until_ms = self.now_ms + for_ms;
            }
            Fault::Slow { island, for_ms } => self.islands[*island].slow_until_ms = self.now_ms + for_ms,
            Fault::Cut { from, to, for_ms } => self.network.cut(*from, *to, self.now_ms + for_ms, kind),
            Fault::Partition { islands, for_ms } => self.partitions(islands, *for_ms),
            Fault::Skew { island, by_ms, for_ms } => {
                self.islands[*island].clock.is_off_by(*by_ms);
                self.tally.felt(kind, u64::from(self.islands[*island].is_up()));
                self.agenda.put(self.now_ms + for_ms, Happening::ClockIsRight { island: *island });
            }
            Fault::StopClock { island, for_ms } => {
                self.islands[*island].clock.stops(self.now_ms);
                self.tally.felt(kind, u64::from(self.islands[*island].is_up()));
                self.agenda.put(self.now_ms + for_ms, Happening::ClockIsRight { island: *island });
            }
            Fault::BrokerRestart { down_ms } => self.broker_restarts(*down_ms),
            Fault::LoseTail { messages, down_ms } => {
                let lost = self.broker.lose_tail(*messages);
                self.tally.felt(kind, lost);
                self.broker_restarts(*down_ms);
            }
            Fault::Recreate => {
                let lost = self.broker.remove();
                self.tally.felt(kind, lost);
            }
            Fault::Trim { keep } => {
                let removed = self.broker.trim(*keep);
                self.tally.felt(kind, removed);
            }
            Fault::LoseAcks { for_ms } => self.acks_lost_until_ms = self.now_ms + for_ms,
            Fault::Leave { island, away_ms } => self.begins_to_leave(*island, *away_ms),
            Fault::Retire { by, island } => {
                let name = self.islands[*island].name.clone();
                if let Some((engine, _, now)) = self.process(*by)
                    && engine.retire(&name, now).is_ok()
                {
                    self.tally.felt(kind, 1);
                    // It is not waited for, until it has joined again.
                    self.islands[*island].has_receded = true;
                    self.flush(*by, super::process::Input::Other);
                }
            }
            Fault::Join => {
                self.settle_island(true);
                self.tally.felt(kind, 1);
            }
            Fault::Upgrade { island } => self.upgrades(*island),
        }
    }

    fn loses_power(&mut self, at: usize, keep: u64, down_ms: u64) {
        self.dies(at);
        let lost = self.islands[at].disk.lose_power(keep);
        self.tally.felt("power_loss", lost as u64);
        if lost > 0 {
            self.is_a_copy(at, self.islands[at].lineage);
            self.islands[at].shares_identity = true;
            self.islands[at].has_receded = true;
            // With every acknowledged write synced, there is nothing to excuse.
            if self.case.settings.durability == crate::simulation::Durability::Os {
                self.excuse_what_is_gone();
            }
        }
        self.rises(at, down_ms);
    }

    fn gets_disk(&mut self, at: usize, disk: Disk, of: Option<u64>, down_ms: u64) {
        self.dies(at);
        self.lineages += 1;
        let island = &mut self.islands[at];
        (island.disk, island.shares_identity, island.has_receded) = (disk, true, true);
        match of {
            Some(of) => self.is_a_copy(at, of),
            None => self.islands[at].lineage = self.lineages,
        }
        self.excuse_what_is_gone();
        self.rises(at, down_ms);
    }

    /// What it has stored is a copy of what was stored in `of`.
    fn is_a_copy(&mut self, at: usize, of: u64) {
        self.lineages += 1;
        let island = &mut self.islands[at];
        island.lineage = self.lineages;
        let own = island.disk.rows.vector.get(island.replica());
        self.ledger.copied(self.lineages, of, own);
    }

    /// The only disks that had them are gone: nobody promised these.
    fn excuse_what_is_gone(&mut self) {
        let is_gone = |island: &Island| island.standing == Standing::Gone;
        let disks: Vec<_> = self
            .islands
            .iter()
            .filter(|island| !is_gone(island))
            .map(|island| &island.disk.rows.vector)
            .collect();
        let lost = self.ledger.writes().iter().filter(|write| {
            write.fate == Fate::Acknowledged && !disks.iter().any(|vector| write.is_in(vector))
        });
        let lost: Vec<u64> = lost.map(|write| write.number).collect();
        for number in lost {
            self.ledger.excused(number);
            self.tally.effect("writes_lost_with_their_only_disk", 1);
        }
    }

    /// A second process on a copy of the disk.
    fn gets_twin(&mut self, at: usize, for_ms: u64) {
        let of = &self.islands[at];
        if !of.is_up() || of.standing != Standing::Member {
            return;
        }
        self.lineages += 1;
        let twin = Island {
            name: of.name.clone(),
            disk: Disk::holding(of.disk.rows.clone(), true),
            clock: WallClock::default(),
            running: None,
            life: 0,
            lineage: self.lineages,
            backup: None,
            slow_until_ms: 0,
            disk_full_until_ms: 0,
            is_newer_build: of.is_newer_build,
            standing: Standing::Member,
            dies_in_commit: None,
            away_ms: 0,
            is_twin: true,
            settled_ms: self.now_ms,
            has_receded: true,
            shares_identity: true,
        };
        self.islands[at].shares_identity = true;
        self.islands[at].has_receded = true;
        let (number, of) = (self.islands.len(), self.islands[at].lineage);
        self.islands.push(twin);
        self.is_a_copy(number, of);
        self.tally.felt("twin", 1);
        self.start(number);
        self.agenda.put(self.now_ms + for_ms, Happening::TwinEnds { island: number });
    }

    pub(super) fn twin_ends(&mut self, at: usize) {
        if self.islands[at].standing == Standing::Gone {
            return;
        }
        self.dies(at);
        self.islands[at].standing = Standing::Gone;
        self.trace.note(self.now_ms, || format!("the twin {at} is gone"));
        self.excuse_what_is_gone();
    }

    fn partitions(&mut self, islands: &[usize], for_ms: u64) {
        let (until, kind) = (self.now_ms + for_ms, "partition");
        for at in islands {
            self.network.cut(*at, BROKER, until, kind);
            self.network.cut(BROKER, *at, until, kind);
            for other in (0..self.islands.len()).filter(|other| !islands.contains(other)) {
                self.network.cut(*at, other, until, kind);
                self.network.cut(other, *at, until, kind);
            }
        }
    }

    fn broker_restarts(&mut self, down_ms: u64) {
        self.broker.goes_down();
        self.agenda.put(self.now_ms + down_ms, Happening::BrokerUp);
    }

    fn begins_to_leave(&mut self, at: usize, away_ms: u64) {
        if !self.islands[at].is_up() || self.islands[at].standing != Standing::Member {
            return;
        }
        self.islands[at].standing = Standing::Leaving;
        self.islands[at].has_receded = true;
        self.islands[at].away_ms = away_ms;
        self.tally.felt("leave", 1);
        self.leave(at, false);
    }

    /// Others know that it has left.
    pub(super) fn goes_away(&mut self, at: usize) {
        let away_ms = self.islands[at].away_ms;
        self.dies(at);
        self.islands[at].standing = Standing::Away;
        self.trace.note(self.now_ms, || format!("{at} is away"));
        self.rises(at, away_ms);
    }

    fn upgrades(&mut self, at: usize) {
        if !self.islands[at].is_newer_build {
            self.tally.felt("upgrade", 1);
            self.dies(at);
            self.islands[at].is_newer_build = true;
            self.rises(at, 100);
        }
    }

    /// Nothing breaks any more, and what was broken is mended.
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.trace.note(self.now_ms, || "calm".to_owned());
        self.network.calms_down();
        self.acks_lost_until_ms = 0;
        if !self.broker.is_up() {
            self.broker.comes_up();
        }
        for at in 0..self.islands.len() {
            let island = &mut self.islands[at];
            island.clock = WallClock::default();
            island.slow_until_ms = 0;
            island.disk_full_until_ms = 0;
            island.dies_in_commit = None;
            if island.standing == Standing::Leaving {
                // It thinks better of it.
                self.dies(at);
                self.islands[at].standing = Standing::Member;
            }
        }
        for at in 0..self.islands.len() {
            self.upgrades(at);
            if self.islands[at].is_twin {
                self.twin_ends(at);
            }
            let island = &self.islands[at];
            if !island.is_up() && island.standing != Standing::Gone {
                self.rises(at, 0);
            }
        }
    }
}
