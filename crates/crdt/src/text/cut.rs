use std::borrow::Cow;

use super::run::Run;

/// A part of a run, or a whole one.
pub(super) struct Piece<'a> {
    pub(super) run: Cow<'a, Run>,
    /// Whether a character of two units was cut through, so that the piece does not say what the run said.
    pub(super) torn: bool,
}

/// Cuts the runs of one client into pieces, from the first to the last.
pub(super) struct Cut<'a, I> {
    client: u64,
    runs: I,
    run: Option<Cow<'a, Run>>,
    /// How many units of `run` were taken, and where its text goes on.
    taken: u32,
    byte: usize,
    /// Whether what was taken ends within a character of two units.
    in_half: bool,
}

impl<'a, I: Iterator<Item = Cow<'a, Run>>> Cut<'a, I> {
    pub(super) fn new(client: u64, mut runs: I) -> Self {
        let run = runs.next();
        Cut { client, runs, run, taken: 0, byte: 0, in_half: false }
    }

    /// The clock at which the next piece begins, and how long it may be.
    pub(super) fn ahead(&self) -> Option<(u32, u32)> {
        self.run.as_ref().map(|run| (run.clock + self.taken, run.len - self.taken))
    }

    /// Takes a piece of `len` units, no more than are [`ahead`](Self::ahead). A character of two units that is cut
    /// through becomes two U+FFFD.
    pub(super) fn take(&mut self, len: u32) -> Option<Piece<'a>> {
        let run = self.run.as_ref().filter(|_| len > 0)?;
        if len == run.len {
            let whole = self.run.take();
            self.run = self.runs.next();
            return whole.map(|run| Piece { run, torn: false });
        }
        let place = run.place_at(self.client, self.taken);
        let mut text = None;
        let mut torn = self.in_half;
        if let Some(all) = &run.text {
            let mut piece = String::new();
            let mut missing = len;
            if self.in_half {
                piece.push(char::REPLACEMENT_CHARACTER);
                self.in_half = false;
                missing -= 1;
            }
            let rest = &all[self.byte..];
            let bytes = if all.len() == run.len as usize {
                // One byte for each unit.
                std::mem::take(&mut missing) as usize
            } else {
                let whole = rest.char_indices().find(|(_, character)| {
                    match missing.checked_sub(if character.len_utf16() == 1 { 1 } else { 2 }) {
                        Some(left) if missing > 0 => {
                            missing = left;
                            false
                        }
                        _ => true,
                    }
                });
                whole.map_or(rest.len(), |(at, _)| at)
            };
            piece.push_str(&rest[..bytes]);
            self.byte += bytes;
            if missing > 0 {
                piece.push(char::REPLACEMENT_CHARACTER);
                self.in_half = true;
                self.byte += rest[bytes..].chars().next().map_or(0, char::len_utf8);
            }
            torn |= self.in_half;
            text = Some(piece);
        }
        let piece = Run { clock: run.clock + self.taken, len, place, text };
        self.taken += len;
        if self.taken == run.len {
            self.run = self.runs.next();
            (self.taken, self.byte, self.in_half) = (0, 0, false);
        }
        Some(Piece { run: Cow::Owned(piece), torn })
    }
}
