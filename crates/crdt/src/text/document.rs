use archipelago_clock::MintError;
use yrs::{
    ClientID, Doc, GetString, OffsetKind, Options, Text as _, TextRef, Transact, Update,
    updates::decoder::Decode,
};

use super::{
    TextError,
    hunks::Hunk,
    integrable::Integrable,
    run::units_in,
    runs::TextRuns,
    update::{self, CLOCK_MAX, ROOT},
};

const BYTES_MAX: usize = i32::MAX as usize;

/// A state as yrs holds it: the text is computed, and can be edited.
pub(super) struct Document {
    doc: Doc,
    root: TextRef,
    /// What the text is.
    shown: String,
    /// As whom the document inserts.
    client: u64,
    /// The clock after the last unit of that client.
    end: u32,
}

impl Document {
    pub(super) fn load(runs: &TextRuns, client: u64) -> Self {
        let options = Options {
            offset_kind: OffsetKind::Bytes,
            ..Options::with_guid_and_client_id("".into(), ClientID::new(client))
        };
        let doc = Doc::with_options(options);
        let root = doc.get_or_insert_text(ROOT);
        let integrable = Integrable::of(runs);
        // yrs sees only what was written here, and all of it can be integrated: it has nothing to refuse.
        let update = Update::decode_v1(&integrable.update()).expect("what was encoded here is an update");
        let mut transaction = doc.transact_mut();
        transaction.apply_update(update).expect("the parent of every insertion is the root");
        let shown = root.get_string(&transaction);
        drop(transaction);
        let end = integrable.end(client);
        Document { doc, root, shown, client, end }
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn client(&self) -> u64 {
        self.client
    }

    /// Makes the edits, which are in ascending order and not next to one another, and gives what is new to `runs`, of
    /// which this is the document.
    pub(super) fn edit(&mut self, runs: &TextRuns, hunks: &[Hunk<'_>]) -> Result<TextRuns, TextError> {
        let inserted: usize = hunks.iter().map(|hunk| hunk.text.len()).sum();
        if inserted > 0 {
            if inserted > BYTES_MAX - self.shown.len().min(BYTES_MAX) {
                return Err(TextError::TooLong);
            }
            if self.end != runs.end(self.client) {
                return Err(MintError::OwnDotsMissing.into());
            }
            let units: usize = hunks.iter().map(|hunk| units_in(hunk.text)).sum();
            let end = u32::try_from(units).ok().and_then(|units| self.end.checked_add(units));
            self.end = end.filter(|end| *end <= CLOCK_MAX).ok_or(MintError::SequenceExhausted)?;
        }
        let mut transaction = self.doc.transact_mut();
        for hunk in hunks.iter().rev() {
            // The text is within the 2 GiB.
            let at = |byte| u32::try_from(byte).unwrap_or(u32::MAX);
            // In front of what is removed: so what others append to that meanwhile stays behind it.
            self.root.insert(&mut transaction, at(hunk.range.start), hunk.text);
            if !hunk.range.is_empty() {
                let start = at(hunk.range.start + hunk.text.len());
                self.root.remove_range(&mut transaction, start, at(hunk.range.len()));
            }
            self.shown.replace_range(hunk.range.clone(), hunk.text);
        }
        let update = transaction.encode_update_v1();
        Ok(update::decode(&update, ROOT).expect("the update of an edit of plain text is of plain text"))
    }
}
