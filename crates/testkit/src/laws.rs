//! The laws of [`Crdt`] and [`DeltaCrdt`] as functions that say how a law is broken.
//!
//! [`crdt_laws!`](crate::crdt_laws) makes a test of each; call them yourself to check states that you have at hand:
//!
//! ```
//! use archipelago_crdt::GSet;
//! use archipelago_testkit::laws;
//!
//! let (a, b) = (GSet::from_iter([1, 2]), GSet::from_iter([2, 3]));
//! laws::commutative(&a, &b)?;
//! # Ok::<(), laws::LawBroken>(())
//! ```
//!
//! In what they say `a ⊔ b` is `a` merged with `b`.

use std::fmt::Debug;

use archipelago_crdt::{Crdt, DeltaCrdt};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// A law that does not hold for the states it was tried with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not {law}: {detail}")]
pub struct LawBroken {
    /// The law's name, an adjective: `commutative`.
    pub law: &'static str,
    /// What should have been the same, and the two values that are not.
    pub detail: String,
}

fn joined<C: Crdt + Clone>(a: &C, b: &C) -> C {
    let mut joined = a.clone();
    joined.merge(b);
    joined
}

fn same<T: PartialEq + Debug>(
    law: &'static str,
    (left_name, left): (&str, &T),
    (right_name, right): (&str, &T),
) -> Result<(), LawBroken> {
    if left == right {
        return Ok(());
    }
    let detail = format!("{left_name} = {left:?}, but {right_name} = {right:?}");
    Err(LawBroken { law, detail })
}

/// `a ⊔ b = b ⊔ a`.
///
/// # Errors
/// [`LawBroken`] with both sides, if they differ.
pub fn commutative<C: Crdt + Clone + PartialEq + Debug>(a: &C, b: &C) -> Result<(), LawBroken> {
    same("commutative", ("a ⊔ b", &joined(a, b)), ("b ⊔ a", &joined(b, a)))
}

/// `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)`.
///
/// # Errors
/// [`LawBroken`] with both sides, if they differ.
pub fn associative<C: Crdt + Clone + PartialEq + Debug>(a: &C, b: &C, c: &C) -> Result<(), LawBroken> {
    let (left, right) = (joined(&joined(a, b), c), joined(a, &joined(b, c)));
    same("associative", ("(a ⊔ b) ⊔ c", &left), ("a ⊔ (b ⊔ c)", &right))
}

/// `a ⊔ a = a`.
///
/// # Errors
/// [`LawBroken`] with both sides, if they differ.
pub fn idempotent<C: Crdt + Clone + PartialEq + Debug>(a: &C) -> Result<(), LawBroken> {
    same("idempotent", ("a ⊔ a", &joined(a, a)), ("a", a))
}

/// `a ⊔ b` [covers](Crdt::covers) both `a` and `b`: nothing that was known is forgotten.
///
/// # Errors
/// [`LawBroken`] with the merged state and the one that it does not cover.
pub fn monotone<C: Crdt + Clone + PartialEq + Debug>(a: &C, b: &C) -> Result<(), LawBroken> {
    let join = joined(a, b);
    match [("a", a), ("b", b)].into_iter().find(|(_, state)| !join.covers(state)) {
        None => Ok(()),
        Some((name, state)) => {
            let detail = format!("a ⊔ b = {join:?} does not cover {name} = {state:?}");
            Err(LawBroken { law: "monotone", detail })
        }
    }
}

/// A delta of `a` since `b` does what `a` does to anything that covers `b`, here to `b` and to `b ⊔ x`; and there
/// is a delta exactly if `b` does not cover `a`.
///
/// # Errors
/// [`LawBroken`] with what merging the delta gives and what merging the state gives.
pub fn delta<C: DeltaCrdt + Clone + PartialEq + Debug>(a: &C, b: &C, x: &C) -> Result<(), LawBroken> {
    const LAW: &str = "the same by delta as by state";
    for (name, receiver) in [("b", b.clone()), ("b ⊔ x", joined(b, x))] {
        let by_state = joined(&receiver, a);
        let mut by_delta = receiver;
        if let Some(delta) = a.delta_since(b) {
            by_delta.merge_delta(&delta);
        }
        let left = format!("({name}) merged with a.delta_since(b)");
        same(LAW, (&left, &by_delta), (&format!("({name}) ⊔ a"), &by_state))?;
    }
    for (name, since) in [("a", a), ("b", b)] {
        let left = format!("a.delta_since({name}).is_none()");
        let right = format!("{name}.covers(a)");
        same(LAW, (&left, &a.delta_since(since).is_none()), (&right, &since.covers(a)))?;
    }
    Ok(())
}

/// A state that is encoded and decoded, in JSON and in MessagePack, is the state it was.
///
/// # Errors
/// [`LawBroken`] with the encoding, and the error or the state that came of it.
pub fn encoding<C>(a: &C) -> Result<(), LawBroken>
where
    C: PartialEq + Debug + Serialize + DeserializeOwned,
{
    const LAW: &str = "the same after encoding and decoding";
    let failed = |format: &str, error: &dyn std::error::Error| LawBroken {
        law: LAW,
        detail: format!("{a:?} in {format}: {error}"),
    };
    let json = serde_json::to_string(a).map_err(|error| failed("JSON", &error))?;
    let decoded =
        serde_json::from_str::<C>(&json).map_err(|error| failed(&format!("JSON {json}"), &error))?;
    same(LAW, ("a", a), (&format!("what comes of the JSON {json}"), &decoded))?;
    let bytes = rmp_serde::to_vec_named(a).map_err(|error| failed("MessagePack", &error))?;
    let decoded = rmp_serde::from_slice::<C>(&bytes).map_err(|error| failed("MessagePack", &error))?;
    same(LAW, ("a", a), (&format!("what comes of the MessagePack {bytes:02x?}"), &decoded))
}

/// Equal states have equal bytes, in JSON and in MessagePack, however they came about: here `a` as it is, merged
/// with itself and decoded, and three ways to merge `a`, `b` and `c`.
///
/// Digests and signatures of states rest on this. The usual offender is a hash map, or a list of which
/// [`PartialEq`] ignores the order.
///
/// # Errors
/// [`LawBroken`] with both encodings, or with the error of an encoding that fails.
pub fn canonical<C>(a: &C, b: &C, c: &C) -> Result<(), LawBroken>
where
    C: Crdt + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    const LAW: &str = "canonical in its encoding";
    let failed = |error: String| LawBroken { law: LAW, detail: error };
    let json = |state: &C| serde_json::to_string(state).map_err(|error| failed(error.to_string()));
    let bytes = |state: &C| rmp_serde::to_vec_named(state).map_err(|error| failed(error.to_string()));
    let decoded = serde_json::from_str::<C>(&json(a)?).map_err(|error| failed(error.to_string()))?;
    let forward = joined(&joined(a, b), c);
    let pairs = [
        (a, &joined(a, a)),
        (a, &decoded),
        (&forward, &joined(&joined(c, b), a)),
        (&forward, &joined(b, &joined(c, a))),
    ];
    // States that differ though they should not are the business of the other laws.
    for (one, other) in pairs.into_iter().filter(|(one, other)| one == other) {
        let (one_name, other_name) = (format!("the encoding of {one:?}"), format!("that of {other:?}"));
        same(LAW, (&one_name, &json(one)?), (&other_name, &json(other)?))?;
        same(LAW, (&one_name, &bytes(one)?), (&other_name, &bytes(other)?))?;
    }
    Ok(())
}
