use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// The way between one process and the broker. Clones are the same way.
#[derive(Clone, Debug)]
pub(super) struct Way(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: StdRng,
    latency_max: Duration,
    /// What each leg takes longer at the moment.
    slower: [Duration; 3],
    lose_rate: f64,
    repeat_rate: f64,
}

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// Something that the process asks for, or says.
    Question,
    /// What it is answered.
    Answer,
    /// The messages of the log.
    Log,
}

impl Leg {
    pub(super) const ALL: [Leg; 3] = [Leg::Question, Leg::Answer, Leg::Log];
}

impl Way {
    /// `lose_rate` of what nobody waits for an answer to is lost, `repeat_rate` of the messages of the log come twice.
    pub(super) fn new(latency_max: Duration, lose_rate: f64, repeat_rate: f64, seed: u64) -> Way {
        let (random, slower) = (StdRng::seed_from_u64(seed), [Duration::ZERO; 3]);
        Way(Arc::new(Mutex::new(State { random, latency_max, slower, lose_rate, repeat_rate })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leg takes so much longer from now on.
    pub(super) fn slow(&self, leg: Leg, by: Duration) {
        self.lock().slower[leg as usize] = by;
    }

    /// Nothing is slow, lost or repeated any more.
    pub(super) fn mend(&self) {
        let mut state = self.lock();
        (state.slower, state.lose_rate, state.repeat_rate) = ([Duration::ZERO; 3], 0.0, 0.0);
    }

    /// How long something takes that sets out now.
    pub(super) fn draw(&self, leg: Leg) -> Duration {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.latency_max.mul_f64(state.random.random_range(0.0..=1.0)) + state.slower[leg as usize]
    }

    /// Whether something that nobody waits for is lost.
    pub(super) fn loses(&self) -> bool {
        let mut state = self.lock();
        let rate = state.lose_rate;
        state.random.random_bool(rate)
    }

    /// Whether a message of the log comes twice.
    pub(super) fn repeats(&self) -> bool {
        let mut state = self.lock();
        let rate = state.repeat_rate;
        state.random.random_bool(rate)
    }

    pub(super) async fn go(&self, leg: Leg) {
        let latency = self.draw(leg);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    pub(super) async fn and_back<T>(&self, call: impl Future<Output = T>) -> T {
        self.go(Leg::Question).await;
        let answer = call.await;
        self.go(Leg::Answer).await;
        answer
    }
}
