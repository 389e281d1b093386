//! How far an export or an import has come, beside its file, so that it can go on there.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::OperateError;

/// What is put behind the name of the file.
const SUFFIX: &str = ".place";

/// The place of a file.
#[derive(Debug)]
pub(super) struct PlaceFile {
    path: PathBuf,
}

/// What a place begins with: for what it holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    /// `export` or `import`.
    pub(super) task: String,
    pub(super) node: String,
    pub(super) namespace: String,
    /// What else must be the same, for people.
    pub(super) what: String,
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    #[serde(flatten)]
    task: Task,
    at: T,
}

impl PlaceFile {
    pub(super) fn beside(file: &Path) -> PlaceFile {
        PlaceFile { path: beside(file, SUFFIX) }
    }

    /// How far the task has come; `None` if it has not begun.
    pub(super) fn read<T: DeserializeOwned>(&self, task: &Task) -> Result<Option<T>, OperateError> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| OperateError::Read { path: self.path.clone(), source })?,
        };
        let refused = |reason: String| OperateError::File { path: self.path.clone(), reason };
        let stored: Stored<T> = serde_json::from_slice(&text)
            .map_err(|error| refused(format!("this is no place ({error}); remove it to begin anew")))?;
        if stored.task != *task {
            let Task { task, node, namespace, what } = stored.task;
            return Err(refused(format!(
                "it is of another {task}: node {node}, namespace {namespace:?}, {what}; \
                 finish that one, or remove the file to begin anew"
            )));
        }
        Ok(Some(stored.at))
    }

    /// Remembers how far the task has come: all of it or nothing.
    pub(super) fn write<T: Serialize>(&self, task: &Task, at: &T) -> Result<(), OperateError> {
        #[derive(Serialize)]
        struct Storing<'a, T> {
            #[serde(flatten)]
            task: &'a Task,
            at: &'a T,
        }
        let failed = |source| OperateError::Write { path: self.path.clone(), source };
        let text = serde_json::to_vec(&Storing { task, at }).map_err(|error| failed(error.into()))?;
        let new = beside(&self.path, ".new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path)).map_err(failed)
    }

    /// The task is done.
    pub(super) fn remove(&self) -> Result<(), OperateError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(OperateError::Write { path: self.path.clone(), source: error })
            }
            _ => Ok(()),
        }
    }
}

/// The file with something behind its name.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}
