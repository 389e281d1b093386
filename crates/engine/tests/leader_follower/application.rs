use super::*;

proptest! {
    #[test]
    fn the_digest_and_the_count_are_those_of_the_rows_whatever_the_groups(entries in entries(), sizes in sizes(20)) {
        let mut stored = Stored::default();
        stored.take(1, &entries, &sizes);
        prop_assert_eq!(stored, Stored::by_meaning(&entries));
    }

    /// A crash between applying and storing makes a node apply entries again.
    #[test]
    fn entries_that_are_applied_again_up_to_the_newest_change_nothing(
        entries in entries(),
        sizes in sizes(20),
        from in any::<prop::sample::Index>(),
    ) {
        let mut stored = Stored::by_meaning(&entries);
        let from = from.index(entries.len() + 1);
        stored.take(from as u64 + 1, &entries[from..], &sizes);
        prop_assert_eq!(stored, Stored::by_meaning(&entries));
    }

    #[test]
    fn an_application_that_cannot_read_what_is_stored_changes_nothing(entries in entries(), unreadable in key()) {
        let stored = Stored::default();
        let mut application = Application::default();
        for (index, entry) in (1..).zip(&entries) {
            let before = format!("{application:?}");
            let read = |key: &EntityId| if *key == unreadable { Err("the disk") } else { Ok(None) };
            let applied = application.apply(index, entry, &stored.followers, read);
            let is_about_it = matches!(
                &entry.operation,
                Operation::Put { key, .. } | Operation::Delete { key } if *key == unreadable
            );
            prop_assert_eq!(applied.is_err(), is_about_it);
            if applied.is_err() {
                prop_assert_eq!(before, format!("{application:?}"));
            }
        }
    }

    #[test]
    fn a_row_comes_back_from_its_bytes(version in any::<u64>(), text in ".{0,40}") {
        let row = KeyRow { version, value: value(&text) };
        prop_assert_eq!(KeyRow::decode(&row.encode()), Some(row));
    }

    /// Else a difference would hide in a sum that is the same.
    #[test]
    fn the_digest_of_a_row_knows_where_key_version_and_value_end(
        (key, version, text) in (key(), 1..9u64, "[a-c]{0,2}"),
        (other_key, other_version, other_text) in ("[a-h]{1,2}", 1..9u64, "[a-c]{0,2}"),
    ) {
        let (row, other) = (
            KeyRow { version, value: value(&text) },
            KeyRow { version: other_version, value: value(&other_text) },
        );
        let other_key = Text::from(other_key);
        let same = key == other_key && row == other;
        prop_assert_eq!(row.digest(&key) == other.digest(&other_key), same);
    }
}

#[test]
fn bytes_that_are_no_row_are_refused() {
    for len in 0..8 {
        assert_eq!(KeyRow::decode(&vec![0; len].into()), None);
    }
}

#[test]
fn entries_that_change_no_row_leave_nothing_to_store() {
    let mut application = Application::default();
    let start = Operation::TermStart { node: "x".into(), session: 1, address: None };
    Stored::default().apply(&mut application, 1, &[start, Operation::Nothing].map(Entry::new));
    assert!(application.is_empty());
    Stored::default().apply(&mut application, 3, &[Entry::new(Operation::Register { node: "x".into() })]);
    assert!(!application.is_empty());
}
