//! A state that is read page by page while it changes.

use std::ops::Bound;

use super::*;

/// A page of rows behind a key, as they were after some entry.
struct Page {
    after: Option<EntityId>,
    rows: Vec<(EntityId, KeyRow)>,
    is_last: bool,
}

impl Page {
    fn read(state: &Stored, after: Option<EntityId>, len: usize) -> Page {
        let behind = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = state.rows.range::<EntityId, _>((behind, Bound::Unbounded));
        let page = rows.by_ref().take(len).map(|(key, row)| (key.clone(), row.clone())).collect();
        let is_last = rows.next().is_none();
        Page { after, rows: page, is_last }
    }

    /// Makes what the receiver holds in the stretch of this page what the page says.
    fn overwrite(&self, receiver: &mut Stored) {
        let mut application = Application::default();
        let from = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let to = match self.rows.last() {
            Some((key, _)) if !self.is_last => Bound::Included(key),
            _ => Bound::Unbounded,
        };
        let gone: Vec<EntityId> =
            receiver.rows.range::<EntityId, _>((from, to)).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            let Ok(()) = application.overwrite(key, None, |key| receiver.row(key));
        }
        for (key, row) in &self.rows {
            let Ok(()) = application.overwrite(key, Some(row.clone()), |key| receiver.row(key));
        }
        receiver.store(application);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Keys are written, removed and made anew while the pages are read, and the receiver had entries that nobody else has.
    #[test]
    fn pages_of_different_moments_and_the_entries_since_the_first_are_the_state_of_the_leader(
        entries in entries(),
        first in any::<prop::sample::Index>(),
        steps in proptest::collection::vec(0..6usize, 1..6),
        pages in sizes(4),
        groups in sizes(20),
        others in entries(),
    ) {
        let first = first.index(entries.len() + 1);
        let mut receiver = Stored::by_meaning(&others);
        receiver.followers = Stored::by_meaning(&entries[..first]).followers;
        let (mut moment, mut after) = (first, None);
        for (len, step) in pages.iter().cycle().zip(steps.iter().cycle()) {
            let page = Page::read(&Stored::by_meaning(&entries[..moment]), after, *len);
            page.overwrite(&mut receiver);
            if page.is_last {
                break;
            }
            after = page.rows.last().map(|(key, _)| key.clone());
            moment = (moment + step).min(entries.len());
        }
        // From here to where the last page was read the rows are of no moment.
        receiver.take(first as u64 + 1, &entries[first..moment], &groups);
        prop_assert_eq!(&receiver, &Stored::by_meaning(&entries[..moment]));
        receiver.take(moment as u64 + 1, &entries[moment..], &groups);
        prop_assert_eq!(receiver, Stored::by_meaning(&entries));
    }
}
