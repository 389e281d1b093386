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
    /// Every task, of which process, and how it is polled.
    tasks_of: BTreeMap<u64, (u64, Waker)>,
    /// These processes stand still.
    paused: BTreeSet<u64>,
    /// These are no more.
    killed: BTreeSet<u64>,
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
            tasks_of: BTreeMap::new(),
            paused: BTreeSet::new(),
            killed: BTreeSet::new(),
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
        Process { schedule: self.clone(), number: state.processes, blocks_max: Duration::ZERO }
    }

    /// A new process, whose disk takes so long at most.
    pub(super) fn process_with_disk(&self, blocks_max: Duration) -> Process {
        Process { blocks_max, ..self.process() }
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
            match self.next() {
                Some(waker) => waker.wake(),
                // Whoever is woken together with the first one gets to say so, too.
                None => std::future::poll_fn(|context| self.poll_able(context)).await,
            }
            if self.lock().at.1 > TURNS_AT_ONCE_MAX {
                return Err(format!("tasks ran on {TURNS_AT_ONCE_MAX} times while no time went by"));
            }
            if began.elapsed() > RUN_MAX {
                return Err(format!("it did not end within {RUN_MAX:?}"));
            }
        }
        Ok(main.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }

    /// Decides whose turn is next, if anyone can run on.
    fn next(&self) -> Option<Waker> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let able: Vec<u64> = state.able().collect();
        if able.is_empty() {
            return None;
        }
        let task = able[state.random.random_range(0..able.len())];
        let (_, waker) = state.ready.remove(&task).expect("it is ready");
        state.turn = Some(task);
        state.turns += 1;
        let now = Instant::now();
        state.at = if state.at.0 == now { (now, state.at.1 + 1) } else { (now, 1) };
        // FNV-1a.
        state.digest = (state.digest ^ task).wrapping_mul(0x0000_0100_0000_01b3);
        Some(waker)
    }

    /// Waits until anyone can run on.
    fn poll_able(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.able().next().is_some() {
            return Poll::Ready(());
        }
        state.idle = Some(context.waker().clone());
        Poll::Pending
    }
}

impl State {
    fn able(&self) -> impl Iterator<Item = u64> {
        let able = self.ready.iter().filter(|(_, (process, _))| !self.paused.contains(process));
        able.map(|(task, _)| *task)
    }
}

/// Tasks that stand still together.
#[derive(Clone)]
pub(super) struct Process {
    schedule: Schedule,
    number: u64,
    /// How long something takes at most that may wait for the disk.
    blocks_max: Duration,
}

impl Process {
    pub(super) fn is_killed(&self) -> bool {
        self.schedule.lock().killed.contains(&self.number)
    }

    /// All its tasks are dropped, wherever they are; one that runs at this moment, when it waits next.
    pub(super) fn kill(&self) {
        let mut state = self.schedule.lock();
        state.killed.insert(self.number);
        state.paused.remove(&self.number);
        state.ready.retain(|_, (process, _)| *process != self.number);
        let killed = state.tasks_of.extract_if(.., |_, (process, _)| *process == self.number);
        let wakers: Vec<Waker> = killed.map(|(_, (_, waker))| waker).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

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
        state.tasks_of.insert(task, (self.number, context.waker().clone()));
        if let Some(idle) = state.idle.take() {
            idle.wake();
        }
        Poll::Pending
    }

    fn leave(&self, task: u64) {
        let mut state = self.schedule.lock();
        state.ready.remove(&task);
        state.tasks_of.remove(&task);
        state.turn.take_if(|turn| *turn == task);
    }

    fn is_killed(&self, _task: u64) -> bool {
        Process::is_killed(self)
    }

    fn blocks_for(&self) -> Duration {
        match self.blocks_max {
            Duration::ZERO => Duration::ZERO,
            most => most.mul_f64(self.schedule.lock().random.random_range(0.0..=1.0)),
        }
    }
}
