use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Case, Minimised};

/// A case that failed once and must not fail again, kept as a file for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// Which checker said so.
    pub checker: String,
    /// What was wrong, in words.
    pub note: String,
    /// What fails.
    pub case: Case,
}

/// A file of a case could not be read or written. Nothing was changed but, perhaps, the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegressionError {
    /// The file or its folder cannot be reached.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file holds something else, or is of a simulation that has changed since: draw the case anew from its seed.
    #[error("{path} does not hold a case of today's simulation: {error}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where it does not fit.
        error: serde_json::Error,
    },
}

impl Regression {
    /// Of what was found.
    pub fn new(found: &Minimised) -> Self {
        let violation = &found.violation;
        Regression {
            checker: violation.checker.to_owned(),
            note: format!("after {} ms: {}", violation.at_ms, violation.detail),
            case: found.case.clone(),
        }
    }

    /// `<scenario>-<checker>-<seed>.json`.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.json", self.case.scenario, self.checker, self.case.seed)
    }

    /// Reads one.
    ///
    /// # Errors
    /// If there is no such file, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, RegressionError> {
        let io = |error| RegressionError::Io { path: path.to_owned(), error };
        let format = |error| RegressionError::Format { path: path.to_owned(), error };
        serde_json::from_slice(&fs::read(path).map_err(io)?).map_err(format)
    }

    /// Writes it into a folder, which is made if it is not there; tells the path.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, RegressionError> {
        let path = folder.join(self.file_name());
        let text = serde_json::to_string_pretty(self).expect("numbers, texts and lists of them");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text + "\n"));
        match written {
            Ok(()) => Ok(path),
            Err(error) => Err(RegressionError::Io { path, error }),
        }
    }
}
