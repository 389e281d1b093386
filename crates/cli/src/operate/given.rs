//! Values as they are given on the command line.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use serde_json::Value;

use super::error::OperateError;

/// The largest value that is read, far above what nodes take unless configured otherwise.
const VALUE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The value itself, `-` for standard input, or `@` and a file.
pub(crate) async fn value(given: &str) -> Result<Value, OperateError> {
    let (what, text) = match given.strip_prefix('@') {
        Some(path) => (path.to_owned(), text(Some(path.into())).await?),
        None if given == "-" => ("standard input".to_owned(), text(None).await?),
        None => (format!("{given:?}"), given.to_owned()),
    };
    serde_json::from_str(&text).map_err(|error| OperateError::Value { what, reason: error.to_string() })
}

/// All of a file, or of standard input. Ctrl-C does not wait for it.
async fn text(path: Option<PathBuf>) -> Result<String, OperateError> {
    let shown = path.clone().unwrap_or_else(|| "standard input".into());
    let reading = tokio::task::spawn_blocking(move || match path {
        Some(path) => all(File::open(path)?),
        None => all(io::stdin()),
    });
    let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|source| OperateError::Read { path: shown, source })
}

fn all(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(VALUE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
