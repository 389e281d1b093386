use std::{collections::VecDeque, convert::Infallible};

use archipelago_engine::leader_follower::{Demand, History, Proposal, Proposer, Refusal, Verdict};
use archipelago_proto::{EntryBatch, EntryBatchBuilder};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Propose(Proposal, Demanded),
    /// An entry that is about no key.
    Push(Operation),
    Seal,
    /// The oldest batch that is not stored yet is.
    Store,
    /// The proposer hears of the oldest stored batch that it has not heard of.
    Tell,
    /// It hears of that batch again.
    TellAgain,
}

/// The version that is demanded of the key.
#[derive(Clone, Copy, Debug)]
enum Demanded {
    Any,
    /// The one that the key has.
    Right,
    /// Some number, which may be right.
    Some(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind =
        prop_oneof![1 => Just(PutKind::Create), 1 => Just(PutKind::Update), 2 => Just(PutKind::Upsert)];
    let put = (key(), "[a-z]{0,30}", kind).prop_map(|(key, text, kind)| Proposal::Put {
        key,
        value: value(&text),
        kind,
    });
    let delete = key().prop_map(|key| Proposal::Delete { key });
    let demanded = prop_oneof![4 => Just(Demanded::Any), 2 => Just(Demanded::Right), 2 => (0..40u64).prop_map(Demanded::Some)];
    prop_oneof![
        12 => (prop_oneof![3 => put.boxed(), 1 => delete.boxed()], demanded)
            .prop_map(|(proposal, demanded)| Step::Propose(proposal, demanded)),
        1 => Just(Step::Push(Operation::Nothing)),
        1 => "[xyz]".prop_map(|node| Step::Push(Operation::Register { node: node.into() })),
        3 => Just(Step::Seal),
        2 => Just(Step::Store),
        2 => Just(Step::Tell),
        1 => Just(Step::TellAgain),
    ]
}

/// What a map that is written to at once would say.
fn expected(versions: &BTreeMap<EntityId, u64>, proposal: &Proposal, demand: Demand) -> Result<(), Refusal> {
    let (Proposal::Put { key, .. } | Proposal::Delete { key }) = proposal;
    let found = versions.get(key).copied();
    match demand.version {
        Some(0) if found.is_some() => return Err(Refusal::Version { found }),
        Some(wanted) if wanted > 0 && found != Some(wanted) => return Err(Refusal::Version { found }),
        _ => {}
    }
    match (proposal, found) {
        (Proposal::Put { kind: PutKind::Create, .. }, Some(version)) => Err(Refusal::Exists { version }),
        (Proposal::Put { kind: PutKind::Update, .. }, None) => Err(Refusal::Missing),
        (Proposal::Delete { .. }, None) => Err(Refusal::Missing),
        _ => Ok(()),
    }
}

fn small_limits() -> Limits {
    let mut limits = Limits::default();
    limits.batch_events_max = 7;
    limits.batch_bytes_target = 200;
    limits.batch_bytes_max = 200 + 256 + 60;
    limits
}

/// A leader with what it has stored, and beside it what must come out.
struct Leader {
    proposer: Proposer,
    stored: Stored,
    /// All that was sealed.
    batches: Vec<EntryBatch>,
    unstored: VecDeque<EntryBatch>,
    untold: VecDeque<EntryBatch>,
    told: Option<EntryBatch>,
    versions: BTreeMap<EntityId, u64>,
    taken: Vec<Operation>,
}

impl Leader {
    /// It leads in term 5, on top of these entries of older ones.
    fn on(history: History, stored: Stored) -> Leader {
        let versions = stored.rows.iter().map(|(key, row)| (key.clone(), row.version)).collect();
        Leader {
            proposer: Proposer::new("orders", small_limits(), History { term: 5, ..history }),
            stored,
            batches: Vec::new(),
            unstored: VecDeque::new(),
            untold: VecDeque::new(),
            told: None,
            versions,
            taken: Vec::new(),
        }
    }

    fn push(&mut self, operation: Operation) -> u64 {
        self.taken.push(operation.clone());
        self.proposer.push(operation)
    }

    fn propose(&mut self, proposal: Proposal, demand: Demand) -> Result<u64, Refusal> {
        let (key, operation) = match &proposal {
            Proposal::Put { key, value, kind } => {
                (key.clone(), Operation::Put { key: key.clone(), value: value.clone(), kind: *kind })
            }
            Proposal::Delete { key } => (key.clone(), Operation::Delete { key: key.clone() }),
        };
        let is_put = matches!(proposal, Proposal::Put { .. });
        let stored = |key: &EntityId| Ok::<_, Infallible>(self.stored.rows.get(key).map(|row| row.version));
        let Ok(outcome) = self.proposer.propose(proposal, demand, stored);
        if let Ok(index) = outcome {
            self.taken.push(operation);
            match is_put {
                true => self.versions.insert(key, index),
                false => self.versions.remove(&key),
            };
        }
        outcome
    }

    fn seal(&mut self) {
        if let Some(batch) = self.proposer.seal(1) {
            self.batches.push(batch.clone());
            self.unstored.push_back(batch);
        }
    }

    fn store(&mut self) {
        if let Some(batch) = self.unstored.pop_front() {
            self.stored.take(batch.first_index, &batch.entries, &[batch.entries.len()]);
            self.untold.push_back(batch);
        }
    }

    fn tell(&mut self) {
        if let Some(batch) = self.untold.pop_front() {
            self.proposer.stored(&batch);
            self.told = Some(batch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn writes_are_judged_as_by_a_map_that_is_written_to_at_once(
        before in entries(),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let base = (1..).zip(&before).fold(History::default(), |history, (index, entry)| History {
            index,
            term: 2,
            chain: archipelago_proto::chain(history.chain, 2, index, entry),
        });
        let mut leader = Leader::on(base, Stored::by_meaning(&before));
        let start = Operation::TermStart { node: "x".into(), session: 1, address: None };
        prop_assert_eq!(leader.push(start), base.index + 1);
        for step in steps {
            let next = leader.proposer.index() + 1;
            match step {
                Step::Propose(proposal, demanded) => {
                    let (Proposal::Put { key, .. } | Proposal::Delete { key }) = &proposal;
                    let version = match demanded {
                        Demanded::Any => None,
                        Demanded::Right => Some(leader.versions.get(key).copied().unwrap_or(0)),
                        Demanded::Some(version) => Some(version),
                    };
                    let demand = Demand { version };
                    let expected = expected(&leader.versions, &proposal, demand).map(|()| next);
                    prop_assert_eq!(leader.propose(proposal, demand), expected);
                    prop_assert_eq!(leader.proposer.index() + 1, next + u64::from(expected.is_ok()));
                }
                Step::Push(operation) => prop_assert_eq!(leader.push(operation), next),
                Step::Seal => leader.seal(),
                Step::Store => leader.store(),
                Step::Tell => leader.tell(),
                Step::TellAgain => {
                    if let Some(batch) = leader.told.clone() {
                        leader.proposer.stored(&batch);
                    }
                }
            }
            if leader.proposer.is_full() {
                leader.seal();
            }
        }
        leader.seal();
        prop_assert!(leader.proposer.is_empty());
        while !leader.unstored.is_empty() {
            leader.store();
        }

        // What a follower reads, from the bytes.
        let mut history = base;
        let mut read = Vec::new();
        for batch in &leader.batches {
            let batch = EntryBatch::decode(batch.encode(), &small_limits()).expect("within the limits");
            prop_assert_eq!(history.judge(&batch), Verdict::New { known: 0 });
            history = history.with(&batch);
            read.extend(batch.entries.into_iter().map(|entry| entry.operation));
        }
        prop_assert_eq!(history.index, leader.proposer.index());
        prop_assert_eq!(&read, &leader.taken);
        let of_rows = leader.stored.rows.iter().map(|(key, row)| (key.clone(), row.version));
        prop_assert!(of_rows.eq(leader.versions.clone()));
        // The proposer's own digest is that of who reads what it wrote.
        leader.push(Operation::Nothing);
        leader.seal();
        prop_assert_eq!(leader.batches.last().expect("just sealed").before, history.chain);
    }

    #[test]
    fn a_write_whose_key_cannot_be_read_is_not_taken(proposal in key().prop_map(|key| Proposal::Delete { key })) {
        let mut proposer = Proposer::new("orders", small_limits(), History { term: 1, ..History::default() });
        let outcome = proposer.propose(proposal, Demand::default(), |_| Err("the disk"));
        prop_assert_eq!(outcome, Err("the disk"));
        prop_assert!(proposer.is_empty());
        prop_assert_eq!(proposer.index(), 0);
        prop_assert_eq!(proposer.seal(1), None);
    }

    /// However close to full the batch was before.
    #[test]
    fn an_entry_that_fits_can_always_be_read_where_it_is_sealed(lens in proptest::collection::vec(0..80usize, 1..30)) {
        let limits = small_limits();
        let mut proposer = Proposer::new("n".repeat(64), limits.clone(), History { term: u64::MAX, index: u64::MAX / 2, chain: 1 });
        for len in lens {
            let put = |kind| Operation::Put { key: "k".into(), value: value(&"v".repeat(len)), kind };
            if EntryBatchBuilder::check(&Entry::new(put(PutKind::Upsert)), &limits).is_err() {
                continue;
            }
            proposer.push(put(PutKind::Upsert));
            if proposer.is_full() {
                let batch = proposer.seal(u64::MAX).expect("it is full");
                prop_assert!(EntryBatch::decode(batch.encode(), &limits).is_ok());
            }
        }
    }
}
