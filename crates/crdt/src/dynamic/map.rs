use std::fmt;

use archipelago_clock::{CausalContext, ReplicaId};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct,
};

use super::store::{DynamicStore, StoresOfKind};
use crate::{Causal, Crdt, DeltaCrdt, Kind, Value, dot_map::DotMap};

type Map = Causal<DotMap<Value, DynamicStore>>;

/// An [`OrMap`](crate::OrMap) with values of a kind that is known only at run time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DynamicMap {
    /// The kind of the values. Invariant: every store in the map is of that kind.
    values: Kind,
    map: Map,
}

impl DynamicMap {
    pub(super) fn kind(&self) -> Kind {
        Kind::OrMap(Box::new(self.values.clone()))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Value, &DynamicStore)> {
        self.map.iter()
    }

    pub(super) fn decode<'de, D: Deserializer<'de>>(values: Kind, deserializer: D) -> Result<Self, D::Error> {
        let map =
            deserializer.deserialize_struct("Causal", &["store", "context"], MapOf { values: &values })?;
        Ok(DynamicMap { values, map })
    }

    /// Whether both hold values of one kind and could be merged.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let same = self.values == other.values;
        if same {
            self.map.merge(&other.map);
        }
        same
    }

    /// The delta, if both hold values of one kind.
    pub(super) fn delta_since(&self, since: &Self) -> Option<Option<Self>> {
        let delta = || self.map.delta_since(&since.map);
        let wrap = |map| DynamicMap { values: self.values.clone(), map };
        (self.values == since.values).then(|| delta().map(wrap))
    }
}

impl Serialize for DynamicMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Causal", 2)?;
        fields.serialize_field("store", &Stores(&self.map.store))?;
        fields.serialize_field("context", &self.map.context)?;
        fields.end()
    }
}

/// The stores of a map by key.
pub(super) struct Stores<'a>(pub(super) &'a DotMap<Value, DynamicStore>);

impl Serialize for Stores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// Reads a map with values of a kind.
struct MapOf<'a> {
    values: &'a Kind,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Store,
    Context,
}

impl<'de> Visitor<'de> for MapOf<'_> {
    type Value = Map;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store and context of a map of {}", self.values)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Map, M::Error> {
        let (mut store, mut context) = (None, None);
        while let Some(field) = fields.next_key()? {
            let twice = match field {
                Field::Store => {
                    store.replace(fields.next_value_seed(StoresOf { values: self.values })?).is_some()
                }
                Field::Context => context.replace(fields.next_value()?).is_some(),
            };
            if twice {
                return Err(M::Error::custom("a field occurs twice"));
            }
        }
        let store = store.ok_or_else(|| M::Error::missing_field("store"))?;
        let context = context.ok_or_else(|| M::Error::missing_field("context"))?;
        Causal::from_parts(store, context).map_err(M::Error::custom)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut fields: S) -> Result<Map, S::Error> {
        let store = fields.next_element_seed(StoresOf { values: self.values })?;
        let store = store.ok_or_else(|| S::Error::invalid_length(0, &self))?;
        let context: Option<CausalContext<ReplicaId>> = fields.next_element()?;
        let context = context.ok_or_else(|| S::Error::invalid_length(1, &self))?;
        Causal::from_parts(store, context).map_err(S::Error::custom)
    }
}

/// Reads the stores of a map with values of a kind.
pub(super) struct StoresOf<'a> {
    pub(super) values: &'a Kind,
}

impl<'de> DeserializeSeed<'de> for StoresOf<'_> {
    type Value = DotMap<Value, DynamicStore>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StoresOf<'_> {
    type Value = DotMap<Value, DynamicStore>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of the stores of {}", self.values)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value_seed(StoresOfKind(self.values))?));
        }
        DotMap::from_entries(entries).ok_or_else(|| M::Error::custom("a key twice or without a dot"))
    }
}
