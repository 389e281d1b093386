//! Values: what users store, as MessagePack.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    DecodeError, EncodeError, FieldName, Limits,
    reader::{Reader, malformed, within},
    writer::Writer,
};

/// Encodes a value; structs become maps from the names of their fields.
///
/// # Errors
/// [`EncodeError::Unrepresentable`] if the value cannot be MessagePack; [`EncodeError::OverLimit`] naming
/// `value_bytes_max` or `value_depth_max`.
pub fn encode_value<T: Serialize + ?Sized>(value: &T, limits: &Limits) -> Result<Bytes, EncodeError> {
    let bytes = rmp_serde::to_vec_named(value)
        .map_err(|error| EncodeError::Unrepresentable { reason: error.to_string() })?;
    let over = |limit, found: usize, max: usize| EncodeError::OverLimit {
        limit,
        found: found as u64,
        max: max as u64,
    };
    if bytes.len() > limits.value_bytes_max {
        return Err(over("value_bytes_max", bytes.len(), limits.value_bytes_max));
    }
    let bytes = Bytes::from(bytes);
    check_value(&bytes, limits).map_err(|error| match error {
        DecodeError::OverLimit { limit, found, max } => EncodeError::OverLimit { limit, found, max },
        other => EncodeError::Unrepresentable { reason: other.to_string() },
    })?;
    Ok(bytes)
}

/// Whether the bytes are exactly one MessagePack value within the limits.
///
/// # Errors
/// [`DecodeError::Malformed`], or [`DecodeError::OverLimit`] naming `value_bytes_max` or `value_depth_max`.
pub fn check_value(value: &Bytes, limits: &Limits) -> Result<(), DecodeError> {
    within("value_bytes_max", value.len(), limits.value_bytes_max)?;
    let mut reader = Reader::new(&value[..]);
    reader.skip_within("value", limits.value_depth_max)?;
    if reader.is_at_end() { Ok(()) } else { Err(malformed("value", "bytes follow its end")) }
}

/// Decodes a value, which another replica may have written with other types in mind.
///
/// # Errors
/// [`DecodeError::Malformed`] if the bytes are not a `T`; [`DecodeError::OverLimit`] naming `value_depth_max`.
pub fn decode_value<T: DeserializeOwned>(value: &Bytes, limits: &Limits) -> Result<T, DecodeError> {
    // Checked here without recursion, because the deserializer recurses once a level.
    check_value(value, limits)?;
    rmp_serde::from_slice(value).map_err(|error| malformed("value", error))
}

/// The fields of a value that is a map with text keys, in the order in which they are stored; `None` for every other
/// value.
///
/// # Errors
/// [`DecodeError`] if the value is broken, has a field twice, or is over `fields_max` or `field_name_bytes_max`.
pub fn split_fields(value: &Bytes, limits: &Limits) -> Result<Option<Vec<(FieldName, Bytes)>>, DecodeError> {
    let mut reader = Reader::new(value.clone());
    if !reader.is_at_map("value")? {
        return Ok(None);
    }
    let len = reader.map("value")?;
    within("fields_max", len, limits.fields_max)?;
    let mut fields: Vec<(FieldName, Bytes)> = Vec::with_capacity(len);
    for _ in 0..len {
        if !reader.is_at_text("field name")? {
            return Ok(None);
        }
        let name = reader.text("field name", "field_name_bytes_max", limits.field_name_bytes_max)?;
        let start = reader.at();
        reader.skip_within("field", limits.value_depth_max)?;
        fields.push((name, reader.since(start)));
    }
    let mut names: Vec<&FieldName> = fields.iter().map(|(name, _)| name).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(malformed("value", "the same field twice"));
    }
    Ok(Some(fields))
}

/// The map value with these fields, each an encoded value.
pub fn join_fields<'a>(fields: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>) -> Bytes {
    let mut writer = Writer::default();
    writer.map(fields.len());
    for (name, value) in fields {
        writer.text(name);
        writer.raw(value);
    }
    writer.into_vec().into()
}
