/// When a simulation begins, in milliseconds since the Unix epoch.
pub(crate) const START_UNIX_MS: u64 = 1_800_000_000_000;

/// The wall clock of one replica, which need not be right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    offset_ms: i64,
    /// Stands at this time until it goes on.
    stands_at_ms: Option<u64>,
}

impl WallClock {
    /// What it shows, in milliseconds since the Unix epoch, `now_ms` after the start.
    pub(crate) fn unix_ms(&self, now_ms: u64) -> u64 {
        self.stands_at_ms.unwrap_or_else(|| (START_UNIX_MS + now_ms).saturating_add_signed(self.offset_ms))
    }

    /// It jumps to another time.
    pub(crate) fn is_off_by(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
    }

    /// It stands still.
    pub(crate) fn stops(&mut self, now_ms: u64) {
        self.stands_at_ms = Some(self.unix_ms(now_ms));
    }
}
