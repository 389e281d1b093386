//! Two replicas of one data set: writing on both, then exchanging what was written, against `automerge`, `yrs` and `loro`.
//!
//! Keys are texts of 16 bytes and values texts of 20. Both replicas hold a base of 10,000 keys. Then each writes 10,000
//! keys: 5,000 of the base that the other one writes too, 2,500 of the base that only it writes, and 2,500 new ones. So
//! both end with 15,000 keys. What a lap times is the local writes of both, and then the exchange: encoding on both
//! sides what the other one lacks, decoding it, and applying it. That both hold the same is checked after each lap.
//!
//! Ours take part twice, against the same rivals:
//!
//! - `document-write` and `document-merge`: what the rivals are, a document in memory that gives out and takes in encoded
//!   updates. Ours is an `LwwMap` with stamps of an `HlcClock`; each replica knows of each actor up to which stamp it has
//!   everything, as the rivals do with their version vectors, and sends the writes that are later.
//! - `replica-write` and `replica-merge`: what no rival does, a durable replica. Ours are two engines with a `MemoryStore`
//!   each (see [`StoredReplica`](crate::StoredReplica)): every write is encoded from the text, checked, committed with its
//!   record, its row in the index of live writes, the vector, the ceiling of the clock and its outbox row; the exchange
//!   reads the outbox, packs messages, empties the outbox, decodes and applies the messages and commits with the
//!   checkpoint. Nobody touches a disk. These have no goal.

mod archipelago;
mod automerge;
mod engine;
mod loro;
mod yrs;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use super::{Size, shuffled};
use crate::contest::{Case, Contender, Contest, timed};

/// How many keys both replicas hold at first, and how many each of them writes then.
const KEYS: usize = 10_000;

/// Keys with values.
pub(crate) type Updates = Vec<(String, String)>;

/// How local writes are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// A commit or a transaction of its own for each.
    Each,
    /// One transaction for all; for an engine one commit for 256, which is the most that a manager takes in.
    Together,
}

/// A replica of a map from texts to texts.
pub(crate) trait Document: Sized {
    /// The crate.
    const LIBRARY: &'static str;

    /// Two replicas that hold the base.
    fn pair(base: &Updates) -> [Self; 2];

    /// Writes locally.
    fn write(&mut self, updates: &Updates, grouping: Grouping);

    /// Tells each what the other has written.
    fn exchange(east: &mut Self, west: &mut Self);

    /// Everything that a reader sees.
    fn contents(&self) -> BTreeMap<String, String>;
}

pub(super) fn contests(size: Size) -> Vec<Contest> {
    let workload = Rc::new(Workload::new(size.of(KEYS)));
    let groupings = [Grouping::Each, Grouping::Together];
    let documents = groupings.map(|grouping| {
        let how = match grouping {
            Grouping::Each => {
                "Theirs with a transaction for each write; ours has none, and reads the wall clock for each"
            }
            Grouping::Together => {
                "Theirs with one transaction for all; ours has none, and reads the wall clock once"
            }
        };
        contest::<archipelago::Replica>("document", &workload, grouping, how, Some(3.0))
    });
    let replicas = groupings.map(|grouping| {
        let how = match grouping {
            Grouping::Each => {
                "Ours is an engine with a store, an outbox and messages, with a commit for each write"
            }
            Grouping::Together => {
                "Ours is an engine with a store, an outbox and messages, with commits of 256 writes"
            }
        };
        contest::<engine::Replica>("replica", &workload, grouping, how, None)
    });
    documents.into_iter().chain(replicas).collect()
}

fn contest<Ours: Document + 'static>(
    what: &str,
    workload: &Rc<Workload>,
    grouping: Grouping,
    how: &str,
    goal: Option<f64>,
) -> Contest {
    let suffix = match grouping {
        Grouping::Each => "each",
        Grouping::Together => "together",
    };
    let updates = workload.east.len() as u64 + workload.west.len() as u64;
    let case = |job: &str, about: &str| Case {
        name: format!("{what}-{job}/{suffix}"),
        about: format!("{about} {how}. One operation is one write."),
        operations: updates,
        goal,
    };
    Contest {
        cases: vec![
            case(
                "write",
                "Two replicas with a base of keys each write as many keys, half of them in common.",
            ),
            case(
                "merge",
                "Two replicas that have written so encode, decode and apply what the other one wrote.",
            ),
        ],
        contenders: vec![
            contender::<Ours>(workload, grouping),
            contender::<automerge::Replica>(workload, grouping),
            contender::<yrs::Replica>(workload, grouping),
            contender::<loro::Replica>(workload, grouping),
        ],
    }
}

fn contender<D: Document>(workload: &Rc<Workload>, grouping: Grouping) -> Contender {
    let workload = workload.clone();
    Contender::new(D::LIBRARY, move || workload.play::<D>(grouping).into())
}

struct Workload {
    base: Updates,
    east: Updates,
    west: Updates,
}

impl Workload {
    fn new(keys: usize) -> Self {
        let quarter = keys / 4;
        // Of every four keys of the base two are written by both, one by each alone; what is above the base is new.
        let east = (0..keys).filter(|n| n % 4 != 3).chain(keys..keys + quarter);
        let west = (0..keys).filter(|n| n % 4 != 2).chain(keys + quarter..keys + 2 * quarter);
        Workload {
            base: updates("base", (0..keys).collect()),
            east: updates("east", east.collect()),
            west: updates("west", west.collect()),
        }
    }

    /// One lap: the time of the writes, and that of the exchange.
    fn play<D: Document>(&self, grouping: Grouping) -> [Duration; 2] {
        let [mut east, mut west] = D::pair(&self.base);
        let ((), writing) = timed(|| {
            east.write(&self.east, grouping);
            west.write(&self.west, grouping);
        });
        let ((), merging) = timed(|| D::exchange(&mut east, &mut west));
        self.check(&east, &west);
        [writing, merging]
    }

    fn check<D: Document>(&self, east: &D, west: &D) {
        let (east, west) = (east.contents(), west.contents());
        assert!(east == west, "the replicas of {} differ", D::LIBRARY);
        let by_east: BTreeMap<_, _> = self.east.iter().map(|(key, value)| (key, value)).collect();
        let by_west: BTreeMap<_, _> = self.west.iter().map(|(key, value)| (key, value)).collect();
        for (key, value) in &east {
            let written = [by_east.get(key), by_west.get(key)];
            assert!(written.contains(&Some(&value)), "{} holds {value} under {key}", D::LIBRARY);
        }
        let quarter = self.base.len() / 4;
        assert_eq!(east.len(), self.base.len() + 2 * quarter, "keys of {}", D::LIBRARY);
    }
}

/// Writes of these keys in random order.
fn updates(author: &str, keys: Vec<usize>) -> Updates {
    let update = |n: usize| (format!("record/{:09}", keys[n]), format!("{author} wrote it {n:>6}"));
    shuffled(keys.len()).into_iter().map(update).collect()
}
