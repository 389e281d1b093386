use std::collections::BTreeSet;

use archipelago_conflict::{Family, Join};
use archipelago_engine::Change;
use archipelago_proto::{EntityId, FieldName, Limits, decode_value, encode_value, split_fields};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Lifted, Schema,
    mark::{Marked, joined, mark, marked, version_marked},
    overlay::overlay,
};
use crate::{ReadError, UpdateError, WriteError, shared::Shared};

/// A write of one entity in the form that this program knows: what of it goes to the engine, or why it is refused.
///
/// What stands is the visible value of the entity at the moment of the write.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    entity: &'a EntityId,
    schema: &'a Schema,
    limits: &'a Limits,
    /// Fields are registers of their own: a write leaves the others, and their marks, as they are.
    by_field: bool,
}

/// What a write must know of what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LooksAt {
    /// Only its marks: where there are none, nothing.
    Marks,
    /// The value.
    Value,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(entity: &'a EntityId, shared: &'a Shared) -> Self {
        let family = shared.strategies.strategy(entity).family();
        let by_field = matches!(family, Family::Joined(Join::Fields | Join::Crdts));
        Writing { entity, schema: shared.schemas.schema(entity), limits: &shared.limits, by_field }
    }

    /// Whether what becomes of the change depends on what stands; `None` if not.
    pub(crate) fn looks_at(&self, change: &Change) -> Option<LooksAt> {
        match change {
            Change::Put(_) => self.by_field.then_some(LooksAt::Marks),
            // What has no mark is of the version that the program knows.
            Change::Patch(_) if self.schema.current() == 1 => Some(LooksAt::Marks),
            Change::Patch(_) => Some(LooksAt::Value),
            Change::Delete => None,
        }
    }

    /// # Errors
    /// [`WriteError::NewerSchema`] and [`WriteError::Schema`].
    pub(crate) fn change(&self, change: Change, standing: Option<&Bytes>) -> Result<Change, WriteError> {
        match change {
            Change::Delete => Ok(Change::Delete),
            Change::Put(value) => {
                let standing = standing.map(|standing| Marked::new(standing, self.limits));
                self.refuse_newer(standing.as_ref().map_or(1, Marked::version))?;
                self.put(value, standing.map_or_else(Vec::new, |standing| standing.marks))
            }
            Change::Patch(fields) => self.patch(fields, standing),
        }
    }

    /// What an update of `standing` by `change` writes.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub(crate) fn update<T, E>(
        &self,
        standing: Option<&Bytes>,
        change: impl FnOnce(&mut T) -> Result<(), E>,
    ) -> Result<Change, UpdateError<E>>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let Some(standing) = standing else {
            let mut value = T::default();
            change(&mut value).map_err(UpdateError::Refused)?;
            return Ok(self.put(self.encoded(&value)?, Vec::new())?);
        };
        self.refuse_newer(Marked::new(standing, self.limits).version())?;
        let standing = Lifted::new(standing, self.schema, self.limits)
            .map_err(|error| ReadError::schema(self.entity, error))
            .map_err(UpdateError::Read)?;
        let mut value: T =
            standing.decode(self.entity, self.schema, self.limits).map_err(UpdateError::Read)?;
        let before = encode_value(&value, &self.limits.for_state()).map_err(WriteError::from)?;
        change(&mut value).map_err(UpdateError::Refused)?;
        let after = self.encoded(&value)?;
        let value = overlay(&standing.value, &before, &after, self.limits);
        let value = self.without_aliases::<T>(value, &before, &after);
        Ok(self.put(value, standing.marks)?)
    }

    fn encoded<T: Serialize>(&self, value: &T) -> Result<Bytes, WriteError> {
        Ok(encode_value(value, self.limits)?)
    }

    /// A field that a program reads under another name than it writes, an alias of serde, looks unknown. Once the program
    /// writes it under its own name there are two of it, and nothing could be read any more: the other one goes.
    fn without_aliases<T: DeserializeOwned>(&self, value: Bytes, before: &Bytes, after: &Bytes) -> Bytes {
        let limits = self.limits.for_state();
        let fields = |value: &Bytes| split_fields(value, &limits).ok().flatten().unwrap_or_default();
        let names = |fields: &[(FieldName, Bytes)]| fields.iter().map(|(name, _)| name.clone()).collect();
        let is_read = |value: &Bytes| decode_value::<T>(value, &limits).is_ok();
        let (all, written): (_, BTreeSet<FieldName>) = (fields(&value), names(&fields(after)));
        let unknown = || all.iter().filter(|(name, _)| !written.contains(name));
        if before == after || unknown().next().is_none() || is_read(&value) {
            return value;
        }
        let without = |is_alias: &dyn Fn(&FieldName) -> bool| {
            joined(&all.iter().filter(|(name, _)| !is_alias(name)).cloned().collect::<Vec<_>>())
        };
        let mut candidates = unknown().map(|(alias, _)| without(&|name| name == alias));
        candidates.find(is_read).unwrap_or_else(|| without(&|name| !written.contains(name)))
    }

    fn put(&self, value: Bytes, standing: Vec<u32>) -> Result<Change, WriteError> {
        if let Some(version) = Marked::new(&value, self.limits).marks.first() {
            return Err(self.reserved(&mark(*version).0));
        }
        let mut marks: BTreeSet<u32> =
            if self.by_field { standing.into_iter().collect() } else { BTreeSet::new() };
        marks.extend(self.own_mark());
        let value = marked(value, marks, self.limits).map_err(archipelago_engine::WriteError::from)?;
        value.map(Change::Put).ok_or_else(|| self.not_a_map())
    }

    fn patch(
        &self,
        mut fields: Vec<(FieldName, Option<Bytes>)>,
        standing: Option<&Bytes>,
    ) -> Result<Change, WriteError> {
        if let Some((name, _)) = fields.iter().find(|(name, _)| version_marked(name).is_some()) {
            return Err(self.reserved(name));
        }
        let Some(standing) = standing else {
            fields.extend(self.own_mark().map(mark).map(|(name, value)| (name, Some(value))));
            return Ok(Change::Patch(fields));
        };
        let version = Marked::new(standing, self.limits).version();
        self.refuse_newer(version)?;
        if version == self.schema.current() {
            return Ok(Change::Patch(fields));
        }
        // The other fields are in an older form: they go along.
        let lifted = Lifted::new(standing, self.schema, self.limits)
            .map_err(|error| self.refused(error.to_string()))?;
        let lifted_fields = split_fields(&lifted.value, &self.limits.for_state())
            .map_err(archipelago_engine::WriteError::from)?;
        let mut whole = lifted_fields.ok_or_else(|| self.not_a_map())?;
        for (name, value) in fields {
            whole.retain(|(other, _)| *other != name);
            whole.extend(value.map(|value| (name, value)));
        }
        self.put(joined(&whole), lifted.marks)
    }

    /// The mark of what this program writes; version 1 needs none.
    fn own_mark(&self) -> Option<u32> {
        Some(self.schema.current()).filter(|version| *version > 1)
    }

    fn refuse_newer(&self, found: u32) -> Result<(), WriteError> {
        let known = self.schema.current();
        if found > known {
            return Err(WriteError::NewerSchema { entity: self.entity.to_string(), found, known });
        }
        Ok(())
    }

    fn reserved(&self, name: &str) -> WriteError {
        self.refused(format!(
            "the field {name:?} is reserved for the version of a schema; give it another name"
        ))
    }

    fn not_a_map(&self) -> WriteError {
        let version = self.schema.current();
        self.refused(format!(
            "a value of version {version} is a struct or a map, to carry its version; this one is not"
        ))
    }

    fn refused(&self, reason: String) -> WriteError {
        WriteError::Schema { entity: self.entity.to_string(), reason }
    }
}
