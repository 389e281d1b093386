//! What replicated types need in order to carry their kind and to decode strictly.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

pub use crate::state::{DeserializeState, SerializeState, State};

/// Decodes a map and refuses a repeated key, of which an ordinary map would silently keep the last.
///
/// Fit for `#[serde(deserialize_with = "archipelago_crdt::encoding::map_of_unique_keys")]`.
///
/// # Errors
/// Whatever the format finds wrong, and a key that occurs twice.
pub fn map_of_unique_keys<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct UniqueKeys<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for UniqueKeys<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<Self::Value, M::Error> {
            // In order they come as this crate writes them, and a tree of what is in order needs no searching.
            const AHEAD_MAX: usize = 1_024;
            let mut ascending: Vec<(K, V)> =
                Vec::with_capacity(entries.size_hint().map_or(0, |hint| hint.min(AHEAD_MAX)));
            while let Some(entry) = entries.next_entry()? {
                ascending.push(entry);
            }
            let given = ascending.len();
            let map = BTreeMap::from_iter(ascending);
            if map.len() < given {
                return Err(M::Error::custom("a key occurs twice in a map"));
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(UniqueKeys(PhantomData))
}
