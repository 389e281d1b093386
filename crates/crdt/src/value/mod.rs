//! The dynamic value that replicated records are made of.

use std::collections::BTreeMap;

use crate::dynamic::DynamicCrdt;

mod convert;
mod decode;
mod display;
mod encode;
mod order;
mod tag;

pub(crate) use encode::serialize_crdt;

/// How deep lists and maps may nest in an encoded [`Value`]: `[[1]]` has two levels.
///
/// Decoding refuses more, so that hostile input cannot overflow the stack, and so does encoding, so that what one
/// replica can write the others can read.
pub const MAX_DEPTH: usize = 64;

/// A value whose type is known only at run time: what JSON can say, and bytes, and every 64-bit integer.
///
/// # Equality and order
///
/// Two values are equal exactly when their encodings are, and there is a total order, so that replicas can break
/// ties by value. Kinds compare in the order of the variants; then
///
/// - integers by what they number: `UInt(5)` *is* `Int(5)`. [`From`] and decoding use `Int` wherever it fits;
/// - floats by [`f64::total_cmp`], with all NaNs made one: `-0.0` is less than and unequal to `0.0`, and NaN
///   equals itself and is greater than infinity. An integer never equals a float: `1` is not `1.0`;
/// - text by its bytes in UTF-8, lists element by element, maps entry by entry in the order of their keys;
/// - CRDTs by kind and canonical encoding, which has nothing to do with the order of their states.
///
/// # Encoding
///
/// As itself in any self-describing format of serde, in particular JSON and MessagePack, and the round trip is
/// the identity. What JSON lacks is written as a map of one entry whose key begins with `!`:
/// `{"!bytes":"00ff"}` in hexadecimal, `{"!float":"NaN"}`, `"inf"`, `"-inf"`, and `{"!crdt":"..."}` with the payload
/// of its extension in hexadecimal; [`readable`](Value::readable) gives what a CRDT amounts to instead. A map that happens to look like
/// that has its key escaped by one more `!`, in every format: `{"!!bytes":"not bytes"}`. Other such keys are
/// reserved for later versions, and decoding refuses them.
///
/// Decoding refuses more than [`MAX_DEPTH`] levels, a key that is not text, and a key that occurs twice. It does
/// not limit lengths: whoever reads from the network limits the input. A JSON reader should enable serde_json's
/// `float_roundtrip`, without which it may read floats one bit off.
///
/// ```
/// use archipelago_crdt::{Value, value};
///
/// let alice = value!({ "name": "Alice", "age": 30, "tags": ["admin", null] });
/// assert_eq!(alice.get("name").and_then(Value::as_text), Some("Alice"));
/// assert_eq!(alice.to_string(), r#"{"age":30,"name":"Alice","tags":["admin",null]}"#);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, said explicitly.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer too large for [`Value::Int`]. A smaller one equals the `Int` of the same number.
    UInt(u64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
    /// A CRDT.
    Crdt(Box<DynamicCrdt>),
}

impl Value {
    /// What kind of value this is, in a word for messages: "null", "bool", "integer", "float", "text", "bytes",
    /// "list", "map", or "crdt:" with the name of its [`Kind`](crate::Kind).
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::UInt(_) => "integer",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Crdt(crdt) => crdt.kind().name(),
        }
    }

    /// Whether this is [`Value::Null`].
    pub const fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The boolean, if this is one.
    pub const fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(bool) = self { Some(*bool) } else { None }
    }

    /// The integer, if this is one and it fits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(int) => Some(*int),
            Value::UInt(int) => i64::try_from(*int).ok(),
            _ => None,
        }
    }

    /// The integer, if this is one and it is not negative.
    pub fn as_uint(&self) -> Option<u64> {
        match self {
            Value::Int(int) => u64::try_from(*int).ok(),
            Value::UInt(int) => Some(*int),
            _ => None,
        }
    }

    /// The floating point number, if this is one. Integers are not converted.
    pub const fn as_float(&self) -> Option<f64> {
        if let Value::Float(float) = self { Some(*float) } else { None }
    }

    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, if this is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(elements) = self { Some(elements) } else { None }
    }

    /// The entries, if this is a map.
    pub const fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        if let Value::Map(entries) = self { Some(entries) } else { None }
    }

    /// The CRDT, if this is one.
    pub fn as_crdt(&self) -> Option<&DynamicCrdt> {
        if let Value::Crdt(crdt) = self { Some(crdt) } else { None }
    }

    /// The value under `field`, if this is a map and has it.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.as_map()?.get(field)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value, with the awkward ones likely.
    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let floats = prop_oneof![
            any::<f64>(),
            Just(f64::NAN),
            Just(-f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(0.0),
            Just(-0.0),
            Just(1.0),
            Just(1e20)
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-3..3i64).prop_map(Value::Int),
            any::<i64>().prop_map(Value::Int),
            (0..3u64).prop_map(Value::UInt),
            any::<u64>().prop_map(Value::UInt),
            floats.prop_map(Value::Float),
            ".{0,6}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..6).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof!["[a-c]", "!(bytes|float|map|x)?", ".{0,3}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                proptest::collection::btree_map(key, inner, 0..3).prop_map(Value::Map),
            ]
        })
    }

    #[test]
    fn accessors_give_what_the_value_is_and_nothing_else() {
        let record =
            crate::value!({ "name": "Alice", "age": 30, "score": 1.5, "active": true, "none": null });
        assert_eq!(record.get("name").and_then(Value::as_text), Some("Alice"));
        assert_eq!(record.get("age").and_then(Value::as_int), Some(30));
        assert_eq!(record.get("age").and_then(Value::as_float), None);
        assert_eq!(record.get("score").and_then(Value::as_float), Some(1.5));
        assert_eq!(record.get("active").and_then(Value::as_bool), Some(true));
        assert!(record.get("none").is_some_and(Value::is_null));
        assert_eq!(record.get("phone"), None);
        assert_eq!(Value::Null.get("name"), None);
    }

    #[test]
    fn integers_convert_only_where_they_fit() {
        assert_eq!(Value::from(u64::MAX).as_int(), None);
        assert_eq!(Value::from(u64::MAX).as_uint(), Some(u64::MAX));
        assert_eq!(Value::from(-1).as_uint(), None);
        assert_eq!(Value::UInt(5).as_int(), Some(5));
    }
}
