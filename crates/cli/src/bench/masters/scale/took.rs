use std::time::Duration;

/// What writes took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    pub(super) writes: u64,
    pub(super) elapsed: Duration,
    /// Of the measured master; `None` where the system does not tell.
    pub(super) cpu: Option<Duration>,
    /// Of the whole process.
    pub(super) process_cpu: Option<Duration>,
    /// Writes that the measured master found to be concurrent with others.
    pub(super) conflicts: u64,
}

impl Took {
    pub(super) const NOTHING: Took = Took {
        writes: 0,
        elapsed: Duration::ZERO,
        cpu: Some(Duration::ZERO),
        process_cpu: Some(Duration::ZERO),
        conflicts: 0,
    };

    pub(super) fn and(self, other: Took) -> Took {
        let sum = |a: Option<Duration>, b: Option<Duration>| a.zip(b).map(|(a, b)| a + b);
        Took {
            writes: self.writes + other.writes,
            elapsed: self.elapsed + other.elapsed,
            cpu: sum(self.cpu, other.cpu),
            process_cpu: sum(self.process_cpu, other.process_cpu),
            conflicts: self.conflicts + other.conflicts,
        }
    }
}
