//! Random executions of a replicated type on three replicas, checked against the laws and against a model that
//! knows only the operations and which of them happened before which.

use std::{collections::BTreeSet, fmt::Debug};

use archipelago_clock::VectorClock;
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Causal, Crdt, DeltaCrdt, DotStore, laws};

const REPLICAS: u8 = 3;

/// A type under test. Replicas are the actors 0, 1 and 2.
pub(crate) trait Subject {
    type State: DeltaCrdt<Delta = Self::State>
        + Clone
        + Default
        + PartialEq
        + Debug
        + Serialize
        + DeserializeOwned;
    type Op: Clone + Debug;
    type Value: PartialEq + Debug;

    /// Does `op` for `actor` and gives the delta, or `None` if it is refused.
    fn update(state: &mut Self::State, actor: u8, op: &Self::Op) -> Option<Self::State>;

    fn value(state: &Self::State) -> Self::Value;

    /// What the value is by definition, given the operations that a replica knows.
    fn model(history: &History<Self::Op>) -> Self::Value;
}

#[derive(Clone, Debug)]
pub(crate) enum Step<Op> {
    Update { replica: u8, op: Op },
    Merge { from: u8, to: u8, how: How },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    State,
    Delta,
}

#[derive(Clone, Debug)]
pub(crate) struct Execution<Op> {
    pub(crate) steps: Vec<Step<Op>>,
    /// Where to damage an encoding, and how.
    pub(crate) damage: (usize, u8),
}

pub(crate) fn executions<Op: Debug + Clone>(
    ops: impl Strategy<Value = Op>,
) -> impl Strategy<Value = Execution<Op>> {
    let how = prop_oneof![Just(How::State), Just(How::Delta)];
    let step = prop_oneof![
        3 => (0..REPLICAS, ops).prop_map(|(replica, op)| Step::Update { replica, op }),
        2 => (0..REPLICAS, 0..REPLICAS, how).prop_map(|(from, to, how)| Step::Merge { from, to, how }),
    ];
    let steps = proptest::collection::vec(step, 0..30);
    (steps, any::<(usize, u8)>()).prop_map(|(steps, damage)| Execution { steps, damage })
}

/// One operation of an execution.
#[derive(Debug)]
pub(crate) struct Event<Op> {
    pub(crate) replica: u8,
    op: Op,
    past: BTreeSet<usize>,
}

/// The operations that a replica knows, a causally closed part of all.
pub(crate) struct History<'a, Op> {
    events: &'a [Event<Op>],
    known: &'a BTreeSet<usize>,
}

impl<Op> History<'_, Op> {
    /// The known operations, each replica's in its order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Op)> {
        self.known.iter().map(|&event| (event, &self.events[event].op))
    }

    /// The known operations that `event` happened before.
    pub(crate) fn after(&self, event: usize) -> impl Iterator<Item = &Op> {
        self.iter().filter(move |&(later, _)| self.before(event, later)).map(|(_, op)| op)
    }

    /// Whether `earlier` happened before `later`.
    pub(crate) fn before(&self, earlier: usize, later: usize) -> bool {
        self.events[later].past.contains(&earlier)
    }

    /// Who did `event`.
    pub(crate) fn actor(&self, event: usize) -> u8 {
        self.events[event].replica
    }
}

/// Runs the execution and checks every law on the states that occur in it.
pub(crate) fn check<S: Subject>(execution: &Execution<S::Op>) {
    let mut states: Vec<S::State> = (0..REPLICAS).map(|_| S::State::default()).collect();
    let mut known: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); usize::from(REPLICAS)];
    let mut events: Vec<Event<S::Op>> = Vec::new();
    let mut deltas: Vec<S::State> = Vec::new();
    let mut seen: Vec<S::State> = states.clone();

    for step in &execution.steps {
        let changed = match step {
            Step::Update { replica, op } => {
                let at = usize::from(*replica);
                laws::update(&states[at], &states[(at + 1) % states.len()], |state| {
                    S::update(state, *replica, op)
                });
                if let Some(delta) = S::update(&mut states[at], *replica, op) {
                    deltas.push(delta);
                    let past = known[at].clone();
                    known[at].insert(events.len());
                    events.push(Event { replica: *replica, op: op.clone(), past });
                }
                at
            }
            Step::Merge { from, to, how } => {
                let (from, to) = (usize::from(*from), usize::from(*to));
                let (sender, news) = (states[from].clone(), known[from].clone());
                match how {
                    How::State => states[to].merge(&sender),
                    How::Delta => {
                        if let Some(delta) = sender.delta_since(&states[to]) {
                            states[to].merge_delta(&delta);
                        }
                    }
                }
                known[to].extend(news);
                to
            }
        };
        let history = History { events: &events, known: &known[changed] };
        assert_eq!(S::value(&states[changed]), S::model(&history), "the value is what the model says");
        seen.push(states[changed].clone());
    }

    let pick = |at: usize| &seen[at % seen.len()];
    let (old, older) = (pick(execution.damage.0), pick(execution.damage.0 / 7));
    for (a, b, c) in
        [(&states[0], &states[1], &states[2]), (old, &states[1], older), (older, old, &states[2])]
    {
        laws::join(a, b, c);
        laws::delta(a, b, c);
        laws::delta(c, a, b);
        laws::encoding(a, b);
    }
    deltas_converge(&states, &deltas);
    damaged_input_is_harmless(&states, execution.damage);
}

/// Runs the execution twice, once with every replica forgetting at each of its merges what it may, and checks that
/// this never shows. A replica may forget what lies in the vectors of all, of each as it was when all that it had
/// done until then had come here.
pub(crate) fn check_forgetting<S: Subject<State = Causal<D>>, D: DotStore<Actor = u8> + Debug>(
    execution: &Execution<S::Op>,
    forget: impl Fn(&mut Causal<D>, &VectorClock<u8>) -> Causal<D>,
) {
    let replicas = usize::from(REPLICAS);
    let (mut plain, mut frugal) = (vec![S::State::default(); replicas], vec![S::State::default(); replicas]);
    // What each replica knows each to have seen.
    let mut vectors: Vec<Vec<VectorClock<u8>>> = vec![vec![VectorClock::new(); replicas]; replicas];
    for step in &execution.steps {
        let changed = match step {
            Step::Update { replica, op } => {
                let at = usize::from(*replica);
                let did = S::update(&mut plain[at], *replica, op).is_some();
                assert_eq!(S::update(&mut frugal[at], *replica, op).is_some(), did);
                at
            }
            Step::Merge { from, to, .. } => {
                let (from, to) = (usize::from(*from), usize::from(*to));
                for states in [&mut plain, &mut frugal] {
                    let sender = states[from].clone();
                    states[to].merge(&sender);
                }
                vectors[from][from] = frugal[from].context().clock().clone();
                let news = vectors[from].clone();
                vectors[to].iter_mut().zip(&news).for_each(|(known, new)| known.merge(new));
                vectors[to][to] = frugal[to].context().clock().clone();
                let everywhere =
                    |actor| vectors[to].iter().map(|vector| vector.get(&actor)).min().unwrap_or(0);
                let stable = (0..REPLICAS).map(|actor| (actor, everywhere(actor))).collect();
                let before = frugal[to].clone();
                let delta = forget(&mut frugal[to], &stable);
                laws::delta(&delta, &before, &frugal[from]);
                assert!(frugal[to].covers(&before), "forgetting moves up");
                to
            }
        };
        assert_eq!(S::value(&frugal[changed]), S::value(&plain[changed]), "forgetting never shows");
    }
    for states in [&mut plain, &mut frugal] {
        let mut all = S::State::default();
        states.iter().for_each(|state| all.merge(state));
        states[0] = all;
    }
    assert_eq!(S::value(&frugal[0]), S::value(&plain[0]), "nor in the end");
}

/// The deltas alone, in any order and some of them twice, amount to all states merged.
fn deltas_converge<C: DeltaCrdt<Delta = C> + Clone + Default + PartialEq + Debug>(
    states: &[C],
    deltas: &[C],
) {
    let mut all = C::default();
    states.iter().for_each(|state| all.merge(state));
    let mut backwards = C::default();
    deltas.iter().rev().for_each(|delta| backwards.merge_delta(delta));
    deltas.iter().step_by(2).for_each(|delta| backwards.merge_delta(delta));
    assert_eq!(backwards, all, "deltas in reverse");
    let mut grouped = C::default();
    let mut group = C::default();
    deltas.iter().skip(1).step_by(2).for_each(|delta| group.merge(delta));
    deltas.iter().step_by(2).for_each(|delta| grouped.merge_delta(delta));
    grouped.merge_delta(&group);
    assert_eq!(grouped, all, "deltas joined to one another first");
}

/// Whatever damaged bytes decode to, if to anything, it can be merged and encoded, and the laws hold.
fn damaged_input_is_harmless<C>(states: &[C], (at, byte): (usize, u8))
where
    C: DeltaCrdt<Delta = C> + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let mut bytes = rmp_serde::to_vec_named(&states[0]).unwrap();
    let len = bytes.len();
    bytes[at % len] = byte;
    if let Ok(odd) = rmp_serde::from_slice::<C>(&bytes) {
        laws::join(&odd, &states[1], &states[2]);
        laws::delta(&odd, &states[1], &states[2]);
        laws::encoding(&odd, &states[1]);
    }
    assert!(rmp_serde::from_slice::<C>(&bytes[..at % len]).is_err());
}
