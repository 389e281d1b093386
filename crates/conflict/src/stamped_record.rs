use std::collections::BTreeMap;

use archipelago_crdt::{Crdt, DeltaCrdt, LwwRegister, RegisterError, Value, encoding};
use serde::{Deserialize, Serialize};

use crate::{Content, Stamp};

type Register<S> = LwwRegister<Content, S>;

/// A record whose every field is a last-writer-wins register with a stamp of its own: the state of field merge.
///
/// A record has a *base*, which is the last write of the whole, and *fields*, each with its last write. A write
/// of the whole hides every field with a lesser stamp; a field of an equal or greater one shows. So a field that
/// is written after the record was replaced or deleted, as far as the stamps go, brings the record back with that
/// field alone.
///
/// Merging joins the base and each field and forgets what the base hides. It is commutative, associative and
/// idempotent, which one stamp for the whole record is not: merging `{x: 1}` of time 1 with `{y: 1}` of time 3
/// would give the whole time 3, and then `x` would win over an `x` that was written at time 2.
///
/// Departure from Shapiro et al. 2011, whose last-writer-wins register holds one value: this is a map of them
/// under one more register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Encoded<S>", bound(deserialize = "S: Ord + Clone + Deserialize<'de>"))]
pub struct StampedRecord<S = Stamp> {
    /// Never a map that has entries: those are fields.
    base: Register<S>,
    /// Written registers only, none with a stamp less than that of the base.
    fields: BTreeMap<String, Register<S>>,
}

impl<S: Ord + Clone> StampedRecord<S> {
    /// A record that was never written.
    pub const fn new() -> Self {
        StampedRecord { base: LwwRegister::never_written(), fields: BTreeMap::new() }
    }

    /// What one write at `stamp` says by `value`: of a map, its fields, and nothing about others; of anything
    /// else, that it is the whole record. An empty map says nothing: to write that a record exists and is empty,
    /// [`replace`](StampedRecord::replace) it.
    pub fn from_value(value: Value, stamp: S) -> Self {
        let base = match value {
            Value::Map(fields) => {
                let written = |value| LwwRegister::new(Content::Set(value), stamp.clone());
                let fields = fields.into_iter().map(|(name, value)| (name, written(value))).collect();
                return StampedRecord { base: LwwRegister::never_written(), fields };
            }
            other => LwwRegister::new(Content::Set(other), stamp),
        };
        StampedRecord { base, fields: BTreeMap::new() }
    }

    /// Writes one field and returns the delta.
    ///
    /// # Errors
    /// [`RegisterError::StaleStamp`] if the field has a write of that stamp or a greater one, or the whole record
    /// one of a greater stamp; the record is unchanged.
    pub fn set(&mut self, field: &str, value: Value, stamp: S) -> Result<Self, RegisterError> {
        self.write(field, Content::Set(value), stamp)
    }

    /// Removes one field, present or not, and returns the delta.
    ///
    /// # Errors
    /// As [`set`](StampedRecord::set).
    pub fn remove(&mut self, field: &str, stamp: S) -> Result<Self, RegisterError> {
        self.write(field, Content::Removed, stamp)
    }

    fn write(&mut self, field: &str, content: Content, stamp: S) -> Result<Self, RegisterError> {
        let written = self.fields.get(field).and_then(LwwRegister::stamp);
        if written.is_some_and(|written| *written >= stamp) || self.hides(&stamp) {
            return Err(RegisterError::StaleStamp);
        }
        let register = LwwRegister::new(content, stamp);
        self.fields.insert(field.to_owned(), register.clone());
        Ok(StampedRecord { fields: BTreeMap::from([(field.to_owned(), register)]), ..StampedRecord::new() })
    }

    /// Writes the whole record, so that of older fields only those in `value` remain, and returns the delta.
    ///
    /// # Errors
    /// [`RegisterError::StaleStamp`] unless the stamp is greater than every other in the record; the record is
    /// unchanged.
    pub fn replace(&mut self, value: Value, stamp: S) -> Result<Self, RegisterError> {
        self.rewrite(Content::Set(value), stamp)
    }

    /// Deletes the whole record and returns the delta.
    ///
    /// # Errors
    /// As [`replace`](StampedRecord::replace).
    pub fn delete(&mut self, stamp: S) -> Result<Self, RegisterError> {
        self.rewrite(Content::Removed, stamp)
    }

    /// Makes each field that is a CRDT of one kind in both `ours` and `theirs` the join of the two, under the stamp that
    /// it has here; so a CRDT merges, where registers choose.
    pub(crate) fn join_crdts(&mut self, ours: &Self, theirs: &Self) {
        let crdt = |record: &Self, name: &str| record.get(name).and_then(Value::as_crdt).cloned();
        let names: Vec<String> = self.fields.keys().cloned().collect();
        for name in names {
            let (Some(mut joined), Some(other)) = (crdt(ours, &name), crdt(theirs, &name)) else { continue };
            if joined.merge(&other).is_err() {
                // Of different kinds: the greater stamp decides, as for plain values.
                continue;
            }
            if let Some(stamp) = self.fields.get(&name).and_then(LwwRegister::stamp).cloned() {
                let register = LwwRegister::new(Content::Set(Value::from(joined)), stamp);
                self.fields.insert(name, register);
            }
        }
    }

    fn rewrite(&mut self, content: Content, stamp: S) -> Result<Self, RegisterError> {
        if self.stamp().is_some_and(|greatest| *greatest >= stamp) {
            return Err(RegisterError::StaleStamp);
        }
        *self =
            StampedRecord { base: LwwRegister::new(content, stamp), fields: BTreeMap::new() }.normalized();
        Ok(self.clone())
    }

    /// The record as it is seen: a map of the fields that have a value; if none has, what was last written as a
    /// whole; `None` if that was a deletion, or if nothing was ever written.
    pub fn value(&self) -> Option<Value> {
        let shown = self.fields.iter().filter_map(|(name, register)| {
            let value = register.value()?.value()?;
            Some((name.clone(), value.clone()))
        });
        let shown: BTreeMap<String, Value> = shown.collect();
        if !shown.is_empty() {
            return Some(Value::Map(shown));
        }
        match self.base.value() {
            Some(content) => content.value().cloned(),
            None => (!self.fields.is_empty()).then_some(Value::Map(shown)),
        }
    }

    /// The value of one field, if it has one.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)?.value()?.value()
    }

    /// The stamp that decides whether a write to `field` wins: that of its last write or removal, or else of the
    /// last write of the whole.
    pub fn stamp_of(&self, field: &str) -> Option<&S> {
        self.fields.get(field).unwrap_or(&self.base).stamp()
    }

    /// The last write or removal of each field that has one, in the order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Content, &S)> {
        self.fields
            .iter()
            .filter_map(|(name, register)| Some((&**name, register.value()?, register.stamp()?)))
    }

    /// Forgets the removals of fields whose stamp `is_stable`, and returns how many there were. The value stays the
    /// same; so the latest removal is kept where it alone says that the record exists, as an empty map.
    ///
    /// Not an update: it takes the state down, and is legal only for removals that are causally stable, which
    /// means that every replica has applied them and none can still send an older write of the field. A replica
    /// that calls it earlier brings the field back.
    pub fn forget_removed(&mut self, mut is_stable: impl FnMut(&S) -> bool) -> usize {
        let before = self.fields.len();
        let says_it_exists = |register: &Register<S>| register.value().is_some_and(|it| it.value().is_some());
        let exists_anyway = self.base.stamp().is_some() || self.fields.values().any(says_it_exists);
        let kept = if exists_anyway { None } else { self.stamp().cloned() };
        self.fields.retain(|_, register| {
            let removed = matches!(register.value(), Some(Content::Removed));
            let stable =
                register.stamp().is_some_and(|stamp| Some(stamp) != kept.as_ref() && is_stable(stamp));
            !(removed && stable)
        });
        before - self.fields.len()
    }

    /// The greatest stamp in the record, or `None` if it was never written.
    pub fn stamp(&self) -> Option<&S> {
        let fields = self.fields.values().filter_map(LwwRegister::stamp);
        fields.chain(self.base.stamp()).max()
    }

    /// Whether nothing was ever written. A deleted record is not empty in this sense.
    pub fn is_empty(&self) -> bool {
        self.stamp().is_none()
    }

    /// Whether a field of that stamp does not show.
    fn hides(&self, stamp: &S) -> bool {
        self.base.stamp().is_some_and(|base| stamp < base)
    }

    /// Makes the invariants of the fields of this struct true.
    fn normalized(mut self) -> Self {
        if let Some(Content::Set(Value::Map(_))) = self.base.value()
            && let Some((Content::Set(whole), stamp)) = std::mem::take(&mut self.base).into_parts()
        {
            self.base = LwwRegister::new(Content::Set(Value::Map(BTreeMap::new())), stamp.clone());
            self.join_fields(&StampedRecord::from_value(whole, stamp));
        }
        self.forget_hidden();
        self
    }

    fn join_fields(&mut self, other: &Self) {
        for (name, theirs) in &other.fields {
            match self.fields.get_mut(name) {
                Some(ours) => ours.merge(theirs),
                None => {
                    self.fields.insert(name.clone(), theirs.clone());
                }
            }
        }
    }

    fn forget_hidden(&mut self) {
        let base = self.base.stamp();
        self.fields.retain(|_, register| register.stamp().is_some() && register.stamp() >= base);
    }
}

impl<S: Ord + Clone> Default for StampedRecord<S> {
    fn default() -> Self {
        StampedRecord::new()
    }
}

impl<S: Ord + Clone> Crdt for StampedRecord<S> {
    fn merge(&mut self, other: &Self) {
        self.base.merge(&other.base);
        self.join_fields(other);
        self.forget_hidden();
    }
}

impl<S: Ord + Clone> DeltaCrdt for StampedRecord<S> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let base = self.base.delta_since(&since.base);
        let news = self.fields.iter().filter(|(name, register)| {
            let hidden = register.stamp().is_some_and(|stamp| since.hides(stamp));
            !hidden && since.fields.get(*name).is_none_or(|known| register.delta_since(known).is_some())
        });
        let fields: BTreeMap<_, _> = news.map(|(name, register)| (name.clone(), register.clone())).collect();
        (base.is_some() || !fields.is_empty())
            .then(|| StampedRecord { base: base.unwrap_or_default(), fields })
    }
}

/// A record as it arrives, before its invariants are made true.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: Deserialize<'de>"))]
struct Encoded<S> {
    base: Register<S>,
    #[serde(deserialize_with = "encoding::map_of_unique_keys")]
    fields: BTreeMap<String, Register<S>>,
}

impl<S: Ord + Clone> From<Encoded<S>> for StampedRecord<S> {
    fn from(Encoded { base, fields }: Encoded<S>) -> Self {
        StampedRecord { base, fields }.normalized()
    }
}

#[cfg(test)]
mod tests;
