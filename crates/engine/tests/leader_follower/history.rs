use archipelago_engine::leader_follower::{History, Verdict};
use archipelago_proto::EntryBatch;

use super::*;

/// A log as it was written: each entry with its term.
#[derive(Clone, Debug)]
struct Log(Vec<(u64, Entry)>);

impl Log {
    fn from_terms(terms: Vec<(u64, Vec<Operation>)>) -> Log {
        let mut term = 0;
        let mut log = Vec::new();
        for (later, operations) in terms {
            term += later;
            let start = Operation::TermStart { node: "x".into(), session: term, address: None };
            log.push((term, Entry::new(start)));
            log.extend(operations.into_iter().map(|operation| (term, Entry::new(operation))));
        }
        Log(log)
    }

    fn last(&self) -> u64 {
        self.0.len() as u64
    }

    fn term(&self, index: u64) -> u64 {
        self.0[place(index)].0
    }

    /// What a node has that applied everything up to this index.
    fn history(&self, index: u64) -> History {
        let mut history = History::default();
        for (place, (term, entry)) in (1..=index).zip(&self.0) {
            let chain = archipelago_proto::chain(history.chain, *term, place, entry);
            history = History { index: place, term: *term, chain };
        }
        history
    }

    /// The entries of one term from this index on, at most so many.
    fn batch(&self, first: u64, len: usize) -> EntryBatch {
        let term = self.term(first);
        let of_term = self.0[place(first)..].iter().take_while(|(of, _)| *of == term);
        EntryBatch {
            namespace: "orders".into(),
            term,
            first_index: first,
            before: self.history(first - 1).chain,
            written_unix_ms: 0,
            entries: of_term.take(len).map(|(_, entry)| entry.clone()).collect(),
        }
    }

    /// All of it, in batches of at most these sizes.
    fn split(&self, sizes: &[usize]) -> Vec<EntryBatch> {
        let mut batches = Vec::new();
        let mut first = 1;
        for size in sizes.iter().cycle() {
            if first > self.last() {
                break;
            }
            batches.push(self.batch(first, *size));
            first = batches.last().expect("just pushed").last_index() + 1;
        }
        batches
    }

    /// Another log, which has another entry at this index and is the same otherwise.
    fn forked_at(&self, index: u64) -> Log {
        let mut log = self.clone();
        let entry = &mut log.0[place(index)].1;
        *entry = match &entry.operation {
            Operation::TermStart { node, session, .. } => Entry::new(Operation::TermStart {
                node: node.clone(),
                session: *session,
                address: Some("http://elsewhere".into()),
            }),
            _ => Entry::new(Operation::Delete { key: "elsewhere".into() }),
        };
        log
    }
}

/// Where the entry of this index stands in a log.
fn place(index: u64) -> usize {
    usize::try_from(index).expect("few") - 1
}

fn terms(max: usize) -> impl Strategy<Value = Vec<(u64, Vec<Operation>)>> {
    proptest::collection::vec((1..4u64, proptest::collection::vec(operation(), 0..8)), 1..max)
}

fn log() -> impl Strategy<Value = Log> {
    terms(6).prop_map(Log::from_terms)
}

/// What reaches a node: of the log (`fork` is none) or of another one.
#[derive(Clone, Debug)]
struct Delivery {
    first: prop::sample::Index,
    len: usize,
    fork: Option<prop::sample::Index>,
    /// By how much the term is below that of the entries: what a deposed leader wrote.
    older: u64,
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let index = any::<prop::sample::Index>;
    let delivery =
        (index(), 1..9usize, prop::option::weighted(0.3, index()), prop_oneof![3 => Just(0), 1 => 1..4u64]);
    let delivery = delivery.prop_map(|(first, len, fork, older)| Delivery { first, len, fork, older });
    proptest::collection::vec(delivery, 0..40)
}

/// A node that does what the verdict says.
#[derive(Default)]
struct Node {
    history: History,
    applied: Vec<(u64, Entry)>,
}

impl Node {
    fn handle(&mut self, batch: &EntryBatch) -> Verdict {
        let verdict = self.history.judge(batch);
        if let Verdict::New { known } = verdict {
            self.applied.extend(batch.entries[known..].iter().map(|entry| (batch.term, entry.clone())));
            self.history = self.history.with(batch);
        }
        verdict
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Duplicates, overlaps, what is sent again from anywhere, gaps, other histories and deposed leaders between.
    #[test]
    fn a_node_applies_each_entry_of_the_log_once_and_nothing_else(
        log in log(),
        deliveries in deliveries(),
        sizes in sizes(8),
    ) {
        let mut node = Node::default();
        let mut in_order = log.split(&sizes).into_iter();
        for (number, Delivery { first, len, fork, older }) in deliveries.into_iter().enumerate() {
            if number % 3 == 0 && let Some(batch) = in_order.next() {
                node.handle(&batch);
            }
            let first = first.index(log.0.len()) as u64 + 1;
            let before = node.history;
            let fork = fork.map(|fork| fork.index(log.0.len()) as u64 + 1);
            let mut batch = match fork {
                Some(fork) => log.forked_at(fork).batch(first, len),
                None => log.batch(first, len),
            };
            batch.term = batch.term.saturating_sub(older);
            let is_of_log = older == 0 && fork.is_none_or(|fork| fork > batch.last_index());
            // Whoever has nothing behind the fork cannot tell the histories apart, nor can anyone a term that never was.
            let is_indistinguishable = match (fork, older) {
                (Some(fork), 0) => fork >= first && fork > before.index,
                (_, older) => older > 0 && batch.term >= before.term,
            };
            if batch.term == 0 || (!is_of_log && is_indistinguishable) {
                continue;
            }
            let verdict = node.handle(&batch);
            match verdict {
                Verdict::New { known } => {
                    prop_assert!(is_of_log);
                    prop_assert_eq!(known as u64, before.index + 1 - first);
                    prop_assert!(batch.last_index() > before.index);
                }
                Verdict::Known => prop_assert!(batch.last_index() <= before.index),
                Verdict::Stale => prop_assert!(batch.term < before.term && batch.last_index() > before.index),
                Verdict::Gap { from, to } => {
                    prop_assert_eq!((from, to), (before.index + 1, first - 1));
                    prop_assert!(from <= to && batch.term >= before.term);
                }
                Verdict::Diverged => prop_assert!(!is_of_log),
                Verdict::Unsound { reason } => prop_assert!(!is_of_log, "{}", reason),
            }
            if is_of_log && first <= before.index + 1 {
                let is_new = batch.last_index() > before.index;
                prop_assert_eq!(matches!(verdict, Verdict::New { .. }), is_new, "{:?}", verdict);
            }
            prop_assert_eq!(node.history, log.history(node.history.index));
        }
        for batch in log.split(&sizes) {
            let verdict = node.handle(&batch);
            let is_taken = matches!(verdict, Verdict::New { .. } | Verdict::Known);
            prop_assert!(is_taken, "{:?}", verdict);
        }
        prop_assert_eq!(node.history, log.history(log.last()));
        prop_assert_eq!(node.applied, log.0);
    }

    /// It is written on an entry that the node has otherwise, or it has another entry where the node has one.
    #[test]
    fn a_batch_of_another_history_is_diverged_or_known_and_never_new(
        log in log(),
        at in any::<prop::sample::Index>(),
        fork in any::<prop::sample::Index>(),
        first in any::<prop::sample::Index>(),
        len in 1..9usize,
    ) {
        let node = log.history(at.index(log.0.len()) as u64 + 1);
        let fork = fork.index(usize::try_from(node.index).expect("few")) as u64 + 1;
        let first = first.index(usize::try_from(node.index).expect("few")) as u64 + 1;
        let batch = log.forked_at(fork).batch(first, len);
        let next = (node.index < log.last()).then(|| log.forked_at(fork).batch(node.index + 1, len));
        if batch.term == node.term && batch.last_index() >= node.index {
            prop_assert_eq!(node.judge(&batch), Verdict::Diverged);
        } else {
            prop_assert_eq!(node.judge(&batch), Verdict::Known);
        }
        if let Some(next) = next {
            prop_assert_eq!(node.judge(&next), Verdict::Diverged);
        }
    }

    /// What a new leader writes at an index that this node has from an older one.
    #[test]
    fn entries_that_the_log_lost_show_when_a_newer_term_takes_their_indexes(
        log in log(),
        at in any::<prop::sample::Index>(),
        lost in any::<prop::sample::Index>(),
        later in terms(3),
    ) {
        let at = at.index(log.0.len()) as u64 + 1;
        let node = log.history(at);
        let kept = lost.index(usize::try_from(at).expect("few"));
        let mut shorter = log.0[..kept].to_vec();
        let newer = Log::from_terms(later).0.into_iter().map(|(term, entry)| (term + node.term, entry));
        shorter.extend(newer);
        let log = Log(shorter);
        for first in kept as u64 + 1..=log.last() {
            let expected = match first {
                first if first > at + 1 => Verdict::Gap { from: at + 1, to: first - 1 },
                _ => Verdict::Diverged,
            };
            prop_assert_eq!(node.judge(&log.batch(first, 9)), expected);
        }
    }

    #[test]
    fn no_entry_of_an_older_term_is_new_once_a_newer_term_has_begun(
        log in log(),
        at in any::<prop::sample::Index>(),
        term in any::<prop::sample::Index>(),
        first in 1..60u64,
        operations in proptest::collection::vec(operation(), 1..9),
        is_on_top in any::<bool>(),
    ) {
        let node = log.history(at.index(log.0.len()) as u64 + 1);
        let batch = EntryBatch {
            namespace: "orders".into(),
            term: term.index(usize::try_from(node.term).expect("few")) as u64,
            first_index: if is_on_top { node.index + 1 } else { first },
            before: node.chain,
            written_unix_ms: 0,
            entries: operations.into_iter().map(Entry::new).collect(),
        };
        let expected = if batch.last_index() <= node.index { Verdict::Known } else { Verdict::Stale };
        prop_assert_eq!(node.judge(&batch), expected);
    }

    #[test]
    fn a_term_starts_with_its_first_entry_and_with_no_other(log in log(), at in any::<prop::sample::Index>()) {
        let node = log.history(at.index(log.0.len() + 1) as u64);
        let start = Entry::new(Operation::TermStart { node: "y".into(), session: 9, address: None });
        let nothing = Entry::new(Operation::Nothing);
        let judged = |term: u64, entries: &[&Entry]| {
            node.judge(&EntryBatch {
                namespace: "orders".into(),
                term,
                first_index: node.index + 1,
                before: node.chain,
                written_unix_ms: 0,
                entries: entries.iter().copied().cloned().collect(),
            })
        };
        let is_unsound = |verdict| matches!(verdict, Verdict::Unsound { .. });
        prop_assert_eq!(judged(node.term + 1, &[&start, &nothing]), Verdict::New { known: 0 });
        prop_assert!(is_unsound(judged(node.term + 1, &[&nothing, &nothing])));
        prop_assert!(is_unsound(judged(node.term + 1, &[&start, &start])));
        if node.term > 0 {
            prop_assert_eq!(judged(node.term, &[&nothing, &nothing]), Verdict::New { known: 0 });
            prop_assert!(is_unsound(judged(node.term, &[&start])));
            prop_assert!(is_unsound(judged(node.term, &[&nothing, &start])));
        }
    }
}
