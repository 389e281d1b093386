use archipelago_clock::{CausalContext, Dot};

use crate::Kind;

/// What a [`Causal`](crate::Causal) type keeps besides its context: the dots that are live and what they mean.
///
/// A dot in the context that is not in the store is dead, and stays so: that is how a removal is known without a
/// tombstone. For one place in a store and one dot there are three steps, and merging takes the higher one:
/// *unseen* (not in the context), *live* (in the store), *dead* (in the context alone). A chain is a lattice, and
/// a store is a product of such chains, so the laws hold whatever the states. Invariant: the dots of a store lie
/// in the context it is used with.
///
/// Almeida, Shoker, Baquero, *Delta state replicated data types*, 2018, section 7.
pub trait DotStore: Clone + Default + PartialEq {
    /// Who mints the dots.
    type Actor: Ord + Clone;

    /// Which kind a [`Causal`](crate::Causal) with this store is in encodings, if it is one of those that the
    /// [`dynamic`](crate::dynamic) layer knows.
    fn kind() -> Option<Kind> {
        None
    }

    /// Whether no dot is live.
    fn is_empty(&self) -> bool;

    /// Joins `other` into this store, each with the context it belongs to, before those are merged.
    ///
    /// Returns how many of the dots that were live here `other_context` has, whether or not they remain. A caller
    /// that knows how many there can be need not look for more.
    fn join(
        &mut self,
        context: &CausalContext<Self::Actor>,
        other: &Self,
        other_context: &CausalContext<Self::Actor>,
    ) -> u128;

    /// The part of this store that `since` lacks. The context of the delta is to be what `since_context` lacks of
    /// `context` and, besides, the dots that this pushes to `known`: those that were live there and are dead here,
    /// and those whose content has changed.
    fn news(
        &self,
        context: &CausalContext<Self::Actor>,
        since: &Self,
        since_context: &CausalContext<Self::Actor>,
        known: &mut Vec<Dot<Self::Actor>>,
    ) -> Self;

    /// Whether [`settle`](Self::settle) does anything.
    const SETTLES: bool = false;

    /// Brings up to date what the store derives from its dots for quicker reading, after a join, a decoding or the
    /// making of a delta, with the context that it now belongs to.
    fn settle(&mut self, _context: &CausalContext<Self::Actor>) {}

    /// Shows every live dot.
    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<Self::Actor>));

    /// All live dots.
    fn dots(&self) -> Vec<Dot<Self::Actor>> {
        let mut dots = Vec::new();
        self.visit_dots(&mut |dot| dots.push(dot.clone()));
        dots
    }
}

/// A store that has so many times fewer entries than the one it is joined into is joined entry by entry, without a
/// walk through both. Tests have few entries, and take both ways.
pub(crate) const FEWER_TIMES: usize = if cfg!(test) { 1 } else { 16 };

/// A store that is another one under a name of its own, and the type that it is the store of.
macro_rules! delegate_dot_store {
    ([$($generics:tt)*] $store:ty, $field:ident, $actor:ty $(, kind: $kind:expr)?) => {
        delegate_dot_store!([$($generics)*] $store, $field, $actor $(, kind: $kind)?, settles: false);
    };
    ([$($generics:tt)*] $store:ty, $field:ident, $actor:ty $(, kind: $kind:expr)?, settles: $settles:expr) => {
        impl<$($generics)*> $crate::DotStore for $store {
            type Actor = $actor;

            const SETTLES: bool = $settles;

            $(fn kind() -> Option<$crate::Kind> {
                $kind
            })?

            fn settle(&mut self, context: &archipelago_clock::CausalContext<$actor>) {
                self.$field.settle(context);
            }

            fn is_empty(&self) -> bool {
                $crate::DotStore::is_empty(&self.$field)
            }

            fn join(
                &mut self,
                context: &archipelago_clock::CausalContext<$actor>,
                other: &Self,
                other_context: &archipelago_clock::CausalContext<$actor>,
            ) -> u128 {
                self.$field.join(context, &other.$field, other_context)
            }

            fn news(
                &self,
                context: &archipelago_clock::CausalContext<$actor>,
                since: &Self,
                since_context: &archipelago_clock::CausalContext<$actor>,
                known: &mut Vec<archipelago_clock::Dot<$actor>>,
            ) -> Self {
                let $field = self.$field.news(context, &since.$field, since_context, known);
                Self { $field }
            }

            fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a archipelago_clock::Dot<$actor>)) {
                self.$field.visit_dots(visit);
            }
        }
    };
}

pub(crate) use delegate_dot_store;
