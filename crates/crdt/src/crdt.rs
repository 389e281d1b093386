use crate::Kind;

/// A replicated value whose states form a join-semilattice.
///
/// Any two replicas that have merged the same set of states, in any order, grouping and number of times, are
/// equal. That needs five laws, which this crate checks for each of its types by property tests:
///
/// | law | statement |
/// |---|---|
/// | commutative | `a ⊔ b = b ⊔ a` |
/// | associative | `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)` |
/// | idempotent | `a ⊔ a = a` |
/// | monotone merge | `a ≤ a ⊔ b`: nothing that was known is forgotten |
/// | monotone update | a mutator only moves a state up: `a ≤ update(a)` |
///
/// where `a ⊔ b` is [`merge`](Crdt::merge) and `a ≤ b` means `a ⊔ b = b`, which is [`covers`](Crdt::covers).
///
/// # Legal orders of operations
///
/// Merges may come in any order, late, more than once, and with any state that a replica has ever been in.
/// Updates are the one thing that has an order: a replica updates only through its own, current state, under
/// its own actor id. Two writers that share an actor id, or one that goes back to an old copy of its state and
/// updates it anew, break the premise of every type here; no merge can detect that. [`ReplicaId`]s carry an
/// incarnation for that reason.
///
/// Merging is total: it has no error, and the laws hold for *every* pair of states of a type, including those
/// that only misuse can produce. So misuse is refused where it enters, in mutators and in decoding, and a
/// mistake elsewhere can make a value wrong but never make replicas differ.
///
/// Shapiro, Preguiça, Baquero, Zawirski: *A comprehensive study of convergent and commutative replicated data
/// types*, INRIA RR-7506, 2011.
///
/// [`ReplicaId`]: archipelago_clock::ReplicaId
pub trait Crdt {
    /// Which kind this type is in encodings, if it is one of those that the [`dynamic`](crate::dynamic) layer
    /// knows; a type of one's own is not.
    fn kind() -> Option<Kind>
    where
        Self: Sized,
    {
        None
    }

    /// Joins `other` into this state: afterwards it is the least state that covers both.
    fn merge(&mut self, other: &Self);

    /// As [`merge`](Crdt::merge), of a state that is not needed any more: types that can, move its parts in place of
    /// cloning them.
    fn absorb(&mut self, other: Self)
    where
        Self: Sized,
    {
        self.merge(&other);
    }

    /// Whether this state knows everything that `other` knows, so that merging `other` would change nothing.
    ///
    /// This is the order of the lattice. Two states that do not cover one another are concurrent.
    fn covers(&self, other: &Self) -> bool
    where
        Self: Clone + PartialEq,
    {
        let mut joined = self.clone();
        joined.merge(other);
        joined == *self
    }
}
