//! The laws of [`Crdt`] and [`DeltaCrdt`] as assertions, for the property tests of each type.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Crdt, DeltaCrdt};

fn joined<C: Crdt + Clone>(a: &C, b: &C) -> C {
    let mut joined = a.clone();
    joined.merge(b);
    joined
}

/// Commutative, associative, idempotent, monotone.
pub(crate) fn join<C: Crdt + Clone + PartialEq + Debug>(a: &C, b: &C, c: &C) {
    assert_eq!(joined(a, b), joined(b, a), "commutative");
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associative");
    assert_eq!(joined(a, a), *a, "idempotent");
    let mut absorbed = a.clone();
    absorbed.absorb(b.clone());
    assert_eq!(absorbed, joined(a, b), "absorbing is merging");
    assert!(joined(a, b).covers(a) && joined(a, b).covers(b), "monotone");
}

/// A delta of `a` since `b` has the effect of `a` on anything that covers `b`.
pub(crate) fn delta<C: DeltaCrdt + Clone + PartialEq + Debug>(a: &C, b: &C, x: &C) {
    for receiver in [b.clone(), joined(b, x)] {
        let expected = joined(&receiver, a);
        let mut actual = receiver;
        match a.delta_since(b) {
            Some(delta) => actual.merge_delta(&delta),
            None => assert!(b.covers(a), "no delta though something is new"),
        }
        assert_eq!(actual, expected, "delta merge equals state merge");
    }
    assert!(a.delta_since(a).is_none(), "nothing is new to oneself");
    assert_eq!(a.delta_since(b).is_none(), b.covers(a), "a delta exactly when something is new");
}

/// An update moves `a` up, and its delta repeats it: on `a` exactly, on any other `y` without going down. An
/// update that is refused changes nothing.
pub(crate) fn update<C>(a: &C, y: &C, update: impl FnOnce(&mut C) -> Option<C::Delta>)
where
    C: DeltaCrdt + Clone + PartialEq + Debug,
{
    let mut updated = a.clone();
    let Some(delta) = update(&mut updated) else {
        assert_eq!(updated, *a, "a refused update changes nothing");
        return;
    };
    assert!(updated.covers(a), "updates move up");
    let mut repeated = a.clone();
    repeated.merge_delta(&delta);
    assert_eq!(repeated, updated, "the delta repeats the update");
    let mut elsewhere = joined(a, y);
    elsewhere.merge_delta(&delta);
    assert_eq!(elsewhere, joined(&updated, y), "the delta has the effect of the state elsewhere");
}

/// An update without a delta does what the one with a delta does, if that is refused too.
pub(crate) fn in_place<C: Clone + PartialEq + Debug, D>(
    state: &mut C,
    quietly: impl FnOnce(&mut C) -> bool,
    update: impl FnOnce(&mut C) -> Option<D>,
) -> Option<D> {
    let mut quiet = state.clone();
    let done = quietly(&mut quiet);
    let delta = update(state);
    assert_eq!((done, quiet), (delta.is_some(), state.clone()), "an update in place is the update");
    delta
}

/// Encoding in JSON and MessagePack is the identity, and equal states have equal bytes.
pub(crate) fn encoding<C>(a: &C, b: &C)
where
    C: Crdt + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let json = serde_json::to_string(a).unwrap();
    assert_eq!(serde_json::from_str::<C>(&json).unwrap(), *a, "{json}");
    let bytes = rmp_serde::to_vec_named(a).unwrap();
    assert_eq!(rmp_serde::from_slice::<C>(&bytes).unwrap(), *a);
    let (one_way, other_way) = (joined(a, b), joined(b, a));
    assert_eq!(rmp_serde::to_vec_named(&one_way).unwrap(), rmp_serde::to_vec_named(&other_way).unwrap());
    assert_eq!(serde_json::to_string(&one_way).unwrap(), serde_json::to_string(&other_way).unwrap());
}
