use std::io::{self, BufRead, Write};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Why a recorded file could not be read or written.
///
/// All are permanent: asking again without changing the file does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The system refused to read or write. What was written before is there still.
    #[error("the history cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A line is not what a recorder writes.
    #[error("line {line} of the history cannot be understood: {source}")]
    Malformed {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Two clients share a number.
    #[error(
        "two clients have the number {process}; give each client of each operating system process one of its own"
    )]
    Ambiguous {
        /// Their number.
        process: u64,
    },
    /// An operation ends before it begins, as if its two instants were of different clocks.
    #[error(
        "operation {id} of process {process} is answered before it is asked for; record both by one clock"
    )]
    Backwards {
        /// Whose it is.
        process: u64,
        /// Its id.
        id: u64,
    },
}

/// One JSON document a line.
pub(super) fn write<T: Serialize>(
    mut to: impl Write,
    records: impl IntoIterator<Item = T>,
) -> Result<(), HistoryError> {
    for record in records {
        write_one(&mut to, &record)?;
    }
    Ok(to.flush()?)
}

/// In one call, so that a killed process leaves at most one line unfinished.
pub(super) fn write_one<T: Serialize>(to: &mut impl Write, record: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// A last line without its end is what a killed process had not finished, and left out.
pub(super) fn read<T: DeserializeOwned>(mut from: impl BufRead) -> Result<Vec<T>, HistoryError> {
    let (mut records, mut text) = (Vec::new(), Vec::new());
    for line in 1.. {
        text.clear();
        from.read_until(b'\n', &mut text)?;
        if text.pop() != Some(b'\n') {
            break;
        }
        if !text.trim_ascii().is_empty() {
            let record = serde_json::from_slice(&text);
            records.push(record.map_err(|source| HistoryError::Malformed { line, source })?);
        }
    }
    Ok(records)
}
