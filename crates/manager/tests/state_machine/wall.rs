use archipelago_manager::WallClock;
use tokio::time::Instant;

const START_UNIX_MS: u64 = 1_750_000_000_000;

/// A wall clock that goes by tokio's, and may be slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    began: Instant,
    behind_ms: u64,
}

impl Wall {
    pub(crate) fn new() -> Wall {
        Wall { began: Instant::now(), behind_ms: 0 }
    }

    /// The same, by so much behind the time.
    pub(crate) fn behind(self, behind_ms: u64) -> Wall {
        Wall { behind_ms, ..self }
    }
}

impl WallClock for Wall {
    fn now_unix_ms(&self) -> u64 {
        let elapsed = self.began.elapsed().as_millis();
        START_UNIX_MS - self.behind_ms + u64::try_from(elapsed).expect("a run does not last for centuries")
    }
}
