use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use archipelago_crdt::Value;

use super::mark::version_marked;

/// Why an upcaster cannot lift a value: any error, or a text through `into()`.
pub type UpcastError = Box<dyn std::error::Error + Send + Sync>;

type Upcaster = Arc<dyn Fn(&mut Value) -> Result<(), UpcastError> + Send + Sync>;

/// The form of the values under a prefix that a program knows, and how older forms are lifted to it.
///
/// Versions count from 1, the form of values that were written before there was a schema. The upcaster of version *v*
/// makes a value of version *v + 1* of it; a value of version 1 goes through all of them. Upcasters must be pure: the same
/// on every replica and at every time, because they run whenever a value is read. They should take a record as it is, with
/// fields missing: under field merge, a record may consist of one field that was written while another master removed it.
///
/// ```
/// use archipelago_crdt::{Value, value};
/// use archipelago_manager::Schema;
///
/// // Version 2 has one name where version 1 had two.
/// let people = Schema::version(2).upcast(1, |person| {
///     let Value::Map(fields) = person else { return Err("a person is a map".into()) };
///     let names = ["first", "last"].map(|name| fields.remove(name));
///     let names: Vec<&str> = names.iter().flatten().filter_map(Value::as_text).collect();
///     if !names.is_empty() {
///         fields.insert("name".into(), names.join(" ").into());
///     }
///     Ok(())
/// });
/// let lifted = people.lift(value!({ "first": "Ann", "last": "Lee", "age": 30 }))?;
/// assert_eq!(lifted, value!({ "name": "Ann Lee", "age": 30 }));
/// # Ok::<(), archipelago_manager::LiftError>(())
/// ```
#[derive(Clone)]
pub struct Schema {
    version: u32,
    upcasters: BTreeMap<u32, Upcaster>,
    /// The first version that was given two upcasters.
    twice: Option<u32>,
}

/// A value could not be lifted to the version that this program knows. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be lifted from version {version} of its schema: {reason}")]
pub struct LiftError {
    /// The version at which lifting ended.
    pub version: u32,
    /// What the upcaster of that version said, or with what it panicked.
    pub reason: String,
}

impl Default for Schema {
    /// Version 1: what holds where no schema is given.
    fn default() -> Self {
        Schema::version(1)
    }
}

impl Schema {
    /// The schema whose values this program writes in the version `current`, from 1 on. It needs an upcaster for every
    /// version before.
    pub fn version(current: u32) -> Self {
        Schema { version: current, upcasters: BTreeMap::new(), twice: None }
    }

    /// The same, with the function that makes a value of version `from + 1` of one of version `from`.
    ///
    /// It gets the value without its mark. An error or a panic of it is an error of the read that needed it, and harms
    /// nothing else.
    #[must_use]
    pub fn upcast<F>(mut self, from: u32, upcaster: F) -> Self
    where
        F: Fn(&mut Value) -> Result<(), UpcastError> + Send + Sync + 'static,
    {
        if self.upcasters.insert(from, Arc::new(upcaster)).is_some() {
            self.twice.get_or_insert(from);
        }
        self
    }

    /// The value as a program of this version sees it: its marks taken off, and lifted from the version that they name. A
    /// value that is newer is given as it is.
    ///
    /// Masters do this by themselves; it is there for those who see what is stored, as subscribers and custom merge
    /// functions do.
    ///
    /// # Errors
    /// [`LiftError`].
    pub fn lift(&self, mut value: Value) -> Result<Value, LiftError> {
        let mut from = 1;
        if let Value::Map(fields) = &mut value {
            fields.retain(|name, _| match version_marked(name) {
                Some(version) => {
                    from = from.max(version);
                    false
                }
                None => true,
            });
        }
        self.raise(value, from)
    }

    pub(super) fn current(&self) -> u32 {
        self.version
    }

    /// Lifts a value without marks from version `from`.
    pub(super) fn raise(&self, mut value: Value, from: u32) -> Result<Value, LiftError> {
        for version in from..self.version {
            let failed = |reason| LiftError { version, reason };
            let upcaster = self.upcasters.get(&version);
            let upcaster = upcaster.ok_or_else(|| failed("there is no upcaster".to_owned()))?;
            // What is half lifted after a panic is dropped.
            match catch_unwind(AssertUnwindSafe(|| upcaster(&mut value))) {
                Ok(lifted) => lifted.map_err(|error| failed(error.to_string()))?,
                Err(panic) => return Err(failed(format!("its upcaster panicked: {}", said(&*panic)))),
            }
        }
        Ok(value)
    }

    /// What is wrong with the schema, if anything: every version before the current one has one upcaster, and no other.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.version == 0 {
            return Err("versions count from 1".to_owned());
        }
        if let Some(version) = self.twice {
            return Err(format!("version {version} has two upcasters"));
        }
        if let Some(version) = (1..self.version).find(|version| !self.upcasters.contains_key(version)) {
            return Err(format!("there is no upcaster from version {version} to {}", version + 1));
        }
        match self.upcasters.keys().find(|from| !(1..self.version).contains(from)) {
            Some(from) => {
                Err(format!("an upcaster from version {from}, and the current one is {}", self.version))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upcasters: Vec<&u32> = self.upcasters.keys().collect();
        f.debug_struct("Schema").field("version", &self.version).field("upcasters", &upcasters).finish()
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("nothing that can be shown")
}

#[cfg(test)]
mod tests {
    use archipelago_crdt::value;

    use super::*;

    /// A schema whose upcaster of version *v* adds *v* to a list.
    fn counting(current: u32) -> Schema {
        (1..current).fold(Schema::version(current), |schema, from| {
            schema.upcast(from, move |value| {
                let Value::Map(fields) = value else { return Err("not a map".into()) };
                let steps = fields.entry("steps".into()).or_insert_with(|| Value::List(Vec::new()));
                let Value::List(steps) = steps else { return Err("not a list".into()) };
                steps.push(from.into());
                Ok(())
            })
        })
    }

    #[test]
    fn every_version_goes_through_exactly_the_upcasters_that_are_left() {
        for current in 1..8 {
            let schema = counting(current);
            assert_eq!(schema.check(), Ok(()));
            for from in 1..8 {
                let mut stored = BTreeMap::from([("kept".to_owned(), Value::from(1))]);
                if from > 1 {
                    stored.insert(format!("$schema:{from}"), true.into());
                }
                let lifted = schema.lift(Value::Map(stored)).unwrap();
                let steps: Vec<Value> = (from..current).map(Value::from).collect();
                let wanted = if steps.is_empty() {
                    value!({ "kept": 1 })
                } else {
                    value!({ "kept": 1, "steps": (steps) })
                };
                assert_eq!(lifted, wanted, "from {from} to {current}");
            }
        }
    }

    #[test]
    fn whatever_is_missing_too_much_or_there_twice_is_named() {
        let with = |current, froms: &[u32]| {
            froms.iter().fold(Schema::version(current), |schema, from| schema.upcast(*from, |_| Ok(())))
        };
        for (schema, wanted) in [
            (with(0, &[]), "count from 1"),
            (with(2, &[]), "from version 1 to 2"),
            (with(4, &[1, 3]), "from version 2 to 3"),
            (with(u32::MAX, &[]), "from version 1 to 2"),
            (with(3, &[1, 2, 2]), "version 2 has two"),
            (with(2, &[1, 2]), "from version 2, and the current one is 2"),
            (with(1, &[0]), "from version 0, and the current one is 1"),
        ] {
            let reason = schema.check().unwrap_err();
            assert!(reason.contains(wanted), "{reason}");
        }
        assert_eq!(Schema::default().check(), Ok(()));
    }

    #[test]
    fn an_error_or_a_panic_names_the_version_and_the_reason() {
        let schema = counting(4);
        let error = schema.lift(value!(7)).unwrap_err();
        assert_eq!((error.version, error.reason.as_str()), (1, "not a map"));
        let schema = Schema::version(3).upcast(1, |_| Ok(())).upcast(2, |_| panic!("at {}", "once"));
        let error = schema.lift(value!({})).unwrap_err();
        assert_eq!(error.version, 2);
        assert!(error.reason.contains("panicked: at once"), "{error}");
    }
}
