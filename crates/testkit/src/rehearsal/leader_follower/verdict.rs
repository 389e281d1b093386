use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{
    Acknowledged, Append, Claim, LogEntry, SessionScope, TermHistory, check_acknowledged, check_linearizable,
    check_session, check_staleness, check_terms,
};
use archipelago_manager::leader_follower::Notification;
use archipelago_proto::{Limits, Operation, decode_value};

use super::{
    kind::Kind,
    premise,
    tap::Arrival,
    world::{Told, World},
};

/// An entry of the history that all nodes ended with.
struct Entry {
    index: u64,
    /// That of the history up to it.
    digest: u128,
    term: u64,
    operation: Operation,
    /// Who brought it to the log first, and when.
    by: String,
    at_ns: u64,
    acknowledged_ns: Option<u64>,
}

/// Everything that does not hold, and how the writes ended.
pub(super) async fn check(world: &World) -> (Vec<String>, Acknowledged) {
    let mut found = Vec::new();
    let history = world.recorder.history();
    let entries = match entries(world) {
        Ok(entries) => entries,
        Err(reason) => return (vec![reason], Acknowledged::default()),
    };
    let mut sums = Acknowledged::default();
    match check_acknowledged(&history, &log(&entries)) {
        Ok(acknowledged) => sums = acknowledged,
        Err(violations) => found.push(violations.to_string()),
    }
    if let Err(error) = check_linearizable(&history) {
        found.push(error.to_string());
    }
    if let Err(violations) = check_session(&history, SessionScope::Log) {
        found.push(violations.to_string());
    }
    if let Err(violations) = check_staleness(&history) {
        found.push(violations.to_string());
    }
    if let Err(violations) = check_terms(&terms(world, &entries)) {
        found.push(violations.to_string());
    }
    // Where the log lost nothing, nobody ever applied what is not in the history of all.
    if !world.lost_something() {
        found.extend(check_applied(world, &entries));
    }
    found.extend(check_log(world, &entries).await);
    (found, sums)
}

/// The entries from the first to the last, found by following the digests of the history back from its end.
fn entries(world: &World) -> Result<Vec<Entry>, String> {
    let mut known: HashMap<(u64, u128), (u128, Entry)> = HashMap::new();
    for Arrival { node, batch, at_ns, acknowledged_ns } in world.arrivals.all() {
        let mut before = batch.before;
        for (index, entry, digest) in batch.chained() {
            let (_, known) = known.entry((index, digest)).or_insert_with(|| {
                let operation = entry.operation.clone();
                let by = node.clone();
                (
                    before,
                    Entry { index, digest, term: batch.term, operation, by, at_ns, acknowledged_ns: None },
                )
            });
            known.acknowledged_ns = known.acknowledged_ns.or(acknowledged_ns);
            before = digest;
        }
    }
    let managers = world.managers();
    let furthest = managers.iter().max_by_key(|node| node.last_applied_sequence());
    let mut at = furthest.expect("there are nodes").history_digest();
    let mut entries = Vec::new();
    while at.0 > 0 {
        let Some((before, entry)) = known.remove(&at) else {
            return Err(format!("the entry {} was applied, and never brought to the log", at.0));
        };
        at = (entry.index - 1, before);
        entries.push(entry);
    }
    entries.reverse();
    Ok(entries)
}

fn log(entries: &[Entry]) -> Vec<LogEntry> {
    let written = entries.iter().filter_map(|entry| match &entry.operation {
        Operation::Put { key, value, .. } => {
            let value = decode_value::<String>(value, &Limits::default()).expect("clients write texts");
            Some((entry.index, key.to_string(), Some(value)))
        }
        Operation::Delete { key } => Some((entry.index, key.to_string(), None)),
        _ => None,
    });
    // What is written once nothing breaks any more is written by no client.
    let by_clients = written.filter(|(_, key, _)| key != "the end");
    by_clients.map(|(index, key, value)| LogEntry { index, key, value }).collect()
}

/// Who led, by the entries that start the terms and by what the nodes told.
fn terms(world: &World, entries: &[Entry]) -> TermHistory {
    let mut history = TermHistory::default();
    for entry in entries {
        if let Operation::TermStart { node, .. } = &entry.operation {
            history.claims.push(Claim {
                term: entry.term,
                node: node.to_string(),
                started_ns: entry.acknowledged_ns.unwrap_or(u64::MAX),
                first_index: Some(entry.index),
            });
        }
        history.appends.push(Append {
            term: entry.term,
            node: entry.by.clone(),
            index: entry.index,
            invoked_ns: entry.at_ns,
        });
    }
    for told in world.told() {
        if let Notification::Promoted { term } = told.what {
            let claim = Claim { term, node: told.node, started_ns: told.at_ns, first_index: None };
            history.claims.push(claim);
        }
    }
    history
}

fn check_applied(world: &World, entries: &[Entry]) -> Vec<String> {
    let by_index: BTreeMap<u64, &Entry> = entries.iter().map(|entry| (entry.index, entry)).collect();
    let mut found = Vec::new();
    for told in world.told() {
        match &told.what {
            Notification::EventApplied { sequence, term, key, .. } => {
                let is_there = by_index.get(sequence).is_some_and(|entry| {
                    let written = match &entry.operation {
                        Operation::Put { key, .. } | Operation::Delete { key } => Some(key),
                        _ => None,
                    };
                    entry.term == *term && written == Some(key)
                });
                if !is_there {
                    found.push(format!(
                        "{} applied entry {sequence} of term {term}, of {key}, which is nobody's history",
                        told.node
                    ));
                }
            }
            Notification::EntriesOrphaned { .. } | Notification::EntriesMissing { .. } => {
                found.push(format!("{} tells {:?}, although the log lost nothing", told.node, told.what));
            }
            _ => {}
        }
    }
    found
}

/// In the end the log holds the history from some entry on without a gap: a leader puts back what it lost at its end. What
/// a node keeps no longer, or never had entry by entry, it cannot put back; and what was taken from the beginning on may be
/// put back in part.
async fn check_log(world: &World, entries: &[Entry]) -> Vec<String> {
    let keeps_all = world.scenario.options.tail_entries_max > entries.len() as u64;
    let took_state = |told: &Told| matches!(told.what, Notification::Resynced { .. });
    let faults = world.fault_counts();
    let lost_its_head = [Kind::Purge, Kind::TrimHead].iter().any(|kind| faults.contains_key(kind.name()));
    if !keeps_all || lost_its_head || world.told().iter().any(took_state) {
        return Vec::new();
    }
    let batches = premise::log(world, u64::MAX).await.expect("the broker runs, and has a log");
    let held: BTreeSet<(u64, u128)> =
        batches.iter().flat_map(|batch| batch.chained().map(|(index, _, digest)| (index, digest))).collect();
    let lacks = |entry: &&Entry| !held.contains(&(entry.index, entry.digest));
    let missing = entries.iter().skip_while(lacks).filter(lacks).map(|entry| entry.index);
    let missing: Vec<u64> = missing.collect();
    match (missing.is_empty(), held.is_empty()) {
        (true, false) => Vec::new(),
        (_, true) => vec!["the log is empty in the end".to_owned()],
        _ => vec![format!("in the end the log lacks the entries {missing:?}")],
    }
}
