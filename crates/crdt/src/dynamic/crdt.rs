use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error};

use super::{DynamicError, KindMismatch, map::DynamicMap, stamp::Stamp};
use crate::{
    BoundedCounter, Crdt, DeltaCrdt, DwFlag, EwFlag, GCounter, GSet, Kind, List, LwwMap, LwwRegister,
    MaxRegister, MinRegister, MvRegister, OrSet, PnCounter, RwSet, TwoPhaseSet, Value,
    encoding::{DeserializeState, State},
    extension,
    state::{self, FromPayload},
    text::TextRuns,
};

/// A CRDT of any [`Kind`], over [`Value`]s and with [`ReplicaId`](archipelago_clock::ReplicaId)s as actors.
///
/// In MessagePack it is the same extension value as the typed CRDTs are; in formats that people read, the map
/// `{"!crdt":"..."}` of the payload in hexadecimal, as in a [`Value`]. What people want to read is
/// [`value`](DynamicCrdt::value).
///
/// Two are equal exactly when their canonical encodings are. They are ordered by these, which means nothing but that
/// values that contain them have a total order.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicCrdt {
    pub(super) typed: Typed,
}

macro_rules! typed {
    ($($kind:ident($type:ty),)*) => {
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "one more allocation for each map costs more than the room")]
        pub(super) enum Typed {
            $($kind($type),)*
            OrMap(DynamicMap),
        }

        impl Typed {
            fn kind(&self) -> Kind {
                match self {
                    $(Typed::$kind(_) => Kind::$kind,)*
                    Typed::OrMap(map) => map.kind(),
                }
            }

            fn decode(kind: Kind, state: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
                let mut deserializer = rmp_serde::Deserializer::from_read_ref(state);
                match kind {
                    $(Kind::$kind => <$type>::deserialize_state(&mut deserializer).map(Typed::$kind),)*
                    Kind::OrMap(values) => DynamicMap::decode(*values, &mut deserializer).map(Typed::OrMap),
                }
            }

            fn payload(&self) -> Result<Vec<u8>, DynamicError> {
                match self {
                    $(Typed::$kind(crdt) => state::payload(&State(crdt), &self.kind()),)*
                    Typed::OrMap(map) => state::payload(map, &self.kind()),
                }
            }

            /// Whether both are of one kind and could be merged.
            fn merge(&mut self, other: &Self) -> bool {
                match (self, other) {
                    $((Typed::$kind(ours), Typed::$kind(theirs)) => ours.merge(theirs),)*
                    (Typed::OrMap(ours), Typed::OrMap(theirs)) => return ours.merge(theirs),
                    _ => return false,
                }
                true
            }

            /// The delta, if both are of one kind.
            fn delta_since(&self, since: &Self) -> Option<Option<Self>> {
                match (self, since) {
                    $((Typed::$kind(ours), Typed::$kind(theirs)) => {
                        Some(ours.delta_since(theirs).map(Typed::$kind))
                    })*
                    (Typed::OrMap(ours), Typed::OrMap(theirs)) => {
                        ours.delta_since(theirs).map(|delta| delta.map(Typed::OrMap))
                    }
                    _ => None,
                }
            }
        }
    };
}

typed! {
    GCounter(GCounter),
    PnCounter(PnCounter),
    BoundedCounter(BoundedCounter),
    GSet(GSet<Value>),
    TwoPhaseSet(TwoPhaseSet<Value>),
    OrSet(OrSet<Value>),
    RwSet(RwSet<Value>),
    LwwRegister(LwwRegister<Value, Stamp>),
    MvRegister(MvRegister<Value>),
    MaxRegister(MaxRegister<Value>),
    MinRegister(MinRegister<Value>),
    EwFlag(EwFlag),
    DwFlag(DwFlag),
    LwwMap(LwwMap<Value, Value, Stamp>),
    List(List<Value>),
    Text(TextRuns),
}

impl DynamicCrdt {
    /// Decodes one MessagePack value.
    ///
    /// # Errors
    /// [`DynamicError`] if it is not a CRDT, or not one of which this release knows the kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, DynamicError> {
        DynamicCrdt::from_payload(extension::payload_of(bytes).ok_or(DynamicError::NotACrdt)?)
    }

    /// Forgets the removals of which this state has seen everything.
    pub(super) fn forget(&mut self) {
        match &mut self.typed {
            Typed::RwSet(set) => drop(set.forget_stable(&set.context().clock().clone())),
            Typed::List(list) => drop(list.forget_stable(&list.context().clock().clone())),
            _ => {}
        }
    }

    /// Encodes the canonical MessagePack value: equal states give equal bytes.
    ///
    /// # Errors
    /// [`DynamicError::TooLong`], where merging has made the state so long. What was decoded can be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, DynamicError> {
        Ok(extension::wrap(&self.payload()?)?)
    }

    /// The same state without its type.
    ///
    /// # Errors
    /// [`DynamicError`] if the dynamic layer does not understand it; see the [module](crate::dynamic).
    pub fn from_typed<C: Crdt + Serialize>(crdt: &C) -> Result<Self, DynamicError> {
        DynamicCrdt::decode(&rmp_serde::to_vec_named(crdt).map_err(|error| malformed(C::kind(), error))?)
    }

    /// The same state with its type.
    ///
    /// # Errors
    /// [`DynamicError::Malformed`] if it is not a `C`.
    pub fn to_typed<C: Crdt + DeserializeOwned>(&self) -> Result<C, DynamicError> {
        rmp_serde::from_slice(&self.encode()?).map_err(|error| malformed(C::kind(), error))
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        self.typed.kind()
    }

    /// Joins `other` into this state.
    ///
    /// # Errors
    /// [`KindMismatch`]; the state is unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), KindMismatch> {
        if self.typed.merge(&other.typed) { Ok(()) } else { Err(self.mismatch(other)) }
    }

    /// What this state knows and `since` does not, or `None` if `since` covers it.
    ///
    /// # Errors
    /// [`KindMismatch`].
    pub fn delta_since(&self, since: &Self) -> Result<Option<Self>, KindMismatch> {
        let delta = self.typed.delta_since(&since.typed).ok_or_else(|| self.mismatch(since))?;
        Ok(delta.map(|typed| DynamicCrdt { typed }))
    }

    /// Whether this state knows everything that `other` knows.
    ///
    /// # Errors
    /// [`KindMismatch`].
    pub fn covers(&self, other: &Self) -> Result<bool, KindMismatch> {
        Ok(other.delta_since(self)?.is_none())
    }

    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, DynamicError> {
        let (kind, state) = extension::open(payload)?;
        let typed = Typed::decode(kind.clone(), state).map_err(|error| malformed(Some(kind), error))?;
        Ok(DynamicCrdt { typed })
    }

    pub(crate) fn payload(&self) -> Result<Vec<u8>, DynamicError> {
        self.typed.payload()
    }

    fn mismatch(&self, other: &Self) -> KindMismatch {
        KindMismatch { ours: self.kind(), theirs: other.kind() }
    }
}

fn malformed(kind: Option<Kind>, reason: impl ToString) -> DynamicError {
    let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
    DynamicError::Malformed { kind, reason: reason.to_string() }
}

impl Eq for DynamicCrdt {}

impl Ord for DynamicCrdt {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_kind = self.kind().cmp(&other.kind());
        by_kind.then_with(|| self.payload().ok().cmp(&other.payload().ok()))
    }
}

impl PartialOrd for DynamicCrdt {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Makes a dynamic CRDT of a payload.
pub(crate) struct AnyKind;

impl<'de> FromPayload<'de> for AnyKind {
    type Crdt = DynamicCrdt;

    fn borrowed(self, payload: &'de [u8]) -> Result<DynamicCrdt, String> {
        self.copied(payload)
    }

    fn copied(self, payload: &[u8]) -> Result<DynamicCrdt, String> {
        DynamicCrdt::from_payload(payload).map_err(|error| error.to_string())
    }
}

impl Serialize for DynamicCrdt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::value::serialize_crdt(self, serializer)
    }
}

impl<'de> Deserialize<'de> for DynamicCrdt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return state::deserialize_payload(AnyKind, deserializer);
        }
        match Value::deserialize(deserializer)? {
            Value::Crdt(crdt) => Ok(*crdt),
            other => Err(D::Error::custom(format_args!("a {} in place of a CRDT", other.kind()))),
        }
    }
}
