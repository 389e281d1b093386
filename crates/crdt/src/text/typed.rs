use std::{
    fmt,
    ops::{Bound, Range, RangeBounds},
    sync::OnceLock,
};

use archipelago_clock::ReplicaId;
use serde::{Deserializer, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    TextError,
    document::Document,
    hunks::{Hunk, hunks},
    runs::TextRuns,
    update,
};
use crate::{
    Crdt, DeltaCrdt, Kind,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// Text that many edit at once: each character stays where it was typed, and runs typed forwards at one place come one
/// after the other, unmixed. Of a deletion and whatever else happens nearby, both count.
///
/// An adapter to [yrs], which decides what the text is and what an edit of it means. States, deltas and encoding are
/// updates of [Yjs] in their first version, so that editors in browsers can take part: see
/// [`to_yjs_update`](Self::to_yjs_update). Deleted text leaves its length and place behind, not its content.
///
/// Positions are counted in Unicode scalar values, that is in `char`s, from zero.
///
/// # Order requirements
///
/// None for merging: what arrives before that on which it builds is kept, and shows once the rest is there. An actor
/// inserts only into its own current state, which has all that it did before: an insertion into a state in which some
/// of that is visibly missing is refused with [`MintError`](crate::MintError). If an actor goes back to an old copy of
/// its state, one id names two characters: where the two meet both become U+FFFD, on every replica.
///
/// An actor is known by a hash of its id with 53 bits, as Yjs has it. Two of `n` actors of one text have the same hash
/// with a probability of about `n² / 2⁵⁴`, for a thousand of them one in eighteen billion; then they do as one actor
/// that goes back to an old copy.
///
/// # Encoding
///
/// The update of a document with the text under the name `text`: as bytes, and in formats that people read in
/// hexadecimal. Equal states have equal encodings, however they came about; the decoder also takes what other
/// programs wrote.
///
/// Nicolaescu, Jahns, Derntl, Klamma, *Near real-time peer-to-peer shared editing on extensible data types*, GROUP 2016
/// (YATA). The departure: a state is the set of insertions and deletions, of which the text is a function, so that
/// states and deltas merge in any order and grouping, with gaps too.
///
/// ```
/// use archipelago_clock::ReplicaId;
/// use archipelago_crdt::{Crdt, Text};
///
/// let [us, eu]: [ReplicaId; 2] = ["us@0000000000000001".parse()?, "eu@0000000000000002".parse()?];
/// let mut here = Text::new();
/// here.push_str(&us, "Hello world")?;
/// let mut there = here.clone();
/// here.insert(&us, 5, ",")?;
/// there.replace(&eu, 6.., "islands!")?; // concurrently
/// here.merge(&there);
/// assert_eq!(here.as_str(), "Hello, islands!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [yrs]: https://docs.rs/yrs
/// [Yjs]: https://yjs.dev
#[derive(Default)]
pub struct Text {
    runs: TextRuns,
    /// Computed where it is needed and never without `runs`.
    document: OnceLock<Box<Document>>,
}

impl Text {
    /// The empty text.
    pub fn new() -> Self {
        Text::default()
    }

    /// What the text is.
    ///
    /// Computed once for each state that came in from elsewhere, and kept up to date by edits.
    pub fn as_str(&self) -> &str {
        self.document.get_or_init(|| Box::new(Document::load(&self.runs, 0))).shown()
    }

    /// The number of characters, which are Unicode scalar values.
    pub fn len(&self) -> usize {
        self.as_str().chars().count()
    }

    /// Whether there are no characters.
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }

    /// Inserts `text` in front of the character at `index` for `actor`, which must be the caller's own id, and returns
    /// the delta.
    ///
    /// # Errors
    /// [`TextError`]; the text is unchanged.
    pub fn insert(&mut self, actor: &ReplicaId, index: usize, text: &str) -> Result<Self, TextError> {
        self.replace(actor, index..index, text)
    }

    /// Inserts `text` at the end, as [`insert`](Self::insert) does.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn push_str(&mut self, actor: &ReplicaId, text: &str) -> Result<Self, TextError> {
        let document = self.edited_by(actor);
        let end = document.shown().len();
        self.edit(&[Hunk { range: end..end, text }])
    }

    /// Removes the characters of a range and returns the delta. Text that others insert there meanwhile stays.
    ///
    /// # Errors
    /// [`TextError`] if there is no such range; the text is unchanged.
    pub fn remove(&mut self, range: impl RangeBounds<usize>) -> Result<Self, TextError> {
        let range = byte_range(self.as_str(), range)?;
        self.edit(&[Hunk { range, text: "" }])
    }

    /// Removes the characters of a range and inserts `text` in their place, as [`insert`](Self::insert) does.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn replace(
        &mut self,
        actor: &ReplicaId,
        range: impl RangeBounds<usize>,
        text: &str,
    ) -> Result<Self, TextError> {
        let range = byte_range(self.edited_by(actor).shown(), range)?;
        self.edit(&[Hunk { range, text }])
    }

    /// Makes the text `text` by as few insertions and removals of characters as it takes, as [`insert`](Self::insert)
    /// does: for editors that only say what the text is now. A text that has hardly anything in common with the old one
    /// replaces it between the first and the last difference.
    ///
    /// Call it on the state that was edited, and merge what has arrived since afterwards.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn set(&mut self, actor: &ReplicaId, text: &str) -> Result<Self, TextError> {
        let hunks = hunks(self.edited_by(actor).shown(), text);
        self.edit(&hunks)
    }

    /// This state as an update for [Yjs](https://yjs.dev), in the first version of its encoding: of a document with the
    /// text under the name `root`, `document.getText(root)`. A delta gives an update with what is new.
    pub fn to_yjs_update(&self, root: &str) -> Vec<u8> {
        update::encode(&self.runs, root)
    }

    /// What an update of Yjs says, in the first version of its encoding; merge it to take it in. Whoever wrote it is an
    /// actor of its own.
    ///
    /// # Errors
    /// [`TextError::NotPlainText`] if the document has more in it than text under the name `root`, or the text has
    /// formatting; [`TextError::MalformedUpdate`] if it is not an update.
    pub fn from_yjs_update(update: &[u8], root: &str) -> Result<Self, TextError> {
        Ok(Text::from(update::decode(update, root)?))
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> &TextRuns {
        &self.runs
    }

    /// The document, ready for edits of `actor`.
    fn edited_by(&mut self, actor: &ReplicaId) -> &Document {
        let client = client_of(actor);
        if self.document.get().is_none_or(|document| document.client() != client) {
            self.document = OnceLock::new();
        }
        self.document.get_or_init(|| Box::new(Document::load(&self.runs, client)))
    }

    /// Makes edits in the document as it is.
    fn edit(&mut self, hunks: &[Hunk<'_>]) -> Result<Self, TextError> {
        let Some(document) = self.document.get_mut() else { return Ok(Text::new()) };
        let delta = document.edit(&self.runs, hunks)?;
        self.runs.merge(&delta);
        Ok(Text::from(delta))
    }
}

/// The client of Yjs that stands for an actor: stable for ever, since texts are full of them.
fn client_of(actor: &ReplicaId) -> u64 {
    xxh3_64(actor.to_string().as_bytes()) >> 11
}

/// The bytes of a range of characters.
fn byte_range(text: &str, range: impl RangeBounds<usize>) -> Result<Range<usize>, TextError> {
    let start = match range.start_bound() {
        Bound::Unbounded => 0,
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
    };
    let end = match range.end_bound() {
        Bound::Unbounded => None,
        Bound::Included(last) => Some(last.saturating_add(1)),
        Bound::Excluded(end) => Some(*end),
    };
    if let Some(end) = end.filter(|end| *end < start) {
        return Err(TextError::Backwards { start, end });
    }
    let start_byte = byte_of(text, start, start)?;
    let end_byte = match end {
        None => text.len(),
        Some(end) => {
            start_byte
                + byte_of(&text[start_byte..], end - start, end).map_err(|error| match error {
                    TextError::OutOfBounds { index, len } => {
                        TextError::OutOfBounds { index, len: start + len }
                    }
                    other => other,
                })?
        }
    };
    Ok(start_byte..end_byte)
}

/// Where the character with the number `at` begins; `index` is what the caller called it.
fn byte_of(text: &str, at: usize, index: usize) -> Result<usize, TextError> {
    if at <= text.len() && text.is_ascii() {
        return Ok(at);
    }
    let bytes = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    bytes.clone().nth(at).ok_or_else(|| TextError::OutOfBounds { index, len: bytes.count() - 1 })
}

impl From<TextRuns> for Text {
    fn from(runs: TextRuns) -> Self {
        Text { runs, document: OnceLock::new() }
    }
}

impl Crdt for Text {
    fn kind() -> Option<Kind> {
        TextRuns::kind()
    }

    fn merge(&mut self, other: &Self) {
        // The text is computed anew, from the state as a whole: so it is a function of that whatever was forged.
        if self.document.get().is_none() || !self.covers(other) {
            self.runs.merge(&other.runs);
            self.document = OnceLock::new();
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.runs.covers(&other.runs)
    }
}

impl DeltaCrdt for Text {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        self.runs.delta_since(&since.runs).map(Text::from)
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Text::from(self.runs.clone())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.runs == other.runs
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("text", &self.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

carry_kind!([] Text, Some(Kind::Text));

impl SerializeState for Text {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.runs.serialize_state(serializer)
    }
}

impl<'de> DeserializeState<'de> for Text {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TextRuns::deserialize_state(deserializer).map(Text::from)
    }
}

/// The text of a state, for those who know it only dynamically.
pub(crate) fn shown(runs: &TextRuns) -> String {
    Document::load(runs, 0).shown().to_owned()
}
