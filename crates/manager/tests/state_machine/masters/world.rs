use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_clock::VersionVector;
use archipelago_conflict::Strategy;
use archipelago_crdt::PnCounter;
use archipelago_manager::{MultiMasterManager, VersionContent, WriteOptions};
use archipelago_pipeline::{MemoryBroker, MemoryConfig, Switch};
use archipelago_store::MemoryStore;
use serde::{Deserialize, Serialize};
use tokio::{runtime::Runtime, time::sleep};

use super::{
    ledger::{Ledger, Shown, What},
    plan::{Ends, FIELDS, Plan, REGISTERS, Step},
};
use crate::{runtime, wall::Wall};

const NAMES: [&str; 3] = ["us-east", "eu-west", "ap-south"];
const NAMESPACE: &str = "people";
const PROFILE: &str = "profile/0";
const COUNTER: &str = "counter/0";
/// In virtual time: long enough for heartbeats and repair.
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for all to hear of one another.
const ACQUAINTANCE: Duration = Duration::from_secs(5);
/// By how much each master's clock is behind that of the one before.
const APART_MS: u64 = 700;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Page {
    views: PnCounter,
}

/// Masters, and what is known of all that was written.
#[derive(Debug)]
pub(crate) struct World {
    runtime: Runtime,
    masters: Masters,
}

#[derive(Debug)]
struct Masters {
    strategy: Strategy,
    broker: MemoryBroker,
    wall: Wall,
    islands: Vec<Island>,
    ledger: Ledger,
}

#[derive(Debug)]
struct Island {
    master: MultiMasterManager,
    link: Switch,
    store: MemoryStore,
    /// What it was seen to have applied.
    had: VersionVector,
}

impl World {
    pub(crate) fn start(strategy: Strategy, masters: usize) -> World {
        let runtime = runtime();
        let masters = runtime.block_on(async {
            let (broker, wall) = (MemoryBroker::new(MemoryConfig::default()), Wall::new());
            let mut all = Masters { strategy, broker, wall, islands: Vec::new(), ledger: Ledger::default() };
            for at in 0..masters {
                let island = all.island(at, MemoryStore::new()).await;
                all.islands.push(island);
            }
            sleep(ACQUAINTANCE).await;
            all
        });
        World { runtime, masters }
    }

    /// Takes the step, and looks whether every master shows what it must.
    pub(crate) fn after(mut self, step: &Step, plan: &Plan) -> World {
        self.runtime.block_on(async {
            self.masters.take(step, plan).await;
            for at in 0..self.masters.islands.len() {
                self.masters.check(at).await;
            }
        });
        self
    }

    /// Once all are linked, all end up with everything.
    pub(crate) fn end(mut self) {
        self.runtime.block_on(async {
            self.masters.islands.iter().for_each(|island| island.link.heal());
            let all: Vec<usize> = (0..self.masters.islands.len()).collect();
            self.masters.settle(&all).await;
            for at in all {
                self.masters.check(at).await;
                let vector = self.masters.islands[at].master.vector_clock();
                for entry in self.masters.ledger.entries() {
                    assert!(vector.contains(&entry.receipt.dot), "{} is missing", entry.receipt.dot);
                }
            }
        });
    }
}

impl Masters {
    async fn island(&self, at: usize, store: MemoryStore) -> Island {
        let link = Switch::new(Arc::new(self.broker.pipeline(NAMESPACE)));
        let master = MultiMasterManager::builder()
            .master_id(NAMES[at])
            .namespace(NAMESPACE)
            .conflict_strategy(self.strategy)
            .prefix_strategy("profile/", Strategy::FieldMerge)
            .prefix_strategy("counter/", Strategy::CrdtMerge)
            .heartbeat_interval(Duration::from_millis(500))
            .close_timeout(Duration::from_millis(100))
            .clock(self.wall.behind(at as u64 * APART_MS))
            .store(store.clone())
            .pipeline(link.clone())
            .start()
            .await
            .expect("a sound store");
        Island { master, link, store, had: VersionVector::new() }
    }

    async fn take(&mut self, step: &Step, plan: &Plan) {
        match *step {
            Step::Register { master, register, value, seen } => {
                self.write_register(master, register, value, seen).await;
            }
            Step::Field { master, field, value } => {
                let fields = BTreeMap::from([(FIELDS[field], value)]);
                let receipt = self.islands[master].master.patch(PROFILE, &fields).await.expect("a write");
                self.ledger.note(receipt, What::Field { field, value }, None);
            }
            Step::Count { master, by } => {
                let me = self.islands[master].master.master_id();
                let update = self.islands[master].master.update(COUNTER, move |page: &mut Page| {
                    page.views.increment(me, u64::from(by)).map(drop)
                });
                let receipt = update.await.expect("a write");
                self.ledger.note(receipt, What::Count { by }, None);
            }
            Step::Cut { master } => self.islands[master].link.cut(),
            Step::Heal { master } => self.islands[master].link.heal(),
            Step::Settle => {
                let linked: Vec<usize> =
                    (0..self.islands.len()).filter(|master| !plan.is_cut(*master)).collect();
                self.settle(&linked).await;
            }
            Step::Restart { master, ends } => self.restart(master, ends).await,
            Step::ReadInSession { master, write } => self.read_in_session(master, write).await,
            Step::Pass { ms } => sleep(Duration::from_millis(u64::from(ms))).await,
        }
    }

    async fn write_register(&mut self, at: usize, register: usize, value: Option<u16>, seen: Option<usize>) {
        let master = &self.islands[at].master;
        let mut options = WriteOptions::default();
        let mut context = None;
        // Nobody here can have read what this master has not applied.
        let token = seen.map(|write| self.ledger.entry(write).receipt.token.clone());
        if let Some(token) = token.filter(|token| master.vector_clock().dominates(token.vector())) {
            context = Some(token.vector().clone());
            options = options.seen(token);
        }
        let id = REGISTERS[register];
        let written = match value {
            Some(value) => master.write_with(id, &value, options).await,
            None => master.delete_with(id, options).await,
        };
        self.ledger.note(written.expect("a write"), What::Register { register, value }, context);
    }

    async fn restart(&mut self, at: usize, ends: Ends) {
        let Island { master, link, store, had } = &self.islands[at];
        let (master, had) = (master.clone(), had.clone());
        if ends == Ends::Closed {
            master.close().await.expect("a sound store");
        }
        // Nothing that it still does reaches anything.
        link.cut();
        let again = self.island(at, store.reopen()).await;
        if ends == Ends::Killed {
            tokio::spawn(async move { master.close().await });
        }
        assert!(again.master.vector_clock().dominates(&had), "what was applied is stored");
        self.islands[at] = Island { had, ..again };
    }

    /// Whoever has a write shows it to those who ask with its token, at once or soon if all who have it are linked.
    async fn read_in_session(&mut self, at: usize, write: usize) {
        let token = self.ledger.entry(write).receipt.token.clone();
        let has_it = self.islands[at].had.dominates(token.vector());
        let nobody_is_cut = self.islands.iter().all(|island| !island.link.is_cut());
        let patience = if nobody_is_cut { PATIENCE } else { Duration::from_millis(50) };
        let came = self.islands[at].master.wait_for(&token, patience).await;
        assert!(came || !has_it && !nobody_is_cut, "{} does not come to {}", token.vector(), NAMES[at]);
        if came {
            assert!(self.islands[at].master.vector_clock().dominates(token.vector()));
        }
    }

    /// All of these have what any of them has, and the same state.
    async fn settle(&self, linked: &[usize]) {
        let masters: Vec<&MultiMasterManager> = linked.iter().map(|at| &self.islands[*at].master).collect();
        let settled = async {
            loop {
                for writer in &masters {
                    let token = writer.session_token();
                    for reader in &masters {
                        reader.wait_for(&token, PATIENCE).await;
                    }
                }
                if masters.iter().all(|master| master.vector_clock() == masters[0].vector_clock()) {
                    return;
                }
                // Time goes by.
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 2, settled).await.expect("all who are linked have the same in time");
        let mut states = Vec::new();
        for master in masters {
            states.push(master.state_digest().await.expect("open"));
        }
        assert!(states.windows(2).all(|two| two[0] == two[1]), "equal vectors, equal digests");
    }

    /// That a master shows what the writes amount to that it has applied, and lost none of them.
    async fn check(&mut self, at: usize) {
        let keeps_siblings = self.strategy == Strategy::VersionVector;
        let island = &mut self.islands[at];
        let (master, vector) = (&island.master, island.master.vector_clock());
        assert!(vector.dominates(&island.had), "{} goes back", NAMES[at]);
        island.had.clone_from(&vector);
        let own = self.ledger.entries().iter().map(|entry| &entry.receipt.dot);
        for dot in own.filter(|dot| dot.actor == master.master_id()) {
            assert!(vector.contains(dot), "{} lacks its own {dot}", NAMES[at]);
        }
        let expected = self.ledger.shown(&vector, keeps_siblings);
        let shown = shown(master).await;
        assert_eq!(shown, expected, "{} at {vector}", NAMES[at]);
        assert_eq!(master.vector_clock(), vector, "nothing came in between");
        for report in master.conflicts() {
            // Who wrote one after the other has no conflict.
            assert!(self.is_contested(&report.entity_id), "{report:?}");
        }
    }

    /// Two writes to the entity did not know of each other.
    fn is_contested(&self, entity: &str) -> bool {
        let writes = || self.ledger.entries().iter().filter(|entry| *entry.receipt.entity_id == *entity);
        let knows = |one: &super::ledger::Entry, other: &super::ledger::Entry| {
            one.context().contains(&other.receipt.dot) || other.context().contains(&one.receipt.dot)
        };
        writes().any(|one| writes().any(|other| one.receipt.dot != other.receipt.dot && !knows(one, other)))
    }
}

async fn shown(master: &MultiMasterManager) -> Shown {
    let mut shown = Shown::default();
    for register in REGISTERS {
        if let Some(value) = master.read::<u16>(register).await.expect("a number") {
            shown.registers.insert(register, value);
        }
        let versions = master.entity(register).await.expect("a sound store").map(|view| view.versions);
        let versions = versions.unwrap_or_default();
        if versions.iter().any(|version| version.content != VersionContent::Removed) {
            shown.live.insert(register, versions.into_iter().map(|version| version.dot).collect());
        }
    }
    let profile = master.read::<BTreeMap<String, u16>>(PROFILE).await.expect("fields").unwrap_or_default();
    for field in FIELDS {
        if let Some(value) = profile.get(field) {
            shown.fields.insert(field, *value);
        }
    }
    shown.count = master.read::<Page>(COUNTER).await.expect("a counter").unwrap_or_default().views.value();
    shown
}
