//! Every interleaving of small systems made of the engine's own parts.
//!
//! Random schedules find what is likely. Here nothing is left to chance: from each state every step that may come next is
//! taken, until there is no state left that is not known. What is bounded is told by each search.

mod fencing;
mod search;
mod stability;
#[path = "../support/mod.rs"]
mod support;

/// How far the searches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// In less than half a minute, without optimisations.
    Usual,
    /// As far as a machine with 16 GB comes in minutes, with optimisations.
    Deep,
}

impl Depth {
    /// As `ARCHIPELAGO_EXHAUSTIVE` says: `deep`, or nothing.
    fn asked() -> Depth {
        match std::env::var("ARCHIPELAGO_EXHAUSTIVE") {
            Ok(deep) if deep == "deep" => Depth::Deep,
            Ok(other) => panic!("ARCHIPELAGO_EXHAUSTIVE is {other:?}; set it to \"deep\", or not at all"),
            Err(_) => Depth::Usual,
        }
    }
}
