//! The contests: what is measured against whom.
//!
//! The rivals are used as their documentation shows. One that takes the other state by value is given one that it may
//! consume: it pays for freeing it, as it would anywhere, and neither side pays for clones of inputs. The types of actors
//! and elements are the same for all who take part.

use crate::contest::Contest;

mod clocks;
mod counters;
pub mod documents;
mod maps;
mod sets;

/// How much is done in a lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As the names of the cases say.
    Full,
    /// A tenth of the elements, keys and updates: enough to see that everything works.
    Quick,
}

impl Size {
    /// So many, or a tenth of it.
    fn of(self, full: usize) -> usize {
        match self {
            Size::Full => full,
            Size::Quick => full / 10,
        }
    }
}

/// The contests with the crates of data types, `crdts` and `crdt-kit`.
pub fn data_types(size: Size) -> Vec<Contest> {
    let mut contests = clocks::contests();
    contests.extend(counters::contests());
    contests.extend(sets::contests(size));
    contests.extend(maps::contests(size));
    contests
}

/// The contests with the document libraries, `automerge`, `yrs` and `loro`.
pub fn document_stores(size: Size) -> Vec<Contest> {
    documents::contests(size)
}

/// How many actors a clock or a counter has.
const ACTORS: [usize; 3] = [3, 10, 100];

/// How many states of so many actors are worked on in one lap: long enough to time, small enough for the cache.
fn states_per_lap(actors: usize) -> usize {
    2_000 / actors
}

/// The numbers below `count` in an order without pattern, the same in every run.
fn shuffled(count: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..count).rev() {
        // Knuth's linear congruential generator, of which the upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = usize::try_from(state >> 33).expect("31 bits") % (last + 1);
        numbers.swap(last, chosen);
    }
    numbers
}
