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

    /// So what was read of a state that had gone on does not go back while the entries since its beginning are applied.
    #[test]
    fn an_entry_leaves_alone_what_a_later_one_wrote(key in key(), version in 2..99u64, index in 1..99u64, is_put in any::<bool>()) {
        let row = |version| KeyRow { version, value: value("old") };
        let mut stored = Stored { rows: [(key.clone(), row(version))].into(), ..Stored::default() };
        stored.sum_up();
        let operation = match is_put {
            true => Operation::Put { key: key.clone(), value: value("old"), kind: PutKind::Upsert },
            false => Operation::Delete { key: key.clone() },
        };
        let mut expected = stored.clone();
        match is_put {
            true => expected.rows.insert(key.clone(), row(version.max(index))),
            false if index >= version => expected.rows.remove(&key),
            false => None,
        };
        expected.sum_up();
        stored.take(index, &[Entry::new(operation)], &[1]);
        prop_assert_eq!(stored, expected);
    }
}

/// As the page of formats says it: nodes of all builds must agree.
#[test]
fn the_digest_of_a_row_is_of_the_length_of_the_key_the_key_the_version_and_the_value() {
    let row = KeyRow { version: 300, value: value("Bob") };
    let hashed = [&6u64.to_be_bytes()[..], b"user/7", &300u64.to_be_bytes(), b"\xa3Bob"].concat();
    assert_eq!(row.digest(&"user/7".into()), xxhash_rust::xxh3::xxh3_128(&hashed));
    assert_eq!(row.encode(), [&300u64.to_be_bytes()[..], b"\xa3Bob"].concat());
}

/// Else a difference would hide in a sum that is the same.
#[test]
fn the_digest_of_a_row_knows_where_its_key_ends() {
    let row = |version, value: &'static [u8]| KeyRow { version, value: Bytes::from_static(value) };
    // The same bytes after one another: a key, a version in 8 bytes, a value.
    let (key, longer) = (Text::from("a"), Text::from("a\0"));
    assert_ne!(row(1, &[2, 0xc0]).digest(&key), row((1 << 8) | 2, &[0xc0]).digest(&longer));
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
