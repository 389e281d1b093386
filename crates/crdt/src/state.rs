use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeSeed, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer, UnitDeserializer},
    },
    ser,
};

use crate::{Kind, dynamic::DynamicError, extension};

/// How a CRDT writes its state, where its kind is known from elsewhere.
///
/// `Serialize` of the types of this crate is this in formats that people read, and elsewhere a MessagePack extension
/// with the kind and this in it.
pub trait SerializeState {
    /// Serializes the state alone.
    ///
    /// # Errors
    /// Those of the format.
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// How a CRDT is read from what [`SerializeState`] wrote.
pub trait DeserializeState<'de>: Sized {
    /// Deserializes the state alone.
    ///
    /// # Errors
    /// Those of the format, and whatever is not a state of this type.
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// The state of a CRDT alone, for serde: how a type that is made of CRDTs writes its parts.
#[derive(Clone, Copy, Debug)]
pub struct State<C>(pub C);

impl<C: SerializeState> Serialize for State<&C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_state(serializer)
    }
}

impl<'de, C: DeserializeState<'de>> Deserialize<'de> for State<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        C::deserialize_state(deserializer).map(State)
    }
}

/// Serializes a CRDT with its kind where nobody reads it, and its state alone where somebody does or it has none.
pub(crate) fn serialize<C: SerializeState, S: Serializer>(
    crdt: &C,
    kind: Option<Kind>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match kind.filter(|_| !serializer.is_human_readable()) {
        Some(kind) => {
            let payload = payload(&State(crdt), &kind).map_err(ser::Error::custom)?;
            serialize_payload(&payload, serializer)
        }
        None => crdt.serialize_state(serializer),
    }
}

/// Deserializes what [`serialize`] wrote, of that kind and no other.
pub(crate) fn deserialize<'de, C: DeserializeState<'de>, D: Deserializer<'de>>(
    kind: Option<Kind>,
    deserializer: D,
) -> Result<C, D::Error> {
    let Some(kind) = kind else { return C::deserialize_state(deserializer) };
    let expected = StateOfKind { kind, crdt: PhantomData };
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(StateOrExtension(expected))
    } else {
        deserialize_payload(expected, deserializer)
    }
}

/// Reads a state from a format that people read, or from what serde buffers of any format for flattened structs and
/// for enums with a tag inside or none: that claims to be such a format and may hold an extension.
struct StateOrExtension<C>(StateOfKind<C>);

impl<'de, C: DeserializeState<'de>> Visitor<'de> for StateOrExtension<C> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state of a CRDT of kind {}", self.0.kind)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<C, M::Error> {
        C::deserialize_state(MapAccessDeserializer::new(map))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, list: S) -> Result<C, S::Error> {
        C::deserialize_state(SeqAccessDeserializer::new(list))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<C, E> {
        C::deserialize_state(StrDeserializer::new(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<C, E> {
        C::deserialize_state(UnitDeserializer::new())
    }

    fn visit_none<E: de::Error>(self) -> Result<C, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<C, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, pair: D) -> Result<C, D::Error> {
        Extension(self.0).visit_newtype_struct(pair)
    }
}

/// The payload of the extension for a state.
pub(crate) fn payload(state: &impl Serialize, kind: &Kind) -> Result<Vec<u8>, DynamicError> {
    let mut payload = extension::begin(kind)?;
    let mut serializer = rmp_serde::Serializer::new(&mut payload).with_struct_map();
    state
        .serialize(&mut serializer)
        .map_err(|error| DynamicError::Malformed { kind: kind.to_string(), reason: error.to_string() })?;
    extension::finish(&payload)?;
    Ok(payload)
}

/// Serializes a finished payload as the extension.
pub(crate) fn serialize_payload<S: Serializer>(payload: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let extension = (extension::EXTENSION_TYPE, Bytes(payload));
    serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &extension)
}

/// Deserializes the extension and shows its payload to `payload`.
pub(crate) fn deserialize_payload<'de, P: FromPayload<'de>, D: Deserializer<'de>>(
    payload: P,
    deserializer: D,
) -> Result<P::Crdt, D::Error> {
    deserializer.deserialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, Extension(payload))
}

/// What is made of a payload.
pub(crate) trait FromPayload<'de> {
    type Crdt;

    fn borrowed(self, payload: &'de [u8]) -> Result<Self::Crdt, String>;

    fn copied(self, payload: &[u8]) -> Result<Self::Crdt, String>;
}

/// Bytes that serialize as bytes and not as a list of numbers.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct StateOfKind<C> {
    kind: Kind,
    crdt: PhantomData<C>,
}

impl<C> StateOfKind<C> {
    fn open<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], String> {
        let (kind, state) = extension::open(payload).map_err(|error| error.to_string())?;
        if kind == self.kind {
            Ok(state)
        } else {
            Err(format!("a CRDT of kind {kind} in place of {}", self.kind))
        }
    }
}

impl<'de, C: DeserializeState<'de>> FromPayload<'de> for StateOfKind<C> {
    type Crdt = C;

    fn borrowed(self, payload: &'de [u8]) -> Result<C, String> {
        let mut state = rmp_serde::Deserializer::from_read_ref(self.open(payload)?);
        C::deserialize_state(&mut state).map_err(|error| error.to_string())
    }

    fn copied(self, payload: &[u8]) -> Result<C, String> {
        let mut state = rmp_serde::Deserializer::new(self.open(payload)?);
        C::deserialize_state(&mut state).map_err(|error| error.to_string())
    }
}

/// Reads the pair of type code and payload that an extension is for serde.
pub(crate) struct Extension<P>(pub(crate) P);

impl<'de, P: FromPayload<'de>> Visitor<'de> for Extension<P> {
    type Value = P::Crdt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a CRDT as the MessagePack extension {}", extension::EXTENSION_TYPE)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, pair: D) -> Result<P::Crdt, D::Error> {
        pair.deserialize_tuple(2, self)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut pair: S) -> Result<P::Crdt, S::Error> {
        let type_code: i8 = pair.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        if type_code != extension::EXTENSION_TYPE {
            return Err(de::Error::custom(format_args!(
                "the MessagePack extension {type_code} is not a CRDT"
            )));
        }
        pair.next_element_seed(Payload(self.0))?.ok_or_else(|| de::Error::custom("a CRDT without a payload"))
    }
}

struct Payload<P>(P);

impl<'de, P: FromPayload<'de>> DeserializeSeed<'de> for Payload<P> {
    type Value = P::Crdt;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<P::Crdt, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de, P: FromPayload<'de>> Visitor<'de> for Payload<P> {
    type Value = P::Crdt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload of a CRDT")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, payload: &'de [u8]) -> Result<P::Crdt, E> {
        self.0.borrowed(payload).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, payload: &[u8]) -> Result<P::Crdt, E> {
        self.0.copied(payload).map_err(E::custom)
    }
}

/// Implements serde's traits for a type by its state traits and its kind.
macro_rules! carry_kind {
    ([$($generics:tt)*] $type:ty, $kind:expr) => {
        impl<$($generics)*> serde::Serialize for $type
        where
            Self: $crate::encoding::SerializeState,
        {
            fn serialize<Serializer: serde::Serializer>(
                &self,
                serializer: Serializer,
            ) -> Result<Serializer::Ok, Serializer::Error> {
                $crate::state::serialize(self, $kind, serializer)
            }
        }

        impl<'de, $($generics)*> serde::Deserialize<'de> for $type
        where
            Self: $crate::encoding::DeserializeState<'de>,
        {
            fn deserialize<Deserializer: serde::Deserializer<'de>>(
                deserializer: Deserializer,
            ) -> Result<Self, Deserializer::Error> {
                $crate::state::deserialize($kind, deserializer)
            }
        }
    };
}

pub(crate) use carry_kind;
