use std::time::Duration;

/// Durations that were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    micros: Vec<u32>,
}

impl Samples {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.micros.push(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Samples) {
        self.micros.append(&mut other.micros);
    }

    pub(crate) fn len(&self) -> usize {
        self.micros.len()
    }

    /// All of them, in milliseconds, as they were added.
    pub(crate) fn all_ms(&self) -> Vec<f64> {
        self.micros.iter().map(|micros| ms(*micros)).collect()
    }

    /// In milliseconds, the smallest that this share of all does not exceed; `None` if there are none.
    pub(crate) fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).map(|micros| ms(*micros))
    }
}

/// To the microsecond.
fn ms(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile_ms(50.0), None);
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        let at = |percent| samples.percentile_ms(percent);
        assert_eq!(
            (at(0.0), at(50.0), at(99.0), at(100.0)),
            (Some(1.0), Some(50.0), Some(99.0), Some(100.0))
        );
    }
}
