use archipelago_crdt::Value;
use archipelago_proto::{EntityId, Limits, decode_value, encode_value};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{LiftError, Schema, mark::Marked, overlay::overlay};
use crate::ReadError;

/// A stored value as this program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lifted {
    /// The value without its marks, in the version that this program knows; a newer one as it is.
    pub(crate) value: Bytes,
    /// The version in which it is stored.
    pub(crate) version: u32,
    /// The marks that it has.
    pub(super) marks: Vec<u32>,
}

impl Lifted {
    pub(crate) fn new(stored: &Bytes, schema: &Schema, limits: &Limits) -> Result<Self, LiftError> {
        let marked = Marked::new(stored, limits);
        let version = marked.version();
        let value = if version < schema.current() {
            lift(&marked.value, version, schema, &limits.for_state())?
        } else {
            marked.value
        };
        Ok(Lifted { value, version, marks: marked.marks })
    }

    /// The version in which a value is stored.
    pub(crate) fn version_of(stored: &Bytes, limits: &Limits) -> u32 {
        Marked::new(stored, limits).version()
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// [`ReadError::Type`], or [`ReadError::NewerSchema`] if that may be why.
    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        entity: &EntityId,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<T, ReadError> {
        let (entity, found, known) = (entity.to_string(), self.version, schema.current());
        decode_value(&self.value, &limits.for_state()).map_err(|reason| {
            if found > known {
                ReadError::NewerSchema { entity, found, known, reason }
            } else {
                ReadError::Type { entity, reason }
            }
        })
    }
}

/// Lifts a value without marks. Fields that no upcaster touches stay, byte by byte.
fn lift(value: &Bytes, version: u32, schema: &Schema, limits: &Limits) -> Result<Bytes, LiftError> {
    let failed = |reason: &dyn std::fmt::Display| LiftError { version, reason: reason.to_string() };
    let before: Value = decode_value(value, limits).map_err(|error| failed(&error))?;
    let after = schema.raise(before.clone(), version)?;
    let encoded = |value: &Value| encode_value(value, limits).map_err(|error| failed(&error));
    Ok(overlay(value, &encoded(&before)?, &encoded(&after)?, limits))
}
