use std::time::Duration;

use archipelago_benches::rivals::Size;
use clap::Parser;

use crate::measure::Effort;

/// Measures Archipelago and other libraries side by side.
///
/// Every library does the same job, in turns, for several rounds after a round that does not count; after each turn the
/// result is checked. The time of a library is that of its best round, as whatever else the machine does only adds to it.
/// A ratio is the time of the fastest rival divided by ours: above 1, ours is faster.
///
/// Numbers of one machine mean little and ratios more; leave the machine alone while it runs. Progress goes to standard
/// error, results to standard output. docs/PERFORMANCE.md says what is measured.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Few rounds with a tenth of the elements: to see that it works, not how fast.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only the cases whose names begin with this, such as `clock-merge` or `memory`.
    #[arg(long, value_name = "CASE PREFIX")]
    pub(crate) only: Option<String>,
}

impl Options {
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|prefix| case.starts_with(prefix))
    }

    pub(crate) fn size(&self) -> Size {
        if self.quick { Size::Quick } else { Size::Full }
    }

    pub(crate) fn effort(&self) -> Effort {
        if self.quick {
            Effort { rounds: 3, turn: Duration::from_millis(1) }
        } else {
            Effort { rounds: 11, turn: Duration::from_millis(20) }
        }
    }

    /// How many records are loaded to see what one costs in memory.
    pub(crate) fn records(&self) -> usize {
        if self.quick { 100_000 } else { 1_000_000 }
    }
}
