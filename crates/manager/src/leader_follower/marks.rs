use std::collections::VecDeque;

/// Every how many entries it is noted where in the log they stand.
const EVERY: u64 = 500;
/// How many of those notes are kept.
const MARKS_MAX: usize = 16_384;

/// Where in the log some of the entries stand, so that it can be trimmed below an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(VecDeque<(u64, u64)>);

impl Marks {
    /// The message with this sequence ends with this entry.
    pub(super) fn note(&mut self, last_index: u64, sequence: u64) {
        if self.0.back().is_some_and(|(noted, _)| last_index < noted + EVERY) {
            return;
        }
        if self.0.len() == MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((last_index, sequence));
    }

    /// The log is another one: nothing is known of it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Up to which message the log can be trimmed if it is to hold everything behind `index`. What is noted up to there
    /// is forgotten.
    pub(super) fn trim_below(&mut self, index: u64) -> Option<u64> {
        let mut below = None;
        while let Some((_, sequence)) = self.0.pop_front_if(|(noted, _)| *noted <= index) {
            below = Some(sequence);
        }
        below
    }
}
