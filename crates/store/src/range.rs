use std::ops::{Bound, RangeBounds};

use crate::limits::KEY_BYTES_MAX;

/// The bounds of a scan, normalised: not inverted, and no bound longer than a key can be.
///
/// Ordered maps disagree on odd bounds: some panic, some return nothing. A backend that builds its range here
/// need not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange<'a> {
    from: Bound<&'a [u8]>,
    to: Bound<&'a [u8]>,
}

impl<'a> KeyRange<'a> {
    /// The range of all keys.
    pub const fn all() -> Self {
        KeyRange { from: Bound::Unbounded, to: Bound::Unbounded }
    }

    /// The range between the bounds, or `None` if no key can lie in it.
    pub fn new(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Option<Self> {
        // No key is longer than the limit, so all that a longer bound says is on which side of its longest
        // possible prefix a key lies. That prefix itself sorts before the bound.
        let from = match from {
            Bound::Included(key) | Bound::Excluded(key) if key.len() > KEY_BYTES_MAX => {
                Bound::Excluded(&key[..KEY_BYTES_MAX])
            }
            from => from,
        };
        let to = match to {
            Bound::Included(key) | Bound::Excluded(key) if key.len() > KEY_BYTES_MAX => {
                Bound::Included(&key[..KEY_BYTES_MAX])
            }
            to => to,
        };
        let is_empty = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                from >= to
            }
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        (!is_empty).then_some(KeyRange { from, to })
    }

    /// True if `key` lies in the range.
    pub fn holds(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains::<[u8]>(self, key)
    }
}

impl RangeBounds<[u8]> for KeyRange<'_> {
    fn start_bound(&self) -> Bound<&[u8]> {
        self.from
    }

    fn end_bound(&self) -> Bound<&[u8]> {
        self.to
    }
}

impl<'a> RangeBounds<&'a [u8]> for KeyRange<'a> {
    fn start_bound(&self) -> Bound<&&'a [u8]> {
        self.from.as_ref()
    }

    fn end_bound(&self) -> Bound<&&'a [u8]> {
        self.to.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use Bound::{Excluded, Included, Unbounded};

    use super::*;

    #[test]
    fn bounds_that_no_key_lies_between_make_no_range() {
        assert_eq!(KeyRange::new(Included(b"b"), Included(b"a")), None);
        assert_eq!(KeyRange::new(Included(b"a"), Excluded(b"a")), None);
        assert_eq!(KeyRange::new(Excluded(b"a"), Included(b"a")), None);
        assert_eq!(KeyRange::new(Excluded(b"a"), Excluded(b"a")), None);
        assert!(KeyRange::new(Included(b"a"), Included(b"a")).is_some());
        assert!(KeyRange::new(Unbounded, Excluded(b"")).is_some());
    }

    #[test]
    fn a_bound_longer_than_any_key_still_divides_the_keys() {
        let long = vec![7; KEY_BYTES_MAX + 1];
        let longest = &long[..KEY_BYTES_MAX];
        for bound in [Included(&long[..]), Excluded(&long[..])] {
            let above = KeyRange::new(bound, Unbounded).unwrap();
            let below = KeyRange::new(Unbounded, bound).unwrap();
            for (key, is_above) in [(longest, false), (&[7, 7][..], false), (&[7, 8][..], true)] {
                assert_eq!((above.holds(key), below.holds(key)), (is_above, !is_above));
            }
        }
    }
}
