use std::ops::Deref;

use archipelago_clock::{CLOUD_RUNS_MAX, CausalContext};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use smallvec::SmallVec;

use crate::{
    Crdt, DeltaCrdt, DotStore, Kind,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A [`DotStore`] with the context that says which dots it has seen: the frame of every type that can forget
/// without tombstones.
///
/// [`OrSet`](crate::OrSet), [`RwSet`](crate::RwSet), [`MvRegister`](crate::MvRegister),
/// [`EwFlag`](crate::EwFlag), [`DwFlag`](crate::DwFlag), [`OrMap`](crate::OrMap) and [`List`](crate::List) are
/// names for it with their store. What can be read is found on the store, to which this dereferences; what changes
/// something is found here, since it needs the context.
///
/// Encoded as `{"store":...,"context":{"clock":{"us":2}}}`. A delta is a `Causal` too, whose context has the new
/// dots and the removed ones, and no others. Where these are so scattered that they would exceed [`CLOUD_RUNS_MAX`]
/// runs, which a decoder refuses, the whole state takes its place.
///
/// # Order requirements
///
/// None for merging. An actor writes only to its own current state, which has all of its own earlier dots: an
/// update of a state in which some are visibly missing is refused with [`MintError`]. It cannot be detected if an
/// actor writes to an old copy of its state, from which *all* its latest dots are missing: the same dot then names
/// two writes. Replicas agree even then; where the two meet, a dot that is at different places in two stores is
/// dropped from both, and of two contents of one dot the greater stays.
///
/// Almeida, Shoker, Baquero, *Delta state replicated data types*, 2018, section 7, with `Causal<T>` as there.
///
/// [`MintError`]: archipelago_clock::MintError
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Causal<S: DotStore> {
    pub(crate) store: S,
    pub(crate) context: CausalContext<S::Actor>,
}

impl<S: DotStore> Causal<S> {
    /// The state that has seen nothing.
    pub fn new() -> Self {
        Causal { store: S::default(), context: CausalContext::new() }
    }

    /// The dots that were seen, live and dead.
    pub fn context(&self) -> &CausalContext<S::Actor> {
        &self.context
    }

    /// From a decoded store and context, unless they do not fit together.
    pub(crate) fn from_parts(mut store: S, context: CausalContext<S::Actor>) -> Result<Self, &'static str> {
        let mut dots = Vec::new();
        store.visit_dots(&mut |dot| dots.push(dot));
        if dots.iter().any(|dot| dot.sequence == 0 || !context.contains(dot)) {
            return Err("a live dot that the causal context has not seen");
        }
        dots.sort_unstable();
        if dots.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("one dot names two writes");
        }
        store.settle(&context);
        Ok(Causal { store, context })
    }

    /// The delta of a change that left `store` new and killed the dots of `removed`.
    #[inline]
    pub(crate) fn delta(mut store: S, removed: Option<impl DotStore<Actor = S::Actor>>) -> Self {
        let mut context = CausalContext::new();
        store.visit_dots(&mut |dot| {
            context.insert(dot.clone());
        });
        if let Some(removed) = removed {
            // One or two, unless a whole store was removed.
            let mut dots = SmallVec::<[_; 4]>::new();
            removed.visit_dots(&mut |dot| dots.push(dot));
            dots.sort_unstable();
            context.extend(dots.into_iter().cloned());
        }
        store.settle(&context);
        Causal { store, context }
    }

    /// The delta of a removal that has just killed the dots of `removed`, or the state where they are too many to
    /// list.
    pub(crate) fn removal(&self, removed: impl DotStore<Actor = S::Actor>) -> Self {
        self.unless_too_long(Causal::delta(S::default(), Some(removed)))
    }

    /// The delta, or the state in its place if a decoder would refuse the delta.
    pub(crate) fn unless_too_long(&self, delta: Self) -> Self {
        if delta.context.cloud().len() > CLOUD_RUNS_MAX { self.clone() } else { delta }
    }
}

impl<S: DotStore> Default for Causal<S> {
    fn default() -> Self {
        Causal::new()
    }
}

impl<S: DotStore> Deref for Causal<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S: DotStore> Crdt for Causal<S> {
    fn kind() -> Option<Kind> {
        S::kind()
    }

    fn merge(&mut self, other: &Self) {
        if self.context.is_empty() {
            self.clone_from(other);
            return;
        }
        self.store.join(&self.context, &other.store, &other.context);
        self.context.merge(&other.context);
        self.store.settle(&self.context);
    }

    fn covers(&self, other: &Self) -> bool {
        self.context.dominates(&other.context) && other.delta_since(self).is_none()
    }
}

impl<S: DotStore> DeltaCrdt for Causal<S> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let mut known = Vec::new();
        let mut store = self.store.news(&self.context, &since.store, &since.context, &mut known);
        let mut context = self.context.difference(&since.context);
        known.sort_unstable();
        context.merge(&known.into_iter().collect());
        if context.is_empty() {
            return None;
        }
        store.settle(&context);
        Some(self.unless_too_long(Causal { store, context }))
    }
}

carry_kind!([S: DotStore] Causal<S>, S::kind());

impl<S> SerializeState for Causal<S>
where
    S: DotStore + Serialize,
    S::Actor: Serialize,
{
    fn serialize_state<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        #[derive(Serialize)]
        #[serde(rename = "Causal", bound(serialize = "S: Serialize, A: Serialize"))]
        struct Fields<'a, S, A> {
            store: &'a S,
            context: &'a CausalContext<A>,
        }
        Fields { store: &self.store, context: &self.context }.serialize(serializer)
    }
}

impl<'de, S> DeserializeState<'de> for Causal<S>
where
    S: DotStore + Deserialize<'de>,
    S::Actor: Deserialize<'de>,
{
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            deny_unknown_fields,
            rename = "Causal",
            bound(deserialize = "S: Deserialize<'de>, A: Ord + Clone + Deserialize<'de>")
        )]
        struct Fields<S, A> {
            store: S,
            context: CausalContext<A>,
        }
        let Fields { store, context } = Fields::<S, S::Actor>::deserialize(deserializer)?;
        Causal::from_parts(store, context).map_err(D::Error::custom)
    }
}
