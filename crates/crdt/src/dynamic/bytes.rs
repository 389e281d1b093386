use super::{DynamicCrdt, DynamicError};
use crate::{Kind, extension};

/// Whether a MessagePack value is a CRDT. Looks at its first bytes alone, so it does not say that the CRDT is whole.
pub fn is_crdt(value: &[u8]) -> bool {
    extension::is_extension(value)
}

/// Of which kind the CRDT is, without a look at its state.
///
/// # Errors
/// [`DynamicError::NotACrdt`], and what can be wrong with version and kind.
pub fn kind_of(crdt: &[u8]) -> Result<Kind, DynamicError> {
    let payload = extension::payload_of(crdt).ok_or(DynamicError::NotACrdt)?;
    Ok(extension::open_header(payload)?.0)
}

/// The least state that covers both, in its canonical form.
///
/// # Errors
/// [`DynamicError`] if one of them is not a CRDT or they are of different kinds.
pub fn join(one: &[u8], other: &[u8]) -> Result<Vec<u8>, DynamicError> {
    let mut joined = DynamicCrdt::decode(one)?;
    joined.merge(&DynamicCrdt::decode(other)?)?;
    joined.encode()
}

/// What `new` knows and `old` does not, as a state to [`join`] to `old`, in its canonical form; `None` if there is
/// nothing.
///
/// # Errors
/// As [`join`].
pub fn delta(new: &[u8], old: &[u8]) -> Result<Option<Vec<u8>>, DynamicError> {
    let delta = DynamicCrdt::decode(new)?.delta_since(&DynamicCrdt::decode(old)?)?;
    delta.map(|delta| delta.encode()).transpose()
}

/// The state without what it keeps of removals, in its canonical form; `None` if it keeps nothing. For a state that every
/// replica has, while everything that any replica did before it had it is merged here: see
/// [`RwSet::forget_stable`](crate::RwSet) and [`List::forget_stable`](crate::List), the kinds that keep anything that can be
/// forgotten. Inside of maps nothing is forgotten.
///
/// # Errors
/// [`DynamicError`] if it is not a CRDT.
pub fn forget(crdt: &[u8]) -> Result<Option<Vec<u8>>, DynamicError> {
    if !matches!(kind_of(crdt)?, Kind::RwSet | Kind::List) {
        return Ok(None);
    }
    let whole = DynamicCrdt::decode(crdt)?;
    let mut forgetful = whole.clone();
    forgetful.forget();
    if forgetful == whole { Ok(None) } else { forgetful.encode().map(Some) }
}

/// The canonical form of a CRDT, which is the same for equal states. Checks the CRDT as a whole.
///
/// # Errors
/// [`DynamicError`] if it is not a CRDT.
pub fn normalize(crdt: &[u8]) -> Result<Vec<u8>, DynamicError> {
    DynamicCrdt::decode(crdt)?.encode()
}
