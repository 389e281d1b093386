use std::{error::Error, fmt};

/// How many violations are told; the others are counted.
const TOLD_MAX: usize = 10;

/// What a history breaks, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations<V>(Vec<V>);

impl<V> Violations<V> {
    /// `Ok` with this, if nothing was found.
    pub(super) fn none_of<T>(found: Vec<V>, otherwise: T) -> Result<T, Self> {
        if found.is_empty() { Ok(otherwise) } else { Err(Violations(found)) }
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, V> {
        self.0.iter()
    }
}

impl<'a, V> IntoIterator for &'a Violations<V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V: fmt::Display> fmt::Display for Violations<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, violation) in self.0.iter().take(TOLD_MAX).enumerate() {
            write!(f, "{}{violation}", if place == 0 { "" } else { "\n" })?;
        }
        match self.0.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl<V: fmt::Debug + fmt::Display> Error for Violations<V> {}
