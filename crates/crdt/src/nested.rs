use archipelago_clock::{CausalContext, MintError};

use crate::{
    Causal, Contributions, DeltaCrdt, DotStore, GCounter, GSet, LwwMap, LwwRegister, MaxRegister,
    MinRegister, PnCounter,
};

/// A type that can be the value of an [`OrMap`](crate::OrMap), with the store that the map keeps for it.
///
/// The causal types are kept as their own stores and share the map's context. The others are kept as
/// [`Contributions`]. [`BoundedCounter`](crate::BoundedCounter) and [`TwoPhaseSet`](crate::TwoPhaseSet) are not
/// among them: the rights of the one and the removals of the other must outlast a removed key.
pub trait Nested<A>: DeltaCrdt + Clone + PartialEq {
    /// What the map keeps.
    type Dots: MapValue<Actor = A, Face = Self>;
}

/// A [`DotStore`] that an [`OrMap`](crate::OrMap) can keep for each key.
pub trait MapValue: DotStore {
    /// The type as which it is updated.
    type Face: DeltaCrdt;

    /// Updates the store through its face, within a context that it shares with others, and returns the delta.
    ///
    /// # Errors
    /// Those of `change`, and [`MintError`] where the store itself mints a dot.
    fn update_in<E: From<MintError>>(
        &mut self,
        context: &mut CausalContext<Self::Actor>,
        actor: Self::Actor,
        change: impl FnOnce(&mut Self::Face, Self::Actor) -> Result<<Self::Face as DeltaCrdt>::Delta, E>,
    ) -> Result<Causal<Self>, E>;

    /// As [`update_in`](Self::update_in), without the delta. Gives what `change` gives.
    ///
    /// # Errors
    /// As [`update_in`](Self::update_in).
    fn change_in<R, E: From<MintError>>(
        &mut self,
        context: &mut CausalContext<Self::Actor>,
        actor: Self::Actor,
        change: impl FnOnce(&mut Self::Face, Self::Actor) -> Result<R, E>,
    ) -> Result<R, E>;
}

impl<S: MapValue<Face = Self>> Nested<S::Actor> for Causal<S> {
    type Dots = S;
}

/// Changes a causal type that shares a context: store and context come together for the time of the change.
pub(crate) fn change_causal<S: DotStore, R>(
    store: &mut S,
    context: &mut CausalContext<S::Actor>,
    actor: S::Actor,
    change: impl FnOnce(&mut Causal<S>, S::Actor) -> R,
) -> R {
    /// Puts both back where they came from, also if the change panics.
    struct Together<'a, S: DotStore> {
        whole: Causal<S>,
        store: &'a mut S,
        context: &'a mut CausalContext<S::Actor>,
    }

    impl<S: DotStore> Drop for Together<'_, S> {
        fn drop(&mut self) {
            std::mem::swap(self.store, &mut self.whole.store);
            std::mem::swap(self.context, &mut self.whole.context);
        }
    }

    let whole = Causal { store: std::mem::take(store), context: std::mem::take(context) };
    let mut together = Together { whole, store, context };
    change(&mut together.whole, actor)
}

macro_rules! nest_causal {
    ([$($generics:tt)*] $store:ty) => {
        impl<$($generics)*> $crate::MapValue for $store {
            type Face = $crate::Causal<Self>;

            fn update_in<E: From<archipelago_clock::MintError>>(
                &mut self,
                context: &mut archipelago_clock::CausalContext<Self::Actor>,
                actor: Self::Actor,
                change: impl FnOnce(&mut Self::Face, Self::Actor) -> Result<Self::Face, E>,
            ) -> Result<$crate::Causal<Self>, E> {
                $crate::nested::change_causal(self, context, actor, change)
            }

            fn change_in<R, E: From<archipelago_clock::MintError>>(
                &mut self,
                context: &mut archipelago_clock::CausalContext<Self::Actor>,
                actor: Self::Actor,
                change: impl FnOnce(&mut Self::Face, Self::Actor) -> Result<R, E>,
            ) -> Result<R, E> {
                $crate::nested::change_causal(self, context, actor, change)
            }
        }
    };
}

pub(crate) use nest_causal;

macro_rules! nest_contributions {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)* A: Ord + Clone> Nested<A> for $type {
            type Dots = Contributions<Self, A>;
        }
    )*};
}

nest_contributions! {
    [] GCounter<A>;
    [] PnCounter<A>;
    [T: Ord + Clone,] GSet<T>;
    [T: Ord + Clone, S: Ord + Clone,] LwwRegister<T, S>;
    [K: Ord + Clone, V: Ord + Clone, S: Ord + Clone,] LwwMap<K, V, S>;
    [T: Ord + Clone,] MaxRegister<T>;
    [T: Ord + Clone,] MinRegister<T>;
}
