use super::{DynamicCrdt, crdt::Typed, stamp::Stamp, store::DynamicStore};
use crate::{
    DwFlagDots, EwFlagDots, GCounter, GSet, LwwMap, LwwRegister, MaxRegister, MinRegister, PnCounter, Value,
};

impl DynamicCrdt {
    /// What the CRDT amounts to, for people and for views in JSON:
    ///
    /// - of a counter, a number; a float where it exceeds 64 bits;
    /// - of a set, the list of its elements, and of a list, of its items;
    /// - of a register, its value, or null; of a multi-value register, the list of its values;
    /// - of a flag, whether it is enabled;
    /// - of a text, the text, if the feature `text` is on, and else the CRDT as it is;
    /// - of a map, a map of its values, or, if not all keys are text, the list of pairs of key and value.
    ///
    /// CRDTs among the values are made readable too.
    pub fn value(&self) -> Value {
        match &self.typed {
            Typed::GCounter(counter) => counter.readable(),
            Typed::PnCounter(counter) => counter.readable(),
            Typed::BoundedCounter(counter) => unsigned(counter.value()),
            Typed::GSet(set) => set.readable(),
            Typed::TwoPhaseSet(set) => list(set.iter()),
            Typed::OrSet(set) => list(set.iter()),
            Typed::RwSet(set) => list(set.iter()),
            Typed::LwwRegister(register) => register.readable(),
            Typed::MvRegister(register) => list(register.values()),
            Typed::MaxRegister(register) => register.readable(),
            Typed::MinRegister(register) => register.readable(),
            Typed::EwFlag(flag) => flag.readable(),
            Typed::DwFlag(flag) => flag.readable(),
            Typed::LwwMap(map) => map.readable(),
            Typed::List(items) => list(items.iter()),
            #[cfg(feature = "text")]
            Typed::Text(runs) => Value::Text(crate::text::shown(runs)),
            #[cfg(not(feature = "text"))]
            Typed::Text(_) => Value::Crdt(Box::new(self.clone())),
            Typed::OrMap(entries) => map(entries.entries().map(|(key, store)| (key, store.readable()))),
        }
    }
}

impl Value {
    /// The value with every CRDT in it replaced by what it amounts to; see [`DynamicCrdt::value`].
    pub fn readable(&self) -> Value {
        match self {
            Value::Crdt(crdt) => crdt.value(),
            Value::List(elements) => list(elements),
            Value::Map(entries) => {
                Value::Map(entries.iter().map(|(key, value)| (key.clone(), value.readable())).collect())
            }
            plain => plain.clone(),
        }
    }
}

fn list<'a>(values: impl IntoIterator<Item = &'a Value>) -> Value {
    Value::List(values.into_iter().map(Value::readable).collect())
}

fn map<'a>(entries: impl Iterator<Item = (&'a Value, Value)>) -> Value {
    let entries: Vec<(Value, Value)> = entries.map(|(key, value)| (key.readable(), value)).collect();
    if entries.iter().all(|(key, _)| key.as_text().is_some()) {
        entries.into_iter().filter_map(|(key, value)| Some((key.as_text()?.to_owned(), value))).collect()
    } else {
        Value::List(entries.into_iter().map(|(key, value)| Value::List(vec![key, value])).collect())
    }
}

fn unsigned(sum: u128) -> Value {
    // A float is near enough for people to read.
    u64::try_from(sum).map_or_else(|_| Value::Float(sum as f64), Value::from)
}

fn optional(value: Option<&Value>) -> Value {
    value.map_or(Value::Null, Value::readable)
}

/// What reads the same on its own and in a map.
trait Readable {
    fn readable(&self) -> Value;
}

impl Readable for GCounter {
    fn readable(&self) -> Value {
        unsigned(self.value())
    }
}

impl Readable for PnCounter {
    fn readable(&self) -> Value {
        let sum = self.value();
        match i64::try_from(sum) {
            Ok(sum) => Value::Int(sum),
            Err(_) if sum > 0 => unsigned(sum.unsigned_abs()),
            Err(_) => Value::Float(sum as f64),
        }
    }
}

impl Readable for GSet<Value> {
    fn readable(&self) -> Value {
        list(self.iter())
    }
}

impl Readable for LwwRegister<Value, Stamp> {
    fn readable(&self) -> Value {
        optional(self.value())
    }
}

impl Readable for MaxRegister<Value> {
    fn readable(&self) -> Value {
        optional(self.value())
    }
}

impl Readable for MinRegister<Value> {
    fn readable(&self) -> Value {
        optional(self.value())
    }
}

impl Readable for EwFlagDots {
    fn readable(&self) -> Value {
        Value::Bool(self.is_enabled())
    }
}

impl Readable for DwFlagDots {
    fn readable(&self) -> Value {
        Value::Bool(self.is_enabled())
    }
}

impl Readable for LwwMap<Value, Value, Stamp> {
    fn readable(&self) -> Value {
        map(self.iter().map(|(key, value)| (key, value.readable())))
    }
}

impl DynamicStore {
    fn readable(&self) -> Value {
        match self {
            DynamicStore::Nothing => Value::Null,
            DynamicStore::GCounter(counter) => counter.joined().readable(),
            DynamicStore::PnCounter(counter) => counter.joined().readable(),
            DynamicStore::GSet(set) => set.joined().readable(),
            DynamicStore::OrSet(set) => list(set.iter()),
            DynamicStore::RwSet(set) => list(set.iter()),
            DynamicStore::LwwRegister(register) => register.joined().readable(),
            DynamicStore::MvRegister(register) => list(register.values()),
            DynamicStore::MaxRegister(register) => register.joined().readable(),
            DynamicStore::MinRegister(register) => register.joined().readable(),
            DynamicStore::EwFlag(flag) => flag.readable(),
            DynamicStore::DwFlag(flag) => flag.readable(),
            DynamicStore::LwwMap(entries) => entries.joined().readable(),
            DynamicStore::List(items) => list(items.iter()),
            DynamicStore::OrMap(stores) => map(stores.iter().map(|(key, store)| (key, store.readable()))),
        }
    }
}
