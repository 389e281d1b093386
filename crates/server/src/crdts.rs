//! CRDTs in values that come as JSON.

use archipelago::Value;

use crate::problem::{Problem, ProblemType};

/// `value` with the CRDTs of `standing` in the place of what they amount to, so that who reads an entity, changes a field
/// and writes it back does not flatten its CRDTs.
///
/// # Errors
/// [`ProblemType::CrdtField`] if a plain value stands where a CRDT is: written, it would take with it what others write
/// into the CRDT at the same time.
pub(crate) fn kept(standing: &Value, value: Value) -> Result<Value, Problem> {
    match (standing, value) {
        (Value::Crdt(_), Value::Crdt(new)) => Ok(Value::Crdt(new)),
        (Value::Crdt(crdt), value) if crdt.value() == value => Ok(standing.clone()),
        (Value::Crdt(crdt), _) => Err(Problem::new(
            ProblemType::CrdtField,
            format!(
                "a field is a CRDT ({}), which a plain value would replace: change it by its own path, or remove it first",
                crdt.kind().name()
            ),
        )),
        (Value::Map(standing), Value::Map(value)) => {
            let kept = value.into_iter().map(|(name, value)| {
                let stands = standing.get(&name).unwrap_or(&Value::Null);
                Ok((name, kept(stands, value)?))
            });
            kept.collect::<Result<_, Problem>>().map(Value::Map)
        }
        (_, value) => Ok(value),
    }
}
