use std::{collections::BTreeMap, time::Duration};

use archipelago::{
    pipeline::Pipeline,
    proto::{EntryBatch, Limits, Operation, chain, decode_value},
};

use super::{
    BenchError,
    ledger::{self, Ledger, Outcome},
    member::Member,
    protocol::{Answer, Request},
};

/// How long the next message of the log is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How many rows a node is asked for at a time.
const PAGE_ROWS: usize = 1_000;

/// What the log holds, read from its beginning by the rule that is in its description and not by a node.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Each key that was put, with its value, as often as it was.
    puts: BTreeMap<String, Vec<String>>,
    /// How many terms began.
    pub(crate) terms: u64,
    /// The last entry.
    pub(crate) last_index: u64,
    /// The digest of all entries.
    pub(crate) history: u128,
    newest_term: u64,
    /// Entries that do not follow what is before them.
    pub(crate) unsound: u64,
}

impl Log {
    /// Reads all that the log holds now.
    pub(crate) async fn read(pipeline: &dyn Pipeline) -> Result<Log, BenchError> {
        let end = pipeline.state().await?;
        let (mut log, mut at) = (Log::default(), end.first_sequence - 1);
        let mut subscription = pipeline.subscribe(at).await?;
        while at < end.last_sequence {
            let next = tokio::time::timeout(READ_TIMEOUT, subscription.next()).await;
            let message = next.map_err(|_| BenchError::LogEnds { at, end: end.last_sequence })??;
            at = message.sequence;
            // A part of a larger message comes with its last one.
            let Some(payload) = message.payload else { continue };
            match EntryBatch::decode(payload, &Limits::default().for_state()) {
                Ok(batch) => log.take(&batch),
                Err(_) => log.unsound += 1,
            }
        }
        Ok(log)
    }

    fn take(&mut self, batch: &EntryBatch) {
        if batch.term < self.newest_term {
            // Of a leader who was deposed: it counts for nobody.
            return;
        }
        for (index, entry) in (batch.first_index..).zip(&batch.entries) {
            if index <= self.last_index {
                // Put back by a later leader.
                continue;
            }
            if index != self.last_index + 1 {
                self.unsound += 1;
            }
            self.last_index = index;
            self.history = chain(self.history, batch.term, index, entry);
            match &entry.operation {
                Operation::TermStart { .. } => {
                    self.newest_term = batch.term;
                    self.terms += 1;
                }
                Operation::Put { key, value, .. } => {
                    let value = decode_value(value, &Limits::default().for_state()).unwrap_or_default();
                    self.puts.entry(key.to_string()).or_default().push(value);
                }
                _ => {}
            }
        }
    }
}

/// What was found by comparing what clients were told with what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Acknowledged, and not in the log, or not in every state, or with another value.
    pub(crate) lost: u64,
    /// In the log more than once.
    pub(crate) duplicated: u64,
    /// Said not to be written, and written.
    pub(crate) contradicted: u64,
    /// Of unknown outcome, and written.
    pub(crate) unknown_written: u64,
    /// One that is lost, for a person to look for.
    pub(crate) example: Option<String>,
}

/// Compares what the clients were told with the log and with the states of the nodes.
pub(crate) fn compare(ledger: &Ledger, seed: u64, log: &Log, states: &[BTreeMap<String, String>]) -> Audit {
    let mut audit = Audit {
        duplicated: log.puts.values().filter(|values| values.len() > 1).count() as u64,
        contradicted: ledger.count(|outcome| outcome == Outcome::Contradicted),
        ..Audit::default()
    };
    for (number, outcome) in &ledger.outcomes {
        let (key, value) = (ledger::key(*number), ledger::value(seed, *number));
        let is_in_log = log.puts.get(&key).is_some_and(|values| values.contains(&value));
        match outcome {
            Outcome::Acknowledged { .. } => {
                let is_in_all = states.iter().all(|rows| rows.get(&key) == Some(&value));
                if !is_in_log || !is_in_all {
                    audit.lost += 1;
                    audit.example.get_or_insert(key);
                }
            }
            Outcome::Unknown => audit.unknown_written += u64::from(is_in_log),
            Outcome::NotWritten => audit.contradicted += u64::from(is_in_log),
            Outcome::Contradicted => {}
        }
    }
    // Keys that no client had been under way with.
    let stray =
        |key: &&String| ledger::number(key).is_none_or(|number| !ledger.outcomes.contains_key(&number));
    audit.contradicted += log.puts.keys().filter(stray).count() as u64;
    audit
}

/// All that a node shows.
pub(crate) async fn state_of(member: &Member) -> Result<BTreeMap<String, String>, BenchError> {
    let mut state = BTreeMap::new();
    let mut after = None;
    loop {
        let request = Request::Rows { after: after.take(), count: PAGE_ROWS };
        let rows = match member.ask(request).await? {
            Answer::Rows(rows) => rows,
            other => return Err(member.unexpected(&other)),
        };
        let Some((last, _)) = rows.last() else { return Ok(state) };
        after = Some(last.clone());
        state.extend(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archipelago::proto::{Entry, PutKind, encode_value};

    fn put(number: u64, value: &str) -> Entry {
        let value = encode_value(value, &Limits::default().for_state()).unwrap();
        Entry::new(Operation::Put { key: ledger::key(number).as_str().into(), value, kind: PutKind::Create })
    }

    fn start(node: &str) -> Entry {
        Entry::new(Operation::TermStart { node: node.into(), session: 1, address: None })
    }

    fn batch(term: u64, first_index: u64, entries: Vec<Entry>) -> EntryBatch {
        let namespace = "bench".into();
        EntryBatch { namespace, term, first_index, before: 0, written_unix_ms: 0, entries }
    }

    fn state(numbers: &[u64]) -> BTreeMap<String, String> {
        numbers.iter().map(|number| (ledger::key(*number), ledger::value(1, *number))).collect()
    }

    #[test]
    fn what_is_lost_duplicated_and_contradicted_is_found() {
        let mut log = Log::default();
        log.take(&batch(3, 1, vec![start("a"), put(1, &ledger::value(1, 1)), put(2, &ledger::value(1, 2))]));
        log.take(&batch(5, 4, vec![start("b"), put(2, &ledger::value(1, 2)), put(4, &ledger::value(1, 4))]));
        // Of a deposed leader.
        log.take(&batch(3, 4, vec![put(3, &ledger::value(1, 3))]));
        assert_eq!((log.terms, log.last_index, log.unsound), (2, 6, 0));
        let acknowledged = Outcome::Acknowledged { sequence: 1 };
        let outcomes =
            [(1, acknowledged), (2, acknowledged), (3, acknowledged), (4, Outcome::Unknown)].into();
        let audit = compare(&Ledger { outcomes }, 1, &log, &[state(&[1, 2, 4]), state(&[1, 2, 4])]);
        assert_eq!((audit.lost, audit.duplicated, audit.contradicted), (1, 1, 0));
        assert_eq!((audit.unknown_written, audit.example), (1, Some(ledger::key(3))));

        let outcomes = [(1, acknowledged), (2, Outcome::NotWritten)].into();
        let audit = compare(&Ledger { outcomes }, 1, &log, &[state(&[1, 2, 4]), state(&[2, 4])]);
        // The first is not in every state; the second was said not to be written, and the fourth by nobody.
        assert_eq!((audit.lost, audit.duplicated, audit.contradicted), (1, 1, 2));
    }

    #[test]
    fn what_is_put_back_counts_once_and_a_gap_is_unsound() {
        let mut log = Log::default();
        log.take(&batch(3, 1, vec![start("a"), put(1, "x")]));
        log.take(&batch(3, 1, vec![start("a"), put(1, "x")]));
        assert_eq!((log.terms, log.puts[&ledger::key(1)].len(), log.unsound), (1, 1, 0));
        log.take(&batch(3, 4, vec![put(2, "y")]));
        assert_eq!(log.unsound, 1);
    }
}
