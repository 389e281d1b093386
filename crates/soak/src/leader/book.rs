use std::collections::BTreeMap;

use archipelago::{
    NatsPipeline,
    pipeline::{Incoming, LogId, Pipeline, PipelineError},
    proto::{EntryBatch, Limits, Operation, decode_value},
};
use archipelago_testkit::history::{Append, Claim, LogEntry};

use crate::scene::Since;

/// What was found wrong is counted; so many are kept in words.
const FINDINGS_MAX: usize = 20;

/// All that the log ever held, by what was read of it between faults.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: BTreeMap<u64, Page>,
    /// Who leads in which term, and the index of the entry that starts it.
    starts: BTreeMap<u64, (String, u64)>,
    log: Option<LogId>,
    /// The last message that was read.
    sequence: u64,
    /// Of the log as it is now: the last entry, and its term.
    last: (u64, u64),
    /// Messages of a deposed leader that the log took.
    pub(crate) stale_appends: u64,
    /// Such messages in a log that had lost its end: there the place that a message asked for may be free again. They must
    /// not count, and do not here.
    pub(crate) stale_ignored: u64,
    /// Messages that were written by another node than the leader of their term.
    pub(crate) foreign_appends: u64,
    pub(crate) indexes_reused: u64,
    pub(crate) gaps: u64,
    pub(crate) findings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    term: u64,
    /// `None` if the entry is about no key.
    entry: Option<LogEntry>,
}

impl Book {
    /// Reads on to the end of the log. Call it while nothing is written by clients.
    pub(crate) async fn read(&mut self, pipeline: &NatsPipeline, since: Since) -> Result<(), PipelineError> {
        let state = pipeline.state().await?;
        let is_other = self.log.as_ref() != Some(&state.id) || state.last_sequence < self.sequence;
        let since = if is_other { Since::Lost } else { since };
        if since == Since::Lost {
            (self.sequence, self.last) = (state.first_sequence - 1, (0, 0));
            self.log = Some(state.id.clone());
        }
        let mut subscription = pipeline.subscribe(self.sequence).await?;
        while self.sequence < state.last_sequence {
            let message = subscription.next().await?;
            self.sequence = message.sequence;
            self.take(&message, since);
        }
        if since == Since::Lost {
            // What is behind its end is gone.
            self.entries.split_off(&(self.last.0 + 1));
        }
        Ok(())
    }

    /// The last entry of the log as it was read last.
    pub(crate) fn last_index(&self) -> u64 {
        self.last.0
    }

    fn take(&mut self, message: &Incoming, since: Since) {
        let (sequence, origin) = (message.sequence, message.origin.as_str());
        let Some(payload) = message.payload.clone() else { return };
        let batch = match EntryBatch::decode(payload, &Limits::default()) {
            Ok(batch) => batch,
            Err(error) => return self.find(format!("message {sequence} cannot be read: {error}")),
        };
        let (first, term) = (batch.first_index, batch.term);
        if term < self.last.1 {
            if since == Since::Lost {
                self.stale_ignored += 1;
                return;
            }
            self.stale_appends += 1;
            let newest = self.last.1;
            return self
                .find(format!("{origin} appends entry {first} of term {term} after term {newest} began"));
        }
        let (last, any) = (self.last.0, self.last.0 > 0 || !self.entries.is_empty());
        let is_first = last == 0;
        let fits = if is_first {
            !any || self.entries.contains_key(&(first - 1)) || first == 1
        } else {
            first <= last + 1
        };
        if !fits {
            self.gaps += 1;
            self.find(format!("the log has entry {first} after entry {last}"));
        }
        for (index, entry) in (first..).zip(&batch.entries) {
            if let Operation::TermStart { node, .. } = &entry.operation {
                self.starts.insert(term, (node.to_string(), index));
            }
            let page = Page { term, entry: entry_of(index, &entry.operation) };
            let known = self.entries.insert(index, page.clone());
            // What replaces what was never acknowledged is no matter; else the verdict finds it.
            let is_reused = index <= self.last.0 && known.as_ref().is_some_and(|known| *known != page);
            if is_reused {
                self.indexes_reused += 1;
                self.find(format!(
                    "{origin} uses index {index} again in message {sequence}: {known:?}, {page:?}"
                ));
            }
        }
        // What was put back was written by others.
        let leader = self.starts.get(&term).map(|(node, _)| node.as_str());
        if since == Since::Grown && leader != Some(origin) {
            self.foreign_appends += 1;
            self.find(format!("{origin} appends entry {first} of term {term}, in which {leader:?} leads"));
        }
        self.last = (self.last.0.max(batch.last_index()), term);
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// The writes of clients, in order.
    pub(crate) fn writes(&self) -> Vec<LogEntry> {
        self.entries.values().filter_map(|page| page.entry.clone()).collect()
    }

    /// Who led in which term; `promoted_ns` says when that was told.
    pub(crate) fn claims(&self, promoted_ns: impl Fn(&str, u64) -> Option<u64>) -> Vec<Claim> {
        let claims = self.starts.iter().map(|(term, (node, first_index))| Claim {
            term: *term,
            node: node.clone(),
            started_ns: promoted_ns(node, *term).unwrap_or(u64::MAX),
            first_index: Some(*first_index),
        });
        claims.collect()
    }

    /// How many of these were acknowledged with another term than the log has.
    pub(crate) fn wrong_terms(&self, appends: &[Append]) -> usize {
        let has_other =
            |append: &&Append| self.entries.get(&append.index).is_some_and(|page| page.term != append.term);
        appends.iter().filter(has_other).count()
    }
}

fn entry_of(index: u64, operation: &Operation) -> Option<LogEntry> {
    match operation {
        Operation::Put { key, value, .. } => {
            let value = decode_value::<String>(value, &Limits::default())
                .unwrap_or_else(|error| format!("unreadable: {error}"));
            Some(LogEntry { index, key: key.to_string(), value: Some(value) })
        }
        Operation::Delete { key } => Some(LogEntry { index, key: key.to_string(), value: None }),
        _ => None,
    }
}
