use std::fmt;

use serde::{Deserializer, Serializer, de};

use super::{runs::TextRuns, update};
use crate::encoding::{DeserializeState, SerializeState};

/// One update of Yjs: bytes, or hexadecimal in formats that people read.
impl SerializeState for TextRuns {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let update = update::encode(self, update::ROOT);
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&update);
        }
        let digits = update.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        let hex: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        serializer.serialize_str(&hex)
    }
}

impl<'de> DeserializeState<'de> for TextRuns {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Update)
        } else {
            deserializer.deserialize_bytes(Update)
        }
    }
}

struct Update;

impl de::Visitor<'_> for Update {
    type Value = TextRuns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an update of Yjs")
    }

    fn visit_bytes<E: de::Error>(self, update: &[u8]) -> Result<TextRuns, E> {
        update::decode(update, update::ROOT).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, hex: &str) -> Result<TextRuns, E> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        });
        let update: Option<Vec<u8>> = pairs.collect();
        self.visit_bytes(&update.ok_or_else(|| E::custom("an update of Yjs is pairs of hexadecimal digits"))?)
    }
}
