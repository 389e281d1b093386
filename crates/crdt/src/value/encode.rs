use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap, SerializeSeq},
};

use super::{MAX_DEPTH, Value, order::canonical, tag};
use crate::{dynamic::DynamicCrdt, state};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested { value: self, depth: 0 }.serialize(serializer)
    }
}

/// A value below `depth` lists and maps.
struct Nested<'a> {
    value: &'a Value,
    depth: usize,
}

impl Nested<'_> {
    /// The depth of what this list or map contains.
    fn inner_depth<E: Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("a value nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(self.depth + 1)
    }
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Int(int) => serializer.serialize_i64(*int),
            Value::UInt(int) => serializer.serialize_u64(*int),
            Value::Float(float) if !float.is_finite() && serializer.is_human_readable() => {
                tagged(tag::FLOAT, tag::float_word(*float), serializer)
            }
            Value::Float(float) => serializer.serialize_f64(canonical(*float)),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) if serializer.is_human_readable() => {
                tagged(tag::BYTES, &tag::hex(bytes), serializer)
            }
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::List(elements) => {
                let depth = self.inner_depth()?;
                let mut list = serializer.serialize_seq(Some(elements.len()))?;
                for value in elements {
                    list.serialize_element(&Nested { value, depth })?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let depth = self.inner_depth()?;
                let only_key = entries.keys().next().filter(|_| entries.len() == 1);
                let escaped = only_key.and_then(|key| tag::escaped(key));
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(escaped.as_deref().unwrap_or(key), &Nested { value, depth })?;
                }
                map.end()
            }
            Value::Crdt(crdt) => serialize_crdt(crdt, serializer),
        }
    }
}

/// A CRDT as its extension, or in formats that people read, tagged.
pub(crate) fn serialize_crdt<S: Serializer>(crdt: &DynamicCrdt, serializer: S) -> Result<S::Ok, S::Error> {
    let payload = crdt.payload().map_err(S::Error::custom)?;
    if serializer.is_human_readable() {
        tagged(tag::CRDT, &tag::hex(&payload), serializer)
    } else {
        state::serialize_payload(&payload, serializer)
    }
}

fn tagged<S: Serializer>(tag: &'static str, content: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, content)?;
    map.end()
}
