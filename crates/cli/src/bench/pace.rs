use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When the next write is due.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Mutex<(u64, Instant)>,
    arrears: Arrears,
}

/// What becomes of writes that were due while nobody could make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrears {
    /// They are made as soon as somebody can.
    Kept,
    /// They are let go.
    Dropped,
}

impl Pace {
    pub(crate) fn new(per_second: u32, arrears: Arrears) -> Pace {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Pace { interval, next: Mutex::new((0, Instant::now())), arrears }
    }

    /// As fast as writes are made.
    pub(crate) fn unlimited() -> Pace {
        Pace { interval: Duration::ZERO, next: Mutex::new((0, Instant::now())), arrears: Arrears::Kept }
    }

    /// The number of the next write, and when it is due.
    pub(crate) fn take(&self) -> (u64, Instant) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, mut due) = *next;
        if self.arrears == Arrears::Dropped {
            due = due.max(Instant::now());
        }
        *next = (number + 1, due + self.interval);
        (number, due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_that_were_missed_are_made_up_for_or_not() {
        for (arrears, behind) in [(Arrears::Kept, 1_000), (Arrears::Dropped, 0)] {
            let pace = Pace::new(100, arrears);
            let (first, due) = pace.take();
            assert_eq!((first, due), (0, Instant::now()));
            tokio::time::advance(Duration::from_millis(1_010)).await;
            let (second, due) = pace.take();
            assert_eq!((second, due.elapsed()), (1, Duration::from_millis(behind)));
            assert_eq!(pace.take(), (2, due + Duration::from_millis(10)));
        }
    }
}
