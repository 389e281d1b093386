use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use super::{History, KvOp, KvResult, Operation, Outcome, json_lines};

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;
type Journal<O, R> = Box<dyn FnMut(&Operation<O, R>) -> io::Result<()> + Send>;

/// Notes what clients ask for and are answered, from any number of threads. Clones write to the same history.
///
/// It keeps everything in memory, about 200 bytes an operation.
pub struct Recorder<O = KvOp, R = KvResult> {
    shared: Arc<Shared<O, R>>,
}

struct Shared<O, R> {
    clock: Clock,
    notes: Mutex<Notes<O, R>>,
}

struct Notes<O, R> {
    operations: Vec<Operation<O, R>>,
    journal: Option<Journal<O, R>>,
}

impl<O, R> Recorder<O, R> {
    /// By the system's monotonic clock, which all processes of a machine share.
    #[cfg(unix)]
    pub fn new() -> Self {
        Self::with_clock(|| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let parts = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
            let (Ok(seconds), Ok(nanoseconds)) = parts else { unreachable!("the clock starts at 0") };
            seconds * 1_000_000_000 + nanoseconds
        })
    }

    /// By this clock, which must never go back: of a simulator, or a counter. Operations of which one ends when the
    /// other begins, by equal instants, are taken to overlap.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let notes = Mutex::new(Notes { operations: Vec::new(), journal: None });
        Recorder { shared: Arc::new(Shared { clock: Box::new(clock), notes }) }
    }

    /// Also writes each operation as a line of JSON before it begins, and again when it ends, for
    /// [`History::read_from`]. So nothing is lost when this process is killed, if `to` does not buffer.
    #[must_use]
    pub fn with_journal(self, mut to: impl Write + Send + 'static) -> Self
    where
        O: Serialize,
        R: Serialize,
    {
        let journal = move |operation: &Operation<O, R>| {
            json_lines::write_one(&mut to, operation)?;
            to.flush()
        };
        self.shared.notes().journal = Some(Box::new(journal));
        self
    }

    /// Call it before the operation is started. `process` is the client's number, which no other client may have.
    ///
    /// # Panics
    /// If the journal cannot be written.
    pub fn begin(&self, process: u64, op: O) -> Pending<O, R> {
        // Before the lock is waited for: an interval may be wider than the truth, never narrower.
        let invoked_ns = (self.shared.clock)();
        let mut notes = self.shared.notes();
        let place = notes.operations.len();
        notes.operations.push(Operation {
            process,
            id: place as u64,
            op,
            invoked_ns,
            outcome: Outcome::Unknown,
        });
        notes.write_down(place);
        Pending { shared: Arc::clone(&self.shared), place }
    }

    /// What was noted so far. What has not ended is unknown.
    pub fn history(&self) -> History<O, R>
    where
        O: Clone,
        R: Clone,
    {
        self.shared.notes().operations.clone().into()
    }
}

impl<O, R> Shared<O, R> {
    /// A client that panics must not keep the others from being recorded: each note is whole.
    fn notes(&self) -> MutexGuard<'_, Notes<O, R>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O, R> Notes<O, R> {
    fn write_down(&mut self, place: usize) {
        if let Some(journal) = &mut self.journal {
            journal(&self.operations[place]).expect("the journal of the recorder can be written");
        }
    }
}

#[cfg(unix)]
impl<O, R> Default for Recorder<O, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> Clone for Recorder<O, R> {
    fn clone(&self) -> Self {
        Recorder { shared: Arc::clone(&self.shared) }
    }
}

impl<O, R> fmt::Debug for Recorder<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = self.shared.notes().operations.len();
        f.debug_struct("Recorder").field("operations", &operations).finish_non_exhaustive()
    }
}

/// An operation that has begun. Dropped without a word, for a timeout, a lost connection or a panic, it is unknown.
#[must_use = "an operation whose token is dropped is unknown"]
pub struct Pending<O = KvOp, R = KvResult> {
    shared: Arc<Shared<O, R>>,
    place: usize,
}

impl<O, R> Pending<O, R> {
    /// It was answered.
    ///
    /// # Panics
    /// If the journal cannot be written.
    pub fn ok(self, result: R) {
        let completed_ns = (self.shared.clock)();
        self.end(Outcome::Ok { result, completed_ns });
    }

    /// It had no effect and never will. If there is any doubt, drop the token instead.
    ///
    /// # Panics
    /// If the journal cannot be written.
    pub fn failed(self) {
        let completed_ns = (self.shared.clock)();
        self.end(Outcome::Failed { completed_ns });
    }

    fn end(self, outcome: Outcome<R>) {
        let mut notes = self.shared.notes();
        notes.operations[self.place].outcome = outcome;
        notes.write_down(self.place);
    }
}

impl<O, R> fmt::Debug for Pending<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("place", &self.place).finish_non_exhaustive()
    }
}
