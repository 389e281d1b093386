use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

use super::{Consistency, History, Operation, Version, Violations, deletions::Deletions};

/// What a session remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionScope {
    /// A version for each key.
    Key,
    /// One index of the log, that every later read must have reached, of whichever key.
    Log,
}

/// A read that returned less than its session had written or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionViolation {
    /// Less than what it had written.
    #[error("its own write is not read: {read}: but before that, {write}; so it must see version {required}")]
    ReadYourWrites {
        /// The read.
        read: String,
        /// The write.
        write: String,
        /// The least version that the read may return.
        required: Version,
    },
    /// Less than what it had read.
    #[error("reads go back: {read}: but before that, {earlier}; so it must see version {required}")]
    MonotonicReads {
        /// The read.
        read: String,
        /// The read before it.
        earlier: String,
        /// The least version that the read may return.
        required: Version,
    },
}

/// Whether each process reads what it has written, and never less than it has read. Looked at are its acknowledged
/// writes, and its reads with [`Consistency::Session`] and [`Consistency::Linearizable`]; what counts for a read is what
/// had ended before it was asked for.
///
/// With [`SessionScope::Log`], who has seen index 9 of the log anywhere has seen it of every key.
///
/// # Errors
/// All reads that go back.
pub fn check_session(history: &History, scope: SessionScope) -> Result<(), Violations<SessionViolation>> {
    let deletions = Deletions::of(history);
    let mut known = HashMap::<&str, BTreeMap<Version, Is>>::new();
    let mut processes = BTreeMap::<u64, Vec<&Operation>>::new();
    for operation in history.operations() {
        let key = operation.op.key();
        if let Some(version) = operation.written() {
            let is = if operation.op.value().is_none() { Is::Missing } else { Is::There };
            known.entry(key).or_default().insert(version, is);
        } else if let Some(Some((_, version))) = operation.read() {
            known.entry(key).or_default().insert(version, Is::There);
        }
        let is_of_session = match operation.op.consistency() {
            Some(consistency) => matches!(consistency, Consistency::Session | Consistency::Linearizable),
            None => operation.written().is_some(),
        };
        if is_of_session && operation.result().is_some() {
            processes.entry(operation.process).or_default().push(operation);
        }
    }
    let checker = Checker { deletions, known, scope };
    Violations::none_of(processes.into_values().flat_map(|process| checker.process(process)).collect(), ())
}

struct Checker<'a> {
    deletions: Deletions<'a>,
    /// The versions of each key that somebody has written or read.
    known: HashMap<&'a str, BTreeMap<Version, Is>>,
    scope: SessionScope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    There,
    Missing,
}

/// What a process has seen, of a key or at all.
#[derive(Clone, Copy)]
struct Seen<'a> {
    version: Version,
    is: Is,
    by: &'a Operation,
}

impl<'a> Checker<'a> {
    fn process(&self, mut operations: Vec<&'a Operation>) -> Vec<SessionViolation> {
        operations.sort_by_key(|operation| operation.invoked_ns);
        // What each operation has seen, by the instant at which that counts.
        let mut seen: BTreeMap<(u64, usize), Seen<'a>> = BTreeMap::new();
        let (mut of_keys, mut of_log) = (HashMap::<&str, Seen<'a>>::new(), None::<Seen<'a>>);
        let mut found = Vec::new();
        for (place, operation) in operations.into_iter().enumerate() {
            while let Some(ended) = seen.first_entry().filter(|ended| ended.key().0 < operation.invoked_ns) {
                let ended = ended.remove();
                let of_key = of_keys.entry(ended.by.op.key()).or_insert(ended);
                for sight in [of_key, of_log.get_or_insert(ended)] {
                    if ended.version > sight.version {
                        *sight = ended;
                    }
                }
            }
            let key = operation.op.key();
            let required = self.required(key, of_keys.get(key).copied(), of_log);
            let (saw, is_kept) = self.saw(operation, required);
            if let Some(required) = required.filter(|_| !is_kept) {
                found.push(violation(operation, required));
            }
            if let (Some(saw), Some(completed_ns)) = (saw, operation.completed_ns()) {
                seen.insert((completed_ns, place), saw);
            }
        }
        found
    }

    /// What a read of the key must see at least.
    fn required(&self, key: &str, of_key: Option<Seen<'a>>, of_log: Option<Seen<'a>>) -> Option<Seen<'a>> {
        let of_log = of_log.filter(|_| self.scope == SessionScope::Log).and_then(|seen| {
            let (version, is) = self.known.get(key)?.range(..=seen.version).next_back()?;
            Some(Seen { version: *version, is: *is, ..seen })
        });
        match (of_key, of_log) {
            (Some(of_key), Some(of_log)) => {
                Some(if of_log.version > of_key.version { of_log } else { of_key })
            }
            (of_key, of_log) => of_key.or(of_log),
        }
    }

    /// What the operation tells its process, and whether that is as much as is required.
    fn saw(&self, by: &'a Operation, required: Option<Seen<'a>>) -> (Option<Seen<'a>>, bool) {
        if let Some(version) = by.written() {
            let is = if by.op.value().is_none() { Is::Missing } else { Is::There };
            return (Some(Seen { version, is, by }), true);
        }
        let (least, is) = required.map_or((0, Is::Missing), |seen| (seen.version, seen.is));
        match by.read() {
            Some(Some((_, version))) => {
                let is_kept = version > least || (version == least && is == Is::There);
                (Some(Seen { version, is: Is::There, by }), is_kept)
            }
            Some(None) if is == Is::Missing => {
                (required.map(|_| Seen { version: least, is: Is::Missing, by }), true)
            }
            // It was removed since; at the earliest by this version.
            Some(None) => {
                match self.deletions.next(by.op.key(), least, by.completed_ns().unwrap_or(u64::MAX)) {
                    Some(version) => (Some(Seen { version, is: Is::Missing, by }), true),
                    None => (None, false),
                }
            }
            None => (None, true),
        }
    }
}

fn violation(read: &Operation, required: Seen<'_>) -> SessionViolation {
    let (read, by, required_version) = (read.to_string(), required.by.to_string(), required.version);
    match required.by.written() {
        Some(_) => SessionViolation::ReadYourWrites { read, write: by, required: required_version },
        None => SessionViolation::MonotonicReads { read, earlier: by, required: required_version },
    }
}
