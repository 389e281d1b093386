//! Maps of CRDTs.

use std::fmt::Debug;

use archipelago_crdt::{CounterError, DeltaCrdt, MintError, MvRegister, Nested, OrMap, OrSet, PnCounter};
use proptest::prelude::*;

use super::{
    crdts::{insertions_and_removals, letters},
    replicas,
};

/// Three maps of CRDTs of one history, with letters as keys: `ops` makes operations on values, `change` does one, as
/// [`OrMap::update`](archipelago_crdt::Causal::update) wants it. One operation in four removes a key.
///
/// ```
/// use archipelago_crdt::{EwFlag, OrMap};
/// use archipelago_testkit::{generate, proptest::prelude::*};
///
/// fn maps_of_flags() -> impl Strategy<Value = [OrMap<char, EwFlag<u8>, u8>; 3]> {
///     generate::or_maps(Just(()), |flag: &mut EwFlag<u8>, actor, ()| flag.enable(actor))
/// }
/// # let _ = maps_of_flags();
/// ```
pub fn or_maps<V, Op, E>(
    ops: impl Strategy<Value = Op>,
    change: impl Fn(&mut V, u8, &Op) -> Result<<V as DeltaCrdt>::Delta, E>,
) -> impl Strategy<Value = [OrMap<char, V, u8>; 3]>
where
    V: Nested<u8>,
    Op: Clone + Debug,
    E: From<MintError>,
    OrMap<char, V, u8>: Debug,
{
    let ops = (letters(), proptest::option::weighted(0.75, ops));
    replicas(ops, move |map: &mut OrMap<char, V, u8>, actor, (key, op)| match op {
        Some(op) => drop(map.update(actor, *key, |value, actor| change(value, actor, op))),
        None => drop(map.remove(key)),
    })
}

/// Three maps of counters of one history.
pub fn or_maps_of_counters() -> impl Strategy<Value = [OrMap<char, PnCounter<u8>, u8>; 3]> {
    let ops = (any::<bool>(), 0..4u64);
    or_maps(ops, |counter: &mut PnCounter<u8>, actor, &(grow, by)| -> Result<_, CounterError> {
        if grow { counter.increment(actor, by) } else { counter.decrement(actor, by) }
    })
}

/// Three maps of add-wins sets of one history.
pub fn or_maps_of_sets() -> impl Strategy<Value = [OrMap<char, OrSet<char, u8>, u8>; 3]> {
    or_maps(insertions_and_removals(), |set: &mut OrSet<char, u8>, actor, (insert, letter)| {
        if *insert { set.insert(actor, *letter) } else { Ok(set.remove(letter)) }
    })
}

type Registers = OrMap<char, MvRegister<char, u8>, u8>;

/// Three maps of maps of registers of one history; inner keys are removed too.
pub fn or_maps_of_maps() -> impl Strategy<Value = [OrMap<char, Registers, u8>; 3]> {
    let ops = (letters(), proptest::option::weighted(0.75, letters()));
    or_maps(ops, |map: &mut Registers, actor, (key, write)| match write {
        Some(letter) => map.update(actor, *key, |register, actor| register.write(actor, *letter)),
        None => Ok(map.remove(key)),
    })
}
