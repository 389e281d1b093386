use std::{
    fmt::Debug,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where a manager reads the time of day. Tests give their own.
pub trait WallClock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump and go back.
    fn now_unix_ms(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_unix_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}
