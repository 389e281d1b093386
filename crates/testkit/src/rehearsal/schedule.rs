use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use archipelago_manager::{InTurn, Turns};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::Instant};

/// How often whoever is woken gets to say so, before it is decided who runs on. The runtime comes back after 61 tasks at
/// the latest, so a turn may wake so many times 61.
const YIELDS: u32 = 3;
/// How many turns there may be while no time goes by.
const TURNS_AT_ONCE_MAX: u64 = 200_000;
/// How long a run may last. Most take less than half a minute.
const RUN_MAX: Duration = Duration::from_secs(600);

/// Decides by its seed which of the tasks that can run on does, one at a time. The order in which the runtime wakes them
/// has no effect.
#[derive(Clone)]
pub(super) struct Schedule(Arc<Mutex<State>>);

struct State {
    random: StdRng,
    processes: u64,
    tasks: u64,
    /// Which tasks were woken, of which process, and how they get their turn.
    ready: BTreeMap<u64, (u64, Waker)>,
    /// Whose turn it is.
    turn: Option<u64>,
    /// These processes stand still.
    paused: BTreeSet<u64>,
    /// Who decides, while there is nothing to decide.
    idle: Option<Waker>,
    turns: u64,
    /// At which moment the last turn was, and how many there were then.
    at: (Instant, u64),
    /// Of all turns, in their order.
    digest: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Schedule {
        Schedule(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            processes: 0,
            tasks: 0,
            ready: BTreeMap::new(),
            turn: None,
            paused: BTreeSet::new(),
            idle: None,
            turns: 0,
            at: (Instant::now(), 0),
            digest: 0xcbf2_9ce4_8422_2325,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process.
    pub(super) fn process(&self) -> Process {
        let mut state = self.lock();
        state.processes += 1;
        Process { schedule: self.clone(), number: state.processes }
    }

    /// How many turns there were, and a digest of their order.
    pub(super) fn turns(&self) -> (u64, u64) {
        let state = self.lock();
        (state.turns, state.digest)
    }

    /// Runs a future, and gives turns until it has ended. Fails if it does not end, or if tasks run on
    /// and on while no time goes by.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let (began, main) = (Instant::now(), self.process().spawn(future));
        while !main.is_finished() {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if main.is_finished() {
                break;
            }
            std::future::poll_fn(|context| self.poll_next(context)).await.wake();
            if self.lock().at.1 > TURNS_AT_ONCE_MAX {
                return Err(format!("tasks ran on {TURNS_AT_ONCE_MAX} times while no time went by"));
            }
            if began.elapsed() > RUN_MAX {
                return Err(format!("it did not end within {RUN_MAX:?}"));
            }
        }
        Ok(main.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }

    /// Decides whose turn is next, as soon as anyone can run on.
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Waker> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let paused = &state.paused;
        let able = state.ready.iter().filter(|(_, (process, _))| !paused.contains(process));
        let able: Vec<u64> = able.map(|(task, _)| *task).collect();
        if able.is_empty() {
            state.idle = Some(context.waker().clone());
            return Poll::Pending;
        }
        let task = able[state.random.random_range(0..able.len())];
        let (_, waker) = state.ready.remove(&task).expect("it is ready");
        state.turn = Some(task);
        state.turns += 1;
        let now = Instant::now();
        state.at = if state.at.0 == now { (now, state.at.1 + 1) } else { (now, 1) };
        // FNV-1a.
        state.digest = (state.digest ^ task).wrapping_mul(0x0000_0100_0000_01b3);
        Poll::Ready(waker)
    }
}

/// Tasks that stand still together.
#[derive(Clone)]
pub(super) struct Process {
    schedule: Schedule,
    number: u64,
}

impl Process {
    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(InTurn::new(Arc::new(self.clone()), future))
    }

    /// Its tasks stand still, whatever wakes them, as those of a process that was sent SIGSTOP.
    pub(super) fn pause(&self) {
        self.schedule.lock().paused.insert(self.number);
    }

    /// Its tasks run on, if they stood still.
    pub(super) fn resume(&self) {
        let mut state = self.schedule.lock();
        state.paused.remove(&self.number);
        if let Some(idle) = state.idle.take() {
            idle.wake();
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.schedule.lock().paused.contains(&self.number)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.number).finish()
    }
}

impl Turns for Process {
    fn enter(&self) -> u64 {
        let mut state = self.schedule.lock();
        state.tasks += 1;
        state.tasks
    }

    fn poll_turn(&self, task: u64, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.schedule.lock();
        if state.turn == Some(task) {
            state.turn = None;
            return Poll::Ready(());
        }
        state.ready.insert(task, (self.number, context.waker().clone()));
        if let Some(idle) = state.idle.take() {
            idle.wake();
        }
        Poll::Pending
    }

    fn leave(&self, task: u64) {
        let mut state = self.schedule.lock();
        state.ready.remove(&task);
        state.turn.take_if(|turn| *turn == task);
    }
}
