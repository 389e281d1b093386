/// Why a clock could not advance. The clock is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The sequence of an actor is at `u64::MAX`. Permanent; no honest actor gets there.
    #[error("the sequence of an actor is exhausted")]
    SequenceExhausted,
    /// The hybrid logical clock is at its largest value. Permanent; no honest peer gets there.
    #[error("the hybrid logical clock is exhausted")]
    TimeExhausted,
}
