use std::{fmt, sync::Arc};

use archipelago_conflict::{Custom, Sibling, Strategy, StrategyTable};
use archipelago_crdt::Value;
use archipelago_proto::EntityId;

use super::{Case, Outcome, Turn, Verdict, Weather, plan, world::World};

/// By which rules conflicts are resolved in the built-in ones, unless the last writer wins.
pub(crate) const PREFIXES: [(&str, Strategy); 4] = [
    ("fields/", Strategy::FieldMerge),
    ("crdts/", Strategy::CrdtMerge),
    ("siblings/", Strategy::VersionVector),
    ("manual/", Strategy::Manual),
];

/// And of these by a function, [`merged`].
pub(crate) const MERGED_PREFIX: &str = "merged/";

/// A merge function that minds the order.
pub(crate) fn merged() -> Custom {
    Custom::new("in-order", 1, in_order)
}

pub(super) type Workload = Arc<dyn Fn(&mut Turn<'_>) + Send + Sync>;
pub(super) type Invariant = Arc<dyn Fn(&Verdict<'_>) -> Result<(), String> + Send + Sync>;

/// What is simulated: by which rules, under what load, in what weather. With a seed it makes a [`Case`].
#[derive(Clone)]
pub struct Scenario {
    pub(super) name: String,
    pub(super) strategies: StrategyTable,
    pub(super) entities: Vec<EntityId>,
    pub(super) workload: Option<Workload>,
    pub(super) invariants: Vec<(String, Invariant)>,
    pub(crate) weather: Weather,
}

impl Scenario {
    /// The names of the built-in ones.
    pub const NAMES: [&str; 7] = ["mixed", "calm", "network", "machines", "broker", "clocks", "members"];

    /// The built-in one of this name.
    pub fn named(name: &str) -> Option<Self> {
        let weather = match name {
            "mixed" => Weather::mixed(),
            "calm" => Weather::calm(),
            "network" => Weather::network(),
            "machines" => Weather::machines(),
            "broker" => Weather::broker(),
            "clocks" => Weather::clocks(),
            "members" => Weather::members(),
            _ => return None,
        };
        let table = StrategyTable::new(Strategy::Lww).with_prefix(MERGED_PREFIX, merged());
        let table =
            PREFIXES.into_iter().fold(table, |table, (prefix, strategy)| table.with_prefix(prefix, strategy));
        // The first few are those of a seed with few entities: of each kind one, and the ones to fight over.
        let entities = [
            "whole/a",
            "siblings/a",
            "crdts/a",
            "fields/a",
            "merged/a",
            "whole/b",
            "manual/a",
            "crdts/b",
            "fields/b",
        ];
        Some(Scenario {
            name: name.to_owned(),
            strategies: table,
            entities: entities.into_iter().map(EntityId::from).collect(),
            workload: None,
            invariants: Vec::new(),
            weather,
        })
    }

    /// What it is, in a sentence.
    pub fn what(name: &str) -> Option<&'static str> {
        Some(match name {
            "mixed" => "everything breaks at once: processes, disks, clocks, links, the broker, members",
            "calm" => "nothing breaks, and messages take their time",
            "network" => "messages are lost, late and doubled, and ways are cut",
            "machines" => "processes die, disks are lost, full, copied and put back, builds are old",
            "broker" => "the broker restarts, loses what it had acknowledged, and acknowledgements",
            "clocks" => "clocks jump and stand still",
            "members" => {
                "replicas join, leave, are given up and come back, and are cut off long enough to be missed"
            }
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that the seed decides.
    pub fn case(&self, seed: u64) -> Case {
        plan::draw(self, seed)
    }

    /// Runs a case; with `Detail::Traced` it is told what happened.
    pub fn run(&self, case: &Case, detail: Detail) -> Outcome {
        World::new(self, case, detail == Detail::Traced).run()
    }

    pub(crate) fn strategies(&self) -> &StrategyTable {
        &self.strategies
    }

    pub(crate) fn entities(&self) -> &[EntityId] {
        &self.entities
    }

    pub(super) fn workload(&self) -> Option<Workload> {
        self.workload.clone()
    }

    pub(super) fn invariants(&self) -> &[(String, Invariant)] {
        &self.invariants
    }
}

/// Shows all siblings in the order in which they come: a merge function that minds the order.
fn in_order(siblings: &[Sibling]) -> Option<Value> {
    let values: Vec<Value> = siblings.iter().filter_map(|sibling| sibling.value.clone()).collect();
    (!values.is_empty()).then(|| Value::List(values))
}

/// Whether a run leaves a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// It does.
    Traced,
    /// It does not, and is quicker.
    Untraced,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("weather", &self.weather)
            .finish_non_exhaustive()
    }
}
