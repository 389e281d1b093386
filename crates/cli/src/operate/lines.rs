//! The lines of a file of entities, batch by batch.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::OperateError;

/// The longest line that is read, far above the largest value that nodes take unless configured otherwise.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// About how many bytes a batch has, below what a node takes unless configured otherwise.
const BATCH_BYTES_TARGET: usize = 256 * 1024;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) value: Value,
}

/// The lines of a file, from some place on.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    /// Of all that is before the next line.
    hash: Sha256,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// A line that belongs into the next batch, and how long it is.
    held: Option<(Line, Vec<u8>)>,
}

#[derive(Deserialize)]
struct Entity {
    id: String,
    value: Value,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, OperateError> {
        let file = File::open(path).map_err(|source| OperateError::Read { path: path.to_owned(), source })?;
        let reader = BufReader::new(file);
        Ok(Lines { path: path.to_owned(), reader, hash: Sha256::new(), lines: 0, bytes: 0, held: None })
    }

    /// Goes on behind `lines` lines of `bytes` bytes, if they are still those of that hash.
    pub(super) fn skip(&mut self, lines: u64, bytes: u64, hash: &str) -> Result<(), OperateError> {
        let failed = |source| OperateError::Read { path: self.path.clone(), source };
        let mut left = (&mut self.reader).take(bytes);
        let mut copied = 0;
        loop {
            let chunk = left.fill_buf().map_err(failed)?;
            if chunk.is_empty() {
                break;
            }
            self.hash.update(chunk);
            let length = chunk.len();
            left.consume(length);
            copied += length as u64;
        }
        if copied != bytes || self.hash() != hash {
            let reason = "what was imported of it already has changed since; remove the file .place beside it to begin anew";
            return Err(OperateError::File { path: self.path.clone(), reason: reason.into() });
        }
        (self.lines, self.bytes) = (lines, bytes);
        Ok(())
    }

    /// The hash of all that is before the next line.
    pub(super) fn hash(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The next lines, of different entities; none at the end.
    pub(super) fn batch(&mut self, count: usize) -> Result<Vec<Line>, OperateError> {
        let (mut batch, mut ids, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        while batch.len() < count && bytes < BATCH_BYTES_TARGET {
            let held = match self.held.take() {
                Some(held) => Some(held),
                None => self.read()?,
            };
            let Some((line, raw)) = held else { break };
            if !ids.insert(line.id.clone()) {
                // There is no order within a batch.
                self.held = Some((line, raw));
                break;
            }
            self.hash.update(&raw);
            self.lines = line.number;
            self.bytes += raw.len() as u64;
            bytes += raw.len();
            batch.push(line);
        }
        Ok(batch)
    }

    /// The next line that is not empty, and its bytes with those of empty lines before it.
    fn read(&mut self) -> Result<Option<(Line, Vec<u8>)>, OperateError> {
        let (mut raw, mut number) = (Vec::new(), self.lines);
        loop {
            let begin = raw.len();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut raw);
            let read = read.map_err(|source| OperateError::Read { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            number += 1;
            let text = raw[begin..].trim_ascii();
            if text.is_empty() {
                continue;
            }
            let wrong = |reason: String| OperateError::Line { path: self.path.clone(), line: number, reason };
            if text.len() as u64 >= LINE_BYTES_MAX {
                return Err(wrong(format!("it is longer than {LINE_BYTES_MAX} bytes")));
            }
            let Entity { id, value } = serde_json::from_slice(text)
                .map_err(|error| wrong(format!("{error}; a line is an object with \"id\" and \"value\"")))?;
            return Ok(Some((Line { number, id, value }, raw)));
        }
    }
}
