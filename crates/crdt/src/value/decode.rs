use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{MAX_DEPTH, Value, tag};
use crate::{
    dynamic::{AnyKind, DynamicCrdt},
    state,
};

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Nested { depth: 0, is_read_by_people: false }.deserialize(deserializer)
    }
}

/// Decodes a value below `depth` lists and maps.
#[derive(Clone, Copy)]
struct Nested {
    depth: usize,
    /// Whether the format is one that people read, in which CRDTs are tagged. Elsewhere they are extensions, and a
    /// tag could hide how deep they nest.
    is_read_by_people: bool,
}

impl Nested {
    /// How to decode what this list or map contains.
    fn inner<E: Error>(self) -> Result<Nested, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("a value nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(Nested { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let is_read_by_people = deserializer.is_human_readable();
        deserializer.deserialize_any(Nested { is_read_by_people, ..self })
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("null, a bool, a 64-bit number, text, bytes, a list, a map or a CRDT")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E: Error>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int))
    }

    fn visit_u64<E: Error>(self, int: u64) -> Result<Value, E> {
        Ok(Value::from(int))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Value, E> {
        Ok(Value::Float(float))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::from(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Value, D::Error> {
        let crdt = state::Extension(AnyKind).visit_newtype_struct(extension)?;
        Ok(Value::Crdt(Box::new(crdt)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        // No room is reserved by the announced length: a few hostile bytes could announce any.
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut entries = BTreeMap::new();
        while let Some(Key(key)) = map.next_key()? {
            let value = map.next_value_seed(inner)?;
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} occurs twice in a map")));
            }
            entries.insert(key, value);
        }
        if entries.len() > 1 {
            return Ok(Value::Map(entries));
        }
        match entries.pop_first() {
            Some((key, value)) if key.starts_with(tag::SIGIL) => self.untagged(&key, value),
            entry => Ok(Value::Map(entry.into_iter().collect())),
        }
    }
}

impl Nested {
    /// What the only entry of a map says if its key begins with the sigil.
    fn untagged<E: Error>(self, key: &str, value: Value) -> Result<Value, E> {
        let malformed = |wanted: &str| E::custom(format_args!("{key:?} takes {wanted}"));
        let text = value.as_text();
        match key {
            tag::BYTES => {
                let bytes =
                    text.and_then(tag::bytes_of).ok_or_else(|| malformed("pairs of hexadecimal digits"))?;
                Ok(Value::Bytes(bytes))
            }
            tag::FLOAT => {
                let float =
                    text.and_then(tag::float_of).ok_or_else(|| malformed("\"NaN\", \"inf\" or \"-inf\""))?;
                Ok(Value::Float(float))
            }
            tag::CRDT if self.is_read_by_people => {
                let payload =
                    text.and_then(tag::bytes_of).ok_or_else(|| malformed("pairs of hexadecimal digits"))?;
                Ok(Value::Crdt(Box::new(DynamicCrdt::from_payload(&payload).map_err(E::custom)?)))
            }
            _ => match tag::unescaped(key) {
                Some(key) => Ok(Value::Map(BTreeMap::from([(key.to_owned(), value)]))),
                None => {
                    Err(E::custom(format_args!("the tag {key:?} is reserved and unknown to this version")))
                }
            },
        }
    }
}

/// A key of a map: text, and nothing else.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Key;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text as the key of a map")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Key, E> {
                Ok(Key(text))
            }
        }

        // Any, so that a key of another type is named in the error.
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::values;

    fn json(text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn nested_list(levels: usize) -> Value {
        (1..levels).fold(Value::List(vec![]), |inner, _| Value::List(vec![inner]))
    }

    #[test]
    fn json_lacks_bytes_and_some_floats_so_they_are_tagged() {
        let value = crate::value!({ "b": (vec![0u8, 255]), "f": (f64::NAN), "i": (f64::NEG_INFINITY) });
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(text, r#"{"b":{"!bytes":"00ff"},"f":{"!float":"NaN"},"i":{"!float":"-inf"}}"#);
        assert_eq!(json(&text), Ok(value));
    }

    #[test]
    fn a_map_that_looks_tagged_is_escaped() {
        let value = crate::value!({ "!bytes": "not bytes" });
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(text, r#"{"!!bytes":"not bytes"}"#);
        assert_eq!(json(&text), Ok(value));
    }

    #[test]
    fn tags_are_strict() {
        for text in [r#"{"!bytes":"0"}"#, r#"{"!bytes":7}"#, r#"{"!bytes":"zz"}"#, r#"{"!float":"1"}"#] {
            assert!(json(text).unwrap_err().contains("takes"), "{text}");
        }
        assert!(json(r#"{"!new":1}"#).unwrap_err().contains("reserved"));
    }

    #[test]
    fn keys_are_text_and_occur_once() {
        // fixmap of one entry: 1 => 2.
        let error = rmp_serde::from_slice::<Value>(&[0x81, 0x01, 0x02]).unwrap_err().to_string();
        assert!(error.contains("text as the key"), "{error}");
        assert!(json(r#"{"a":1,"a":2}"#).unwrap_err().contains("twice"));
    }

    #[test]
    fn numbers_beyond_64_bits_become_floats_in_json() {
        assert_eq!(json("18446744073709551615"), Ok(Value::UInt(u64::MAX)));
        assert_eq!(json("-9223372036854775808"), Ok(Value::Int(i64::MIN)));
        assert_eq!(json("18446744073709551616"), Ok(Value::Float(18_446_744_073_709_551_616.0)));
    }

    #[test]
    fn sixty_four_levels_pass_and_one_more_does_not() {
        let deepest = nested_list(MAX_DEPTH);
        let bytes = rmp_serde::to_vec_named(&deepest).unwrap();
        assert_eq!(rmp_serde::from_slice::<Value>(&bytes).unwrap(), deepest);

        let error = rmp_serde::to_vec_named(&nested_list(MAX_DEPTH + 1)).unwrap_err().to_string();
        assert!(error.contains("deeper than 64"), "{error}");
    }

    #[test]
    fn hostile_depth_is_an_error_and_not_an_overflow() {
        // A million lists of one element, each in the one before; then maps {"": ...}.
        for level in [&[0x91][..], &[0x81, 0xa0]] {
            let error = rmp_serde::from_slice::<Value>(&level.repeat(1_000_000)).unwrap_err().to_string();
            assert!(error.contains("deeper than 64"), "{error}");
        }
        assert!(json(&"[".repeat(1_000_000)).unwrap_err().contains("deeper than 64"));
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        // array32 of 2^32 - 1 elements, of which none follow.
        assert!(rmp_serde::from_slice::<Value>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    proptest! {
        #[test]
        fn json_round_trips(value in values()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{}", text);
        }

        #[test]
        fn message_pack_round_trips(value in values()) {
            let bytes = rmp_serde::to_vec_named(&value).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Value>(&bytes).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = rmp_serde::from_slice::<Value>(&bytes);
        }
    }
}
