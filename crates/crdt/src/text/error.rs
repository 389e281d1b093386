use archipelago_clock::MintError;
use thiserror::Error;

use super::update::UpdateError;

/// Why an update of a text was refused. The text is unchanged. Permanent for this state of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is no such place in the text.
    #[error("index {index} is out of the bounds of a text of {len} characters")]
    OutOfBounds {
        /// The index that was given.
        index: usize,
        /// The number of characters in the text.
        len: usize,
    },
    /// The end of the range lies before its start.
    #[error("the range ends at {end}, before its start at {start}")]
    Backwards {
        /// The start of the range.
        start: usize,
        /// Its end.
        end: usize,
    },
    /// The text would exceed 2 GiB.
    #[error("the text would exceed 2 GiB")]
    TooLong,
    /// The actor could not be given ids for what it inserts.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The bytes are not an update of Yjs.
    #[error("malformed update of Yjs: {reason}")]
    MalformedUpdate {
        /// What is wrong.
        reason: &'static str,
    },
    /// The update is of a document with more in it than this one text, and the text without formatting.
    #[error("an update of Yjs with more than one plain text: {what}")]
    NotPlainText {
        /// What it has.
        what: &'static str,
    },
}

impl From<UpdateError> for TextError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Malformed(reason) => TextError::MalformedUpdate { reason },
            UpdateError::NotPlain(what) => TextError::NotPlainText { what },
        }
    }
}
