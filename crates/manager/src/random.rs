use std::sync::{Arc, Mutex, PoisonError};

use rand::{
    RngExt, SeedableRng,
    distr::{Distribution, StandardUniform},
    rngs::StdRng,
};

/// Where the tasks of one manager take what is random from. Clones take from the same source.
#[derive(Clone, Debug)]
pub(crate) struct Random(Arc<Mutex<StdRng>>);

impl Random {
    /// What follows from the seed, or else from the operating system.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Random(Arc::new(Mutex::new(StdRng::seed_from_u64(seed.unwrap_or_else(rand::random)))))
    }

    pub(crate) fn word<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

impl Default for Random {
    fn default() -> Self {
        Random::new(None)
    }
}
