//! Replicas that write, lose touch and meet again, in many interleavings of the same histories.

mod history;
mod island;

use std::{collections::BTreeMap, fmt::Debug};

use archipelago_conflict::StrategyTable;
use archipelago_crdt::Value;
use archipelago_engine::{Change, WriteError};
use archipelago_proto::Event;
use thiserror::Error;

pub use history::History;
use island::Island;

/// How many replicas write nothing, and so receive every event from elsewhere.
const OBSERVERS: usize = 2;

/// Replicas that have received the same events and are not in the same state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("seed {seed}: {detail}")]
pub struct Divergence {
    /// The interleaving, to be repeated by [`converge`].
    pub seed: u64,
    /// Who differs in what.
    pub detail: String,
}

/// Asserts that replicas with these histories converge in as many interleavings, those of the seeds from 0.
///
/// Each interleaving lets real engines write in turn and receive each other's events early, late, repeatedly and in
/// any order; in the end all of them, and two replicas that never write, have received everything, each in an order
/// of its own. They must then agree on their vectors, their digests, and what is visible in every entity. How they
/// agree may depend on the interleaving, because that decides which writes are concurrent.
///
/// ```
/// use archipelago_conflict::{Strategy, StrategyTable};
/// use archipelago_testkit::{History, assert_converges};
///
/// let histories = [
///     History::new("east").put("user/7", "Alice").delete("user/7"),
///     History::new("west").put("user/7", "Alicia").put("user/8", "Bob"),
/// ];
/// assert_converges(&StrategyTable::new(Strategy::VersionVector), &histories, 32);
/// ```
///
/// # Panics
/// With the seed and the difference, if replicas differ; or if a write is refused for another reason than that the
/// entity is not a map when one of its fields is written.
#[track_caller]
pub fn assert_converges(strategies: &StrategyTable, histories: &[History], interleavings: u64) {
    for seed in 0..interleavings {
        if let Err(divergence) = converge(strategies, histories, seed) {
            panic!("{divergence}\nrepeat it alone with converge(&strategies, &histories, {seed})");
        }
    }
}

/// Plays the one interleaving of `seed` and gives what is visible on every replica in the end; see
/// [`assert_converges`].
///
/// # Errors
/// [`Divergence`] if replicas differ.
///
/// # Panics
/// As [`assert_converges`] for refused writes.
pub fn converge(
    strategies: &StrategyTable,
    histories: &[History],
    seed: u64,
) -> Result<BTreeMap<String, Value>, Divergence> {
    let mut dice = Dice(seed);
    let writes = histories.iter().map(|history| history.writes.len()).sum::<usize>().max(1);
    let names = histories.iter().map(|history| history.replica.as_str());
    let names = names.chain(std::iter::repeat_n("observer", OBSERVERS));
    let mut islands: Vec<Island> =
        names.zip(1..).map(|(name, number)| Island::new(name, number, strategies, writes)).collect();

    let mut now_unix_ms = 1_000_000;
    let mut remaining: Vec<_> = histories.iter().map(|history| history.writes.iter()).collect();
    let mut events: Vec<Event> = Vec::new();
    while remaining.iter().any(|writes| writes.len() > 0) {
        // Some writes fall into one millisecond.
        now_unix_ms += dice.below(3) as u64;
        if events.is_empty() || dice.below(3) == 0 {
            let writer = dice.below(histories.len());
            let Some((entity, change)) = remaining[writer].next() else { continue };
            match islands[writer].write(entity, change.clone(), now_unix_ms) {
                Ok(written) => events.extend(written),
                // What came first here made the entity a value without fields.
                Err(WriteError::Malformed(_)) if matches!(change, Change::Patch(_)) => {}
                Err(error) => panic!("seed {seed}: the write to {entity:?} is refused: {error}"),
            }
        } else {
            let (event, island) = (dice.below(events.len()), dice.below(islands.len()));
            deliver(&mut islands[island], &events[event], now_unix_ms);
        }
    }
    for island in &mut islands {
        for event in in_disorder(&events, &mut dice) {
            deliver(island, event, now_unix_ms);
        }
    }
    agreed(&islands).map_err(|detail| Divergence { seed, detail })
}

fn deliver(island: &mut Island, event: &Event, now_unix_ms: u64) {
    island.receive(event, now_unix_ms).expect("records in memory can be read");
}

/// All events in a random order, about one in four of them twice.
fn in_disorder<'a>(events: &'a [Event], dice: &mut Dice) -> Vec<&'a Event> {
    let mut order: Vec<&Event> = Vec::new();
    for event in events {
        for _ in 0..if dice.below(4) == 0 { 2 } else { 1 } {
            order.insert(dice.below(order.len() + 1), event);
        }
    }
    order
}

fn agreed(islands: &[Island]) -> Result<BTreeMap<String, Value>, String> {
    let Some((first, others)) = islands.split_first() else { return Ok(BTreeMap::new()) };
    let view = first.view();
    for other in others {
        let differs = |what: &str, ours: &dyn Debug, theirs: &dyn Debug| {
            let (us, them) = (&first.engine.config().replica, &other.engine.config().replica);
            Err(format!("{us} and {them} differ in {what}: {ours:?} and {theirs:?}"))
        };
        if first.engine.vector() != other.engine.vector() {
            return differs("their vectors", first.engine.vector(), other.engine.vector());
        }
        let theirs = other.view();
        if view != theirs {
            return differs("what is visible", &view, &theirs);
        }
        let roots = (first.engine.digest().root(), other.engine.digest().root());
        if first.engine.digest() != other.engine.digest() {
            return differs("their digests", &roots.0, &roots.1);
        }
    }
    Ok(view)
}

/// SplitMix64: the same throws for the same seed on every platform.
struct Dice(u64);

impl Dice {
    /// A number from 0 to one below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thrown = u128::from(mixed ^ (mixed >> 31)) * bound as u128;
        usize::try_from(thrown >> 64).expect("below a usize")
    }
}
