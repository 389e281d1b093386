//! How long keys and values may be. The limits are the same in every backend, so that a replica may change its
//! backend without finding that it holds rows which the new one refuses.

use crate::{Batch, StoreError};

/// The longest key, in bytes: what the length field of a log-structured backend can hold. The shortest has one.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The longest value, in bytes: 64 MiB. The shortest is empty.
pub const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks every change of a batch. A backend calls it before it stores anything.
///
/// # Errors
///
/// [`StoreError::KeyLength`] or [`StoreError::ValueLength`] for the first change that breaks a limit.
pub fn check(batch: &Batch) -> Result<(), StoreError> {
    for change in batch.changes() {
        let table = change.table;
        if !is_key(&change.key) {
            return Err(StoreError::KeyLength { table, bytes: change.key.len() });
        }
        let value_bytes = change.value.as_ref().map_or(0, |value| value.len());
        if value_bytes > VALUE_BYTES_MAX {
            return Err(StoreError::ValueLength { table, bytes: value_bytes });
        }
    }
    Ok(())
}

/// True if a row may have this key. A read of a key that no row may have finds nothing.
pub fn is_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}
