use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;

use super::{Backend, commit, get, keys, open, put, scan, scan_all};
use crate::{
    Batch, Durability, Store, StoreError, Table,
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

/// A row may say all it has to say by being there.
pub fn an_empty_value_is_not_a_missing_row(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        commit(&store, put(table, "row", ""));
        assert_eq!(get(&store, table, b"row").as_deref(), Some(&b""[..]));
        assert_eq!(scan_all(&store, table).len(), 1);
    }
}

/// Keys of the full length that the limit allows work like others.
pub fn the_longest_key_is_kept_in_order(backend: &impl Backend) {
    let store = open(backend);
    let longest = vec![b'b'; KEY_BYTES_MAX];
    for table in Table::ALL {
        let mut batch = Batch::new();
        for key in [b"c", &longest[..], b"a"] {
            batch.put(table, key.to_vec(), key.len().to_string());
        }
        commit(&store, batch);
        assert_eq!(get(&store, table, &longest).as_deref(), Some(&b"65535"[..]));
        assert_eq!(keys(&scan_all(&store, table)), [b"a", &longest[..], b"c"]);
        assert_eq!(keys(&scan(&store, table, Excluded(&longest), Unbounded, 9)), [b"c"]);
        let mut remove = Batch::new();
        remove.remove(table, longest.clone());
        commit(&store, remove);
        assert_eq!(get(&store, table, &longest), None);
    }
}

/// Large values come back as they were, also after other commits.
pub fn a_value_of_a_mebibyte_is_kept(backend: &impl Backend) {
    let store = open(backend);
    let value: Vec<u8> =
        (0..1_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for table in Table::ALL {
        commit(&store, put(table, "large", value.clone()));
        commit(&store, put(table, "small", "value"));
        assert!(get(&store, table, b"large").is_some_and(|found| found == value));
    }
}

/// A batch that breaks a limit is an error of its own, stores nothing, and does not poison the store.
pub fn a_batch_beyond_a_limit_is_refused_whole_and_the_store_goes_on(backend: &impl Backend) {
    let store = open(backend);
    let refused = |key: Bytes, value: Option<Bytes>| {
        let mut batch = put(Table::Meta, "beside", "value");
        match value {
            Some(value) => batch.put(Table::Entities, key, value),
            None => batch.remove(Table::Entities, key),
        }
        let error = store.commit(batch, Durability::Fsync).expect_err("a limit is broken");
        assert_eq!(scan_all(&store, Table::Meta), [], "a part of a refused batch was stored");
        assert_eq!(scan_all(&store, Table::Entities), []);
        error
    };
    for key in [Bytes::new(), Bytes::from(vec![b'k'; KEY_BYTES_MAX + 1])] {
        for value in [Some(Bytes::new()), None] {
            let error = refused(key.clone(), value);
            assert!(
                matches!(error, StoreError::KeyLength { table: Table::Entities, bytes } if bytes == key.len()),
                "{error}"
            );
        }
    }
    let error = refused("key".into(), Some(Bytes::from(vec![0; VALUE_BYTES_MAX + 1])));
    assert!(
        matches!(error, StoreError::ValueLength { bytes, .. } if bytes == VALUE_BYTES_MAX + 1),
        "{error}"
    );
    commit(&store, put(Table::Meta, "row", "value"));
}

/// Looking for a key beyond the limits is no error: there is no such row.
pub fn a_key_that_no_row_may_have_is_not_found(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        assert_eq!(get(&store, table, b""), None);
        assert_eq!(get(&store, table, &[b'k'; KEY_BYTES_MAX + 1]), None);
    }
}
