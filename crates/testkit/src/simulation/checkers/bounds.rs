//! No queue grows beyond its bound.

use archipelago_engine::Engine;

use super::Broken;

pub(super) fn check(engine: &Engine) -> Result<(), Broken> {
    let (events, max) = (engine.buffered(), engine.config().event_buffer_events_max);
    match events <= max {
        true => Ok(()),
        false => Err(("bounds", format!("{events} events wait, and {max} may"))),
    }
}
