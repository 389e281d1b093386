//! The places for connections. When all are taken and another client comes, the one makes room that has waited longest
//! without asking for anything: so nobody keeps others out by connections on which nothing happens.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// How long a client may keep a place without asking for anything, however many others want one: enough for a request, or to
/// shake hands over some distance.
const STAY_MIN: Duration = Duration::from_millis(250);

/// All places. A handle.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What becomes of the connection that has waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// It was asked to leave.
    Leaves,
    /// It has not waited long enough.
    StaysUntil(Instant),
    /// None waits: all are at work.
    Nobody,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when a connection begins to wait for its client.
    one_waits: Notify,
    /// Told when a connection that was asked to leave stays, as a request came first.
    one_stays: Notify,
}

/// The connections that wait for a request, the one first that has waited longest.
#[derive(Debug, Default)]
struct Queue {
    next_number: u64,
    waiting: BTreeMap<u64, (Instant, Weak<Place>)>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Told when it is to leave.
    asked_to_leave: Notify,
    _permit: OwnedSemaphorePermit,
}

// Locked after the queue.
#[derive(Debug, Default)]
struct State {
    /// Its number in the queue; none while it is at work, or has to leave.
    number: Option<u64>,
    is_at_work: bool,
    requests: u64,
}

/// As long as it lives, a request is being answered: the connection keeps its place.
#[derive(Debug)]
pub(crate) struct AtWork(Arc<Place>);

/// A body that is sent while its connection is at work.
pub(crate) struct WorkedBody {
    body: Body,
    _at_work: AtWork,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(crate) fn new(count: usize) -> Places {
        Places { free: Arc::new(Semaphore::new(count)), shared: Arc::default() }
    }

    /// A place for a client that has come. Takes that of another one if there is none, and waits if all are at work.
    pub(crate) async fn take(&self) -> Arc<Place> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await,
        };
        let place = Arc::new(Place {
            shared: self.shared.clone(),
            state: Mutex::default(),
            asked_to_leave: Notify::new(),
            _permit: permit,
        });
        place.wait_for_request();
        place
    }

    async fn make_room(&self) -> OwnedSemaphorePermit {
        let mut freed = std::pin::pin!(self.free.clone().acquire_owned());
        let mut first = First::Nobody;
        loop {
            if first != First::Leaves {
                first = self.shared.ask_first();
            }
            let leaves_at = if let First::StaysUntil(at) = first { Some(at) } else { None };
            tokio::select! {
                biased;
                permit = freed.as_mut() => return permit.expect("nobody closes it"),
                () = self.shared.one_stays.notified() => first = First::Nobody,
                () = self.shared.one_waits.notified(), if first == First::Nobody => {}
                () = sleep_until(leaves_at.unwrap_or_else(Instant::now)), if leaves_at.is_some() => {}
            }
        }
    }
}

impl Shared {
    /// Asks the one to leave that has waited longest, if that is long enough.
    fn ask_first(&self) -> First {
        let mut queue = locked(&self.queue);
        let Some(first) = queue.waiting.first_entry() else { return First::Nobody };
        let stays_until = first.get().0 + STAY_MIN;
        if Instant::now() < stays_until {
            return First::StaysUntil(stays_until);
        }
        let (_, place) = first.remove();
        // One that is not there any more leaves just now.
        if let Some(place) = place.upgrade() {
            locked(&place.state).number = None;
            place.asked_to_leave.notify_one();
            // Let go of after the queue, which it locks if it is the last.
            drop(queue);
        }
        First::Leaves
    }
}

impl Place {
    fn wait_for_request(self: &Arc<Self>) {
        let mut queue = locked(&self.shared.queue);
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiting.insert(number, (Instant::now(), Arc::downgrade(self)));
        let mut state = locked(&self.state);
        (state.number, state.is_at_work) = (Some(number), false);
        drop((state, queue));
        self.shared.one_waits.notify_one();
    }

    /// A request has come.
    pub(crate) fn work(self: &Arc<Self>) -> AtWork {
        let mut queue = locked(&self.shared.queue);
        let mut state = locked(&self.state);
        match state.number.take() {
            Some(number) => drop(queue.waiting.remove(&number)),
            None => self.shared.one_stays.notify_one(),
        }
        (state.is_at_work, state.requests) = (true, state.requests + 1);
        AtWork(self.clone())
    }

    /// Whether a whole head of a request ever came.
    pub(crate) fn was_asked(&self) -> bool {
        locked(&self.state).requests > 0
    }

    /// Resolves once another client needs the place more.
    pub(crate) async fn crowded_out(&self) {
        loop {
            self.asked_to_leave.notified().await;
            let state = locked(&self.state);
            if state.number.is_none() && !state.is_at_work {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = locked(&self.shared.queue);
        if let Some(number) = locked(&self.state).number.take() {
            queue.waiting.remove(&number);
        }
    }
}

impl AtWork {
    /// The work goes on until this body is sent, or let go of.
    pub(crate) fn until_sent(self, body: Body) -> WorkedBody {
        WorkedBody { body, _at_work: self }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.wait_for_request();
    }
}

impl HttpBody for WorkedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
