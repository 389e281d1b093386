use crate::Crdt;

/// A [`Crdt`] that can send what is new in place of its whole state.
///
/// A delta is a state of a lattice too, usually of the same one and only smaller, so deltas can be lost,
/// repeated, reordered and joined to one another like states. There are two ways to come by one:
///
/// - every mutator of this crate changes the state in place **and** returns the delta of that change: merging it
///   elsewhere has the same effect;
/// - [`delta_since`](DeltaCrdt::delta_since) computes what another, older state lacks.
///
/// Take the delta of the mutator to send each change at once. Who sends whole states, or what
/// [`delta_since`](DeltaCrdt::delta_since) gives, would drop it: where making one costs as much as the change, the
/// mutator has a twin without, whose name ends in `_in_place`, as
/// [`OrSet::insert_in_place`](crate::OrSet::insert_in_place) and
/// [`OrMap::update_in_place`](crate::OrMap::update_in_place).
///
/// # Laws
///
/// For states `a`, `b` and `x` with `x ≥ b`:
///
/// - *a delta says what a state says*: `x` merged with `a.delta_since(b)` is `x ⊔ a`, and where that is `None`,
///   `x ⊔ a = x`;
/// - *a mutator's delta says what the mutator did*: if `a'` is `a` after an update that returned `d`, then `a`
///   merged with `d` is `a'`, and any `y` merged with `d` covers what `y` was.
///
/// # Legal orders of operations
///
/// [`merge_delta`](DeltaCrdt::merge_delta) may be called with any delta at any time; it converges once all
/// deltas have arrived. Types whose deltas mean something only after earlier ones say so on the type and keep
/// what came early.
///
/// Almeida, Shoker, Baquero: *Delta state replicated data types*, J. Parallel Distrib. Comput. 111, 2018. The
/// departure from the paper: the delta has its own type, where the paper has it in the lattice of the state, so
/// that a type may encode its deltas more tightly.
pub trait DeltaCrdt: Crdt {
    /// What is sent in place of the state; `Self` unless the type has a tighter form.
    type Delta: Crdt;

    /// Joins a delta into this state.
    fn merge_delta(&mut self, delta: &Self::Delta);

    /// What this state knows and `since` does not, or `None` if `since` covers this state.
    fn delta_since(&self, since: &Self) -> Option<Self::Delta>;
}
