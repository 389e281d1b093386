use std::{collections::BTreeMap, time::Duration};

use archipelago_manager::leader_follower::{Found, WriteError};
use tokio::time::Instant;

use super::plan::Kind;

/// What a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    value: u64,
    version: u64,
}

type Rows = BTreeMap<&'static str, Row>;

/// A write as a client asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value: u64,
    pub(crate) expected: Option<u64>,
}

/// What a map says to a write.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Exists { version: u64 },
    Missing,
    Mismatch { version: u64 },
}

/// The map that is stored, and those that were.
#[derive(Debug, Default)]
pub(crate) struct Book {
    rows: Rows,
    /// Each with when it ceased to be, or later.
    past: Vec<(Instant, Rows)>,
}

impl Book {
    /// The version of a key; 0 if it has no value.
    pub(crate) fn version(&self, key: &str) -> u64 {
        self.rows.get(key).map_or(0, |row| row.version)
    }

    /// It was done, and the key has this version.
    pub(crate) fn written(&mut self, asked: Asked, version: u64) {
        assert_eq!(self.answer(asked), Answer::Done, "{asked:?} is done, of {:?}", self.rows);
        self.past.push((Instant::now(), self.rows.clone()));
        match asked.kind {
            Kind::Delete => self.rows.remove(asked.key),
            _ => self.rows.insert(asked.key, Row { value: asked.value, version }),
        };
    }

    pub(crate) fn refused(&self, asked: Asked, error: &WriteError) {
        let told = match error {
            WriteError::AlreadyExists { version, .. } => Answer::Exists { version: *version },
            WriteError::NotFound { .. } => Answer::Missing,
            WriteError::VersionMismatch { found, .. } => Answer::Mismatch { version: found.unwrap_or(0) },
            other => panic!("{other} is no answer to {asked:?}"),
        };
        assert_eq!(told, self.answer(asked), "{asked:?} is refused: {error}, of {:?}", self.rows);
    }

    /// Nobody was told whether it was done, and this is what the key has now that nothing of it is under way any more.
    pub(crate) fn found_out(&mut self, asked: Asked, found: &Found<u64>) {
        if !shows(&self.rows, asked.key, found) {
            self.written(asked, found.version);
            self.read(asked.key, found);
        }
    }

    /// A read that shows all that was acknowledged.
    pub(crate) fn read(&self, key: &'static str, found: &Found<u64>) {
        assert!(shows(&self.rows, key, found), "{found:?} of {key} is read, of {:?}", self.rows);
    }

    /// A read that was asked for at `at`, and may show what was replaced so long before that, or later; whenever it was if
    /// there is no bound.
    pub(crate) fn read_late(
        &self,
        key: &'static str,
        found: &Found<u64>,
        at: Instant,
        bound: Option<Duration>,
    ) {
        let is_in_time = |until: Instant| bound.is_none_or(|bound| until + bound >= at);
        let late = self.past.iter().filter(|(until, _)| is_in_time(*until)).map(|(_, rows)| rows);
        let is_shown = late.chain([&self.rows]).any(|rows| shows(rows, key, found));
        assert!(is_shown, "{found:?} of {key} is read within {bound:?}, of {:?}", self.rows);
    }

    fn answer(&self, asked: Asked) -> Answer {
        let version = self.version(asked.key);
        match (asked.kind, version) {
            _ if asked.expected.is_some_and(|expected| expected != version) => Answer::Mismatch { version },
            (Kind::Create, 1..) => Answer::Exists { version },
            (Kind::Update | Kind::Delete, 0) => Answer::Missing,
            _ => Answer::Done,
        }
    }
}

fn shows(rows: &Rows, key: &str, found: &Found<u64>) -> bool {
    let shown = found.value.map(|value| Row { value, version: found.version });
    rows.get(key).copied() == shown
}
