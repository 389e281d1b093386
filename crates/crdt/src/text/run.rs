/// The name of a unit of text: who inserted it, and how many units that client had inserted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) client: u64,
    pub(super) clock: u32,
}

/// Where a unit was inserted: between which two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The unit to the left, if it was not the beginning.
    pub(super) origin: Option<Id>,
    /// The unit to the right, if it was not the end.
    pub(super) right: Option<Id>,
}

/// Units of one client with successive clocks, each of which but the first was inserted behind the one before and in
/// front of the same one as it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The clock of the first unit.
    pub(super) clock: u32,
    /// How many units there are. Never zero.
    pub(super) len: u32,
    /// Where the first unit was inserted. Of units without a place it is known only that they were deleted.
    pub(super) place: Option<Place>,
    /// The content, unless it was deleted.
    pub(super) text: Option<String>,
}

impl Run {
    /// Units of which it is known only that they were deleted.
    pub(super) fn deletion(clock: u32, len: u32) -> Self {
        Run { clock, len, place: None, text: None }
    }

    /// The clock after the last unit.
    pub(super) fn end(&self) -> u32 {
        // Decoding has checked that clocks do not overflow.
        self.clock + self.len
    }

    /// The place of the unit `at` units into the run.
    pub(super) fn place_at(&self, client: u64, at: u32) -> Option<Place> {
        match self.clock.checked_add(at)?.checked_sub(1) {
            Some(clock) if at > 0 => {
                self.place.map(|place| Place { origin: Some(Id { client, clock }), right: place.right })
            }
            _ => self.place,
        }
    }

    /// Whether both could be one run.
    pub(super) fn continues_as(&self, client: u64, next: &Run) -> bool {
        self.end() == next.clock
            && self.text.is_some() == next.text.is_some()
            && self.place_at(client, self.len) == next.place
    }

    /// Makes both one run.
    pub(super) fn append(&mut self, next: Run) {
        self.len += next.len;
        if let (Some(text), Some(more)) = (&mut self.text, next.text) {
            text.push_str(&more);
        }
    }
}

/// How many units a text has.
pub(super) fn units_in(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}
