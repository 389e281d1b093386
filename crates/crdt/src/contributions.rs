use archipelago_clock::{CausalContext, Dot, MintError, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    Causal, Crdt, DeltaCrdt, MapValue,
    dot_fun::DotFun,
    dot_store::delegate_dot_store,
    encoding::{DeserializeState, SerializeState, State},
};

/// A CRDT without dots of its own, such as a [`GCounter`](crate::GCounter), as an [`OrMap`](crate::OrMap) keeps it
/// under a key: what each actor has contributed, under one dot of that actor.
///
/// An update is done to the actor's own contribution alone and gives it a new dot. So a removal takes every
/// contribution whose latest update it has seen, and the contribution of an actor that updates concurrently remains
/// whole. An actor whose contribution was taken begins anew. Nobody copies another's contribution, so nothing is
/// counted twice and what was taken never comes back.
///
/// Within an update only the actor's own contribution can be seen; read the map for the value.
///
/// Encoded as the list of contributions with their dots: `[["us",5,{"us":3}]]`.
///
/// The embeddable counter of Baquero, Almeida, Lerche, *The problem with embedded CRDT counters and a solution*,
/// PaPoC 2016, for any CRDT: the causal counter that the paper starts from, with the anomaly that it describes, that
/// a concurrent update keeps what the same actor had contributed earlier and the removal had seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contributions<C, A = ReplicaId> {
    by_dot: DotFun<C, A>,
}

impl<C: Crdt + Clone + Default, A> Contributions<C, A> {
    /// All contributions, joined: the state as which it is read.
    pub fn joined(&self) -> C {
        let mut contributions = self.by_dot.iter();
        let mut joined = contributions.next().map_or_else(C::default, |(_, first)| first.clone());
        contributions.for_each(|(_, contribution)| joined.merge(contribution));
        joined
    }
}

impl<C: Crdt + Clone + Default, A: Ord + Clone> Contributions<C, A> {
    /// The actor's own contribution after the change, with its next dot. Nothing is put yet.
    fn changed<R, E: From<MintError>>(
        &self,
        context: &CausalContext<A>,
        actor: A,
        change: impl FnOnce(&mut C, A) -> Result<R, E>,
    ) -> Result<(Dot<A>, C, R), E> {
        let dot = context.next_dot(actor.clone())?;
        // There is one, unless the actor's dots were reused.
        let earlier = self.by_dot.iter().filter(|(dot, _)| dot.actor == actor);
        let mut own = C::default();
        earlier.for_each(|(_, contribution)| own.merge(contribution));
        let result = change(&mut own, actor)?;
        Ok((dot, own, result))
    }

    /// Puts an actor's own contribution and gives what it replaces.
    fn put(&mut self, context: &mut CausalContext<A>, dot: Dot<A>, own: C) -> DotFun<C, A> {
        let replaced = self.by_dot.take_of(&dot.actor);
        context.insert(dot.clone());
        self.by_dot.insert(dot, own);
        replaced
    }
}

impl<C, A> Default for Contributions<C, A> {
    fn default() -> Self {
        Contributions { by_dot: DotFun::new() }
    }
}

delegate_dot_store!([C: Crdt + Clone + PartialEq, A: Ord + Clone] Contributions<C, A>, by_dot, A, kind: C::kind());

impl<C: DeltaCrdt + Clone + Default + PartialEq, A: Ord + Clone> MapValue for Contributions<C, A> {
    type Face = C;

    fn update_in<E: From<MintError>>(
        &mut self,
        context: &mut CausalContext<A>,
        actor: A,
        change: impl FnOnce(&mut C, A) -> Result<C::Delta, E>,
    ) -> Result<Causal<Self>, E> {
        let (dot, own, _) = self.changed(context, actor, change)?;
        let mut live = DotFun::new();
        live.insert(dot.clone(), own.clone());
        let replaced = self.put(context, dot, own);
        Ok(Causal::delta(Contributions { by_dot: live }, Some(replaced)))
    }

    fn change_in<R, E: From<MintError>>(
        &mut self,
        context: &mut CausalContext<A>,
        actor: A,
        change: impl FnOnce(&mut C, A) -> Result<R, E>,
    ) -> Result<R, E> {
        let (dot, own, result) = self.changed(context, actor, change)?;
        self.put(context, dot, own);
        Ok(result)
    }
}

impl<C: SerializeState, A: Serialize> Serialize for Contributions<C, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let contributions = self.by_dot.iter();
        serializer.collect_seq(contributions.map(|(dot, own)| (&dot.actor, dot.sequence, State(own))))
    }
}

impl<'de, C: DeserializeState<'de>, A: Ord + Deserialize<'de>> Deserialize<'de> for Contributions<C, A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let contributions: Vec<(A, u64, State<C>)> = Vec::deserialize(deserializer)?;
        let by_dot =
            contributions.into_iter().map(|(actor, sequence, State(own))| (Dot::new(actor, sequence), own));
        let by_dot = DotFun::from_entries(by_dot.collect());
        Ok(Contributions {
            by_dot: by_dot.ok_or_else(|| D::Error::custom("dots with contents must ascend"))?,
        })
    }
}
