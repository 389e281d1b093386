use std::sync::Arc;

use archipelago_conflict::{ConflictStrategy, Strategy, StrategyTable};
use archipelago_proto::EntityId;

use super::{
    Detail, Minimised, Outcome, Scenario, Survey, Turn, Verdict, Weather, minimise,
    scenario::{Invariant, Workload},
};

/// A simulation of one's own data: its strategies, its writers, and what must hold of it.
///
/// ```
/// use archipelago_conflict::{Custom, Strategy};
/// use archipelago_crdt::Value;
/// use archipelago_testkit::simulation::{Simulation, Weather};
///
/// let greatest = Custom::new("greatest", 1, |siblings| {
///     siblings.iter().filter_map(|sibling| sibling.value.clone()).max_by_key(Value::as_int)
/// });
/// let scores = Simulation::builder()
///     .replicas(3)
///     .strategy(Strategy::Lww)
///     .prefix("scores/", greatest)
///     .workload(|turn| {
///         let score = i64::try_from(turn.number()).unwrap();
///         turn.update("scores/ada", |best| Some(best.and_then(|best| best.as_int()).max(Some(score)).into()));
///         turn.note(score);
///     })
///     .weather(Weather::mixed())
///     .writes(40)
///     .invariant("no score is lost", |verdict| {
///         let best = verdict.acknowledged().filter_map(Value::as_int).max();
///         let shown = |island: usize| verdict.islands()[island].read("scores/ada").and_then(|value| value.as_int());
///         match (0..verdict.islands().len()).find(|island| shown(*island) < best) {
///             Some(island) => Err(format!("{:?} instead of {best:?}", shown(island))),
///             None => Ok(()),
///         }
///     })
///     .build();
/// scores.assert_sound(0..5);
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    scenario: Scenario,
}

/// Says what a [`Simulation`] is of.
#[derive(Clone)]
#[must_use]
pub struct SimulationBuilder {
    name: String,
    strategies: StrategyTable,
    entities: Vec<EntityId>,
    workload: Option<Workload>,
    invariants: Vec<(String, Invariant)>,
    weather: Weather,
    replicas: Option<usize>,
    writes: Option<u64>,
}

impl Simulation {
    /// With 3 to 7 replicas, last writer wins, [`Weather::mixed`], and nothing to write to yet.
    pub fn builder() -> SimulationBuilder {
        SimulationBuilder {
            name: "own".to_owned(),
            strategies: StrategyTable::new(Strategy::Lww),
            entities: Vec::new(),
            workload: None,
            invariants: Vec::new(),
            weather: Weather::mixed(),
            replicas: None,
            writes: None,
        }
    }

    /// What a seed makes a [`Case`](super::Case) of.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs a seed, and tells what happened.
    pub fn run(&self, seed: u64) -> Outcome {
        self.scenario.run(&self.scenario.case(seed), Detail::Traced)
    }

    /// Runs seeds one after the other.
    pub fn run_seeds(&self, seeds: impl IntoIterator<Item = u64>) -> Survey {
        let mut survey = Survey::default();
        for seed in seeds {
            survey.add(self.scenario.attempt(&self.scenario.case(seed), Detail::Untraced));
        }
        survey
    }

    /// The least of a failing seed that still fails; `None` if it does not fail.
    pub fn minimise(&self, seed: u64) -> Option<Minimised> {
        self.scenario.minimise(&self.scenario.case(seed), minimise::RUNS_MAX)
    }

    /// Runs seeds until one breaks a promise.
    ///
    /// # Panics
    /// If one does: with the seed, what is wrong, and the trace of the least of it that still fails.
    pub fn assert_sound(&self, seeds: impl IntoIterator<Item = u64>) {
        for seed in seeds {
            let Some(found) = self.minimise(seed) else { continue };
            let trace = self.scenario.attempt(&found.case, Detail::Traced).trace;
            panic!("seed {seed}: {}\n{}", found.violation, trace.join("\n"));
        }
    }
}

impl SimulationBuilder {
    /// What its cases are called in files.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// So many replicas at first. Some weathers add others.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// By which strategy conflicts are resolved, where no prefix says otherwise.
    pub fn strategy(mut self, strategy: impl ConflictStrategy) -> Self {
        self.strategies = self.strategies.with_namespace(strategy);
        self
    }

    /// By which strategy conflicts of entities are resolved whose ids begin so.
    pub fn prefix(mut self, prefix: impl Into<String>, strategy: impl ConflictStrategy) -> Self {
        self.strategies = self.strategies.with_prefix(prefix, strategy);
        self
    }

    /// An entity that is written to, if there is no workload, and whose state is held against all writes in the end.
    pub fn entity(self, entity: &str) -> Self {
        self.entities([entity])
    }

    /// Some of these.
    pub fn entities<'e>(mut self, entities: impl IntoIterator<Item = &'e str>) -> Self {
        self.entities.extend(entities.into_iter().map(EntityId::from));
        self
    }

    /// What a client does in its turn, in place of writes of all kinds to the entities. All chance must come from
    /// [`Turn::dice`].
    pub fn workload(mut self, turn: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> Self {
        self.workload = Some(Arc::new(turn));
        self
    }

    /// What breaks, and how often.
    pub fn weather(mut self, weather: Weather) -> Self {
        self.weather = weather;
        self
    }

    /// So many writes, reads and turns in a run.
    pub fn writes(mut self, writes: u64) -> Self {
        self.writes = Some(writes);
        self
    }

    /// What must hold in the end, beside all that is promised anyway; else the text says what does not.
    pub fn invariant(
        mut self,
        name: impl Into<String>,
        check: impl Fn(&Verdict<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.invariants.push((name.into(), Arc::new(check)));
        self
    }

    /// # Panics
    /// If there is neither a workload nor an entity, or no replica.
    pub fn build(self) -> Simulation {
        let SimulationBuilder { name, strategies, entities, workload, invariants, mut weather, .. } = self;
        assert!(workload.is_some() || !entities.is_empty(), "nothing is written: say `workload` or `entity`");
        assert!(self.replicas != Some(0), "without replicas there is nothing to simulate");
        if let Some(replicas) = self.replicas {
            weather.replicas = (replicas, replicas);
        }
        if let Some(writes) = self.writes {
            weather.writes = (writes, writes);
        }
        let scenario = Scenario { name, strategies, entities, workload, invariants, weather };
        Simulation { scenario }
    }
}

impl std::fmt::Debug for SimulationBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulationBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
