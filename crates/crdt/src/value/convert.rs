use std::collections::BTreeMap;

use super::Value;
use crate::dynamic::DynamicCrdt;

macro_rules! from_signed {
    ($($int:ty),*) => {$(
        impl From<$int> for Value {
            fn from(int: $int) -> Self {
                Value::Int(int.into())
            }
        }
    )*};
}
from_signed!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Value {
    fn from(int: u64) -> Self {
        i64::try_from(int).map_or(Value::UInt(int), Value::Int)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Value::Bool(bool)
    }
}

impl From<f32> for Value {
    fn from(float: f32) -> Self {
        Value::Float(float.into())
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Value::Float(float)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(bytes.to_owned())
    }
}

/// Bytes, not a list of small integers.
impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Bytes(bytes)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Self {
        Value::List(elements)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(entries: BTreeMap<String, Value>) -> Self {
        Value::Map(entries)
    }
}

impl From<DynamicCrdt> for Value {
    fn from(crdt: DynamicCrdt) -> Self {
        Value::Crdt(Box::new(crdt))
    }
}

/// `None` is [`Value::Null`].
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Self {
        option.map_or(Value::Null, Into::into)
    }
}

/// A list of the elements.
impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Value::List(elements.into_iter().map(Into::into).collect())
    }
}

/// A map of the entries; of those with the same key, the last.
impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// A map of the entries; of those with the same key, the last.
impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Value {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// Writes a [`Value`] the way JSON would: `value!({ "name": "Alice", "tags": ["a", 1, null] })`.
///
/// Keys are literals; anything longer than one token inside a list or map stands in parentheses: `[(-1), (x + y)]`.
/// An expression is converted by [`From`].
#[macro_export]
macro_rules! value {
    (null) => { $crate::Value::Null };
    ([ $($element:tt),* $(,)? ]) => { $crate::Value::List(::std::vec![$($crate::value!($element)),*]) };
    ({ $($key:literal : $field:tt),* $(,)? }) => {
        $crate::Value::Map(::std::collections::BTreeMap::from([
            $((::std::string::String::from($key), $crate::value!($field))),*
        ]))
    };
    ($expression:expr) => { $crate::Value::from($expression) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_integers_take_the_canonical_variant() {
        assert!(matches!(Value::from(5u64), Value::Int(5)));
        assert!(matches!(Value::from(u64::MAX), Value::UInt(u64::MAX)));
    }

    #[test]
    fn bytes_are_bytes_and_lists_are_lists() {
        assert!(matches!(Value::from(vec![1u8]), Value::Bytes(_)));
        assert_eq!([1, 2].into_iter().collect::<Value>(), value!([1, 2]));
        assert_eq!(Value::from([("a", 1), ("b", 2)]), value!({ "a": 1, "b": 2 }));
        assert_eq!(Value::from(None::<i32>), Value::Null);
    }

    #[test]
    fn the_macro_nests_and_takes_expressions() {
        let n = 2;
        let written = value!({ "list": [n, (n + 1), (-1), null, {}], "map": { "deep": [] }, });
        assert_eq!(written.to_string(), r#"{"list":[2,3,-1,null,{}],"map":{"deep":[]}}"#);
    }
}
