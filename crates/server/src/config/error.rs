use std::path::PathBuf;

/// Why a configuration cannot be used. Each names the option.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or has what no configuration has.
    #[error("{}: {key}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The option, as far as it is known.
        key: String,
        /// What is wrong, with the line.
        reason: String,
    },
    /// The value of a flag or a variable cannot be used.
    #[error("{origin}: {key}: {reason}")]
    Text {
        /// The flag or the variable.
        origin: String,
        /// The option.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that cannot be used, or not together.
    #[error("{key}: {reason}")]
    Value {
        /// The option.
        key: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfigError::Value { key: key.into(), reason: reason.into() }
    }
}
