use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    BenchError,
    ledger::{self, Ledger, Outcome},
    member::{Gone, Member},
    pace::{Arrears, Pace},
    protocol::{Answer, Request},
    scout::Scout,
};

/// How many writes are under way at a time.
const CLIENTS: usize = 64;

/// Clients that create keys, each once, and note what they were told.
#[derive(Debug)]
pub(crate) struct Load {
    writing: Arc<Writing>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct Writing {
    members: Arc<Vec<Member>>,
    scout: Arc<Scout>,
    pace: Pace,
    seed: u64,
    ledger: Mutex<Ledger>,
    newest: watch::Sender<Newest>,
    stops: watch::Sender<bool>,
}

/// The newest term in which a write was acknowledged, and when the first one was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    pub(crate) term: u64,
    pub(crate) since: Instant,
}

impl Load {
    pub(crate) fn start(members: Arc<Vec<Member>>, scout: Arc<Scout>, rate: u32, seed: u64) -> Load {
        let writing = Arc::new(Writing {
            members,
            scout,
            pace: Pace::new(rate, Arrears::Dropped),
            seed,
            ledger: Mutex::default(),
            newest: watch::Sender::new(Newest { term: 0, since: Instant::now() }),
            stops: watch::Sender::new(false),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(writing.clone().run());
        }
        Load { writing, clients }
    }

    /// The newest term in which a write was acknowledged.
    pub(crate) fn newest(&self) -> Newest {
        *self.writing.newest.borrow()
    }

    /// Waits until a write is acknowledged in a newer term than `term`.
    pub(crate) async fn newer_than(
        &self,
        term: u64,
        deadline: Duration,
        after: &'static str,
    ) -> Result<Newest, BenchError> {
        let mut newest = self.writing.newest.subscribe();
        let newer = newest.wait_for(|newest| newest.term > term);
        match tokio::time::timeout(deadline, newer).await {
            Ok(Ok(newest)) => Ok(*newest),
            _ => Err(BenchError::NoLeader { waited: deadline, after }),
        }
    }

    /// Waits for what is under way, and gives what the clients were told.
    pub(crate) async fn stop(mut self) -> Ledger {
        self.writing.stops.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut self.writing.ledger())
    }
}

impl Writing {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        while !*self.stops.borrow() {
            let (number, due) = self.pace.take();
            tokio::time::sleep_until(due).await;
            let outcome = self.write(number).await;
            self.ledger().outcomes.insert(number, outcome);
        }
    }

    /// Writes, at whoever leads, until it is done or nobody knows whether it is.
    async fn write(&self, number: u64) -> Outcome {
        let (mut leader, mut stops) = (self.scout.watch(), self.stops.subscribe());
        loop {
            let found = tokio::select! {
                biased;
                found = leader.wait_for(Option::is_some) => found.map(|found| *found).ok().flatten(),
                _ = stops.wait_for(|stops| *stops) => None,
            };
            let Some(at) = found else { return Outcome::NotWritten };
            let create =
                Request::Create { key: ledger::key(number), value: ledger::value(self.seed, number) };
            match self.members[at].call(create).await {
                Ok(Answer::Written { sequence, term }) => {
                    self.acknowledged_in(term);
                    return Outcome::Acknowledged { sequence };
                }
                // Nobody else writes this key, and every earlier attempt was said to have come to nothing.
                Ok(Answer::Exists { .. }) => return Outcome::Contradicted,
                Ok(Answer::NotWritten { .. }) | Err(Gone::Before) => self.scout.leads_no_more(at),
                Ok(_) => return Outcome::Unknown,
                Err(Gone::Meanwhile) => {
                    self.scout.leads_no_more(at);
                    return Outcome::Unknown;
                }
            }
        }
    }

    fn acknowledged_in(&self, term: u64) {
        let now = Instant::now();
        self.newest.send_if_modified(|newest| {
            let is_newer = term > newest.term;
            if is_newer {
                *newest = Newest { term, since: now };
            }
            is_newer
        });
    }
}
