//! The digest that follows each change is that of what is stored.

use archipelago_engine::{Engine, EngineConfig};

use super::Broken;
use crate::simulation::{
    Scenario,
    view::{IslandView, Source},
};

pub(super) fn check(island: &IslandView<'_>, scenario: &Scenario) -> Result<(), Broken> {
    // One that is read from a store was computed anew.
    let Source::Running { engine, rows } = island.source else { return Ok(()) };
    let strategies = scenario.strategies().clone();
    let config = EngineConfig { strategies, ..engine.config().clone() };
    let mut anew = Engine::new(config, rows.restored());
    for (entity, record) in &rows.entities {
        anew.restore(entity, record.clone()).map_err(|error| ("digest", error.to_string()))?;
    }
    let name = island.name();
    match anew.digest().root() == engine.digest().root() {
        true => Ok(()),
        false => Err(("digest", format!("the digest of {name} is not that of what it has stored"))),
    }
}
