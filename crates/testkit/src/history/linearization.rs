use std::collections::HashMap;

use super::{Model, Operation, bits::Bits};

/// How many operations of a kind are kept for a report.
const SHOWN_MAX: usize = 8;

/// The search for a legal order of the operations of one part; [`check_model`](super::check_model) says how and why.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    answered: Vec<Answered<'a, M>>,
    unknown: Vec<Unknown<'a, M>>,
    /// The unknown operations that are equal, in the order of their invocations.
    kinds: Vec<Vec<usize>>,
    /// What is in the order.
    placed: Bits,
    used: Bits,
    /// The first answered operation that is not, and the first of those after which there is none that is.
    base: usize,
    end: usize,
    placed_count: usize,
    /// What has been tried, by the answered operations in the order.
    tried: HashMap<Box<[u64]>, Vec<Tried<M::State>>>,
    path: Vec<Position<M::State>>,
    farthest: Option<End<'a, M>>,
    effects: Effects,
    /// How many states were looked at.
    pub(super) states: u64,
    states_max: u64,
}

/// How often an unknown operation may take effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effects {
    /// At most once, as is true.
    Once,
    /// At most once before each answered operation. Then there is nothing to choose between orders that use up
    /// different ones. Where even so there is no legal order, there is none.
    Often,
}

struct Answered<'a, M: Model> {
    operation: &'a Operation<M::Op, M::Result>,
    result: &'a M::Result,
    completed_ns: u64,
}

struct Unknown<'a, M: Model> {
    operation: &'a Operation<M::Op, M::Result>,
    taken_for: M::Op,
}

/// The unknown operations in an order, and the state after it.
struct Tried<S> {
    used: Box<[u64]>,
    state: S,
}

/// How far an order came.
pub(super) struct End<'a, M: Model> {
    /// The last of the order, unknown operations included.
    pub(super) last: Vec<&'a Operation<M::Op, M::Result>>,
    /// How many answered operations are in the order.
    pub(super) answered: usize,
    pub(super) state: M::State,
    /// What could have come next, were it legal; not all, if there is much.
    pub(super) next: Vec<&'a Operation<M::Op, M::Result>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Answered(usize),
    Unknown(usize),
}

/// After some operation in the order.
struct Position<S> {
    /// The operation; none at the start.
    after: Option<Next>,
    state: S,
    /// The states before each of the unknown operations that come last.
    before: Vec<S>,
    /// What is still to be tried, the last one first.
    untried: Vec<(Next, S)>,
    stage: Stage,
    /// What `end` is to be again.
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Only answered operations were looked at.
    Answered,
    /// All were.
    All,
}

impl<'a, M: Model> Search<'a, M> {
    /// `part` is in the order of the invocations.
    pub(super) fn new(
        model: &'a M,
        part: &[&'a Operation<M::Op, M::Result>],
        effects: Effects,
        states_max: u64,
    ) -> Self {
        let (mut answered, mut unknown) = (Vec::new(), Vec::<Unknown<'a, M>>::new());
        let mut taken_for = model.unknowns(part).into_iter();
        for &operation in part {
            if let (Some(result), Some(completed_ns)) = (operation.result(), operation.completed_ns()) {
                answered.push(Answered { operation, result, completed_ns });
            } else if let Some(taken_for) = taken_for.next().flatten() {
                unknown.push(Unknown { operation, taken_for });
            }
        }
        let mut kinds: Vec<Vec<usize>> = Vec::new();
        let mut places: HashMap<M::Op, usize> = HashMap::new();
        for (number, Unknown { taken_for, .. }) in unknown.iter().enumerate() {
            let kind = *places.entry(taken_for.clone()).or_insert(kinds.len());
            if kind == kinds.len() {
                kinds.push(Vec::new());
            }
            kinds[kind].push(number);
        }
        Search {
            model,
            placed: Bits::none(answered.len()),
            used: Bits::none(unknown.len()),
            answered,
            unknown,
            kinds,
            base: 0,
            end: 0,
            placed_count: 0,
            tried: HashMap::new(),
            path: Vec::new(),
            farthest: None,
            effects,
            states: 0,
            states_max,
        }
    }

    pub(super) fn answered(&self) -> usize {
        self.answered.len()
    }

    /// Whether there is a legal order; `None` if it took too long to say.
    pub(super) fn run(&mut self) -> Option<bool> {
        self.enter(None, self.model.initial(), Vec::new());
        while self.placed_count < self.answered.len() {
            if self.states > self.states_max {
                return None;
            }
            let Some(position) = self.path.last_mut() else { return Some(false) };
            match position.untried.pop() {
                Some((next, state)) => {
                    let before = match next {
                        Next::Answered(_) => Vec::new(),
                        Next::Unknown(_) => {
                            let state = std::iter::once(position.state.clone());
                            position.before.iter().cloned().chain(state).collect()
                        }
                    };
                    self.enter(Some(next), state, before);
                }
                None if position.stage == Stage::Answered => {
                    position.stage = Stage::All;
                    self.try_unknown();
                }
                None => self.leave(),
            }
        }
        Some(true)
    }

    /// How far the best order came, after a search that found none.
    pub(super) fn farthest(&self) -> &End<'a, M> {
        self.farthest.as_ref().expect("a search that fails leaves the start")
    }

    fn enter(&mut self, after: Option<Next>, state: M::State, before: Vec<M::State>) {
        let end = self.end;
        match after {
            Some(Next::Answered(number)) => {
                self.placed.insert(number);
                self.placed_count += 1;
                self.base = self.placed.next_missing(self.base);
                self.end = end.max(number + 1);
            }
            Some(Next::Unknown(number)) if self.effects == Effects::Once => self.used.insert(number),
            Some(Next::Unknown(_)) | None => {}
        }
        // What may follow an unknown operation depends on the state before it, too; so such a position is not remembered.
        let is_new = !before.is_empty() || self.remember(&state);
        let stage = if is_new { Stage::Answered } else { Stage::All };
        self.path.push(Position { after, state, before, untried: Vec::new(), stage, end });
        if is_new {
            self.try_answered();
        }
    }

    fn leave(&mut self) {
        let best = self.farthest.as_ref().map(|end| end.answered);
        let is_between = self.path.last().is_some_and(|position| position.before.is_empty());
        if is_between && best.is_none_or(|best| self.placed_count > best) {
            self.farthest = self.here();
        }
        let Some(position) = self.path.pop() else { return };
        match position.after {
            Some(Next::Answered(number)) => {
                self.placed.remove(number);
                self.placed_count -= 1;
                self.base = self.base.min(number);
                self.end = position.end;
            }
            Some(Next::Unknown(number)) if self.effects == Effects::Once => self.used.remove(number),
            Some(Next::Unknown(_)) | None => {}
        }
    }

    /// False if the same answered operations were in an order before that left no fewer unknown ones, in a state from
    /// which no less is legal: if that order could not go on, this one cannot.
    fn remember(&mut self, state: &M::State) -> bool {
        let window = self.placed.words(self.base, self.end);
        let answered = std::iter::once(&(self.base as u64)).chain(window).copied().collect();
        let used = self.used.words(0, self.unknown.len());
        let used = &used[..used.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1)];
        let is_part = |part: &[u64]| {
            part.len() <= used.len() && part.iter().zip(used).all(|(part, whole)| part & !whole == 0)
        };
        let tried = self.tried.entry(answered).or_default();
        self.states += tried.len() as u64;
        let is_known =
            tried.iter().any(|tried| is_part(&tried.used) && self.model.covers(&tried.state, state));
        if !is_known {
            tried.push(Tried { used: used.into(), state: state.clone() });
        }
        !is_known
    }

    /// The answered operations before which no other one that is left ends, and when the first of those that are left
    /// ends.
    fn candidates(&self) -> (Vec<usize>, u64) {
        let (mut candidates, mut first_end_ns, mut number) = (Vec::new(), u64::MAX, self.base);
        while let Some(call) = self.answered.get(number) {
            if call.operation.invoked_ns > first_end_ns {
                break;
            }
            first_end_ns = first_end_ns.min(call.completed_ns);
            candidates.push(number);
            number = self.placed.next_missing(number + 1);
        }
        (candidates, first_end_ns)
    }

    fn try_answered(&mut self) {
        let (candidates, _) = self.candidates();
        let (model, position) = (self.model, self.path.last().expect("there is a start"));
        let (mut untried, mut stage) = (Vec::new(), Stage::Answered);
        for number in candidates {
            let Answered { operation, result, .. } = &self.answered[number];
            self.states += 1;
            let Some(after) = model.step(&position.state, &operation.op, Some(result)) else { continue };
            if let (Some(Next::Unknown(last)), Some(before)) = (position.after, position.before.last()) {
                self.states += 2;
                let unknown = &self.unknown[last].taken_for;
                if is_idle(
                    model,
                    before,
                    unknown,
                    |state| model.step(state, &operation.op, Some(result)),
                    &after,
                ) {
                    continue;
                }
            }
            if after == position.state {
                (untried, stage) = (vec![(0, Next::Answered(number), after)], Stage::All);
                break;
            }
            untried.push((model.order(&operation.op, result), Next::Answered(number), after));
        }
        untried.sort_by_key(|(order, ..)| std::cmp::Reverse(*order));
        let position = self.path.last_mut().expect("there is a start");
        position.untried = untried.into_iter().map(|(_, next, after)| (next, after)).collect();
        position.stage = stage;
    }

    fn try_unknown(&mut self) {
        let (_, first_end_ns) = self.candidates();
        let (model, position) = (self.model, self.path.last().expect("there is a start"));
        let mut untried = Vec::new();
        for kind in &self.kinds {
            let Some(&number) = kind.iter().find(|number| self.is_left(**number)) else { continue };
            let Unknown { operation, taken_for } = &self.unknown[number];
            if operation.invoked_ns > first_end_ns {
                continue;
            }
            self.states += 1;
            let Some(after) = model.step(&position.state, taken_for, None) else { continue };
            let earlier = position.before.iter().chain([&position.state]);
            if earlier.into_iter().any(|earlier| model.covers(earlier, &after)) {
                continue;
            }
            if let Some(before) = position.before.last() {
                self.states += 1;
                let without = model.step(before, taken_for, None);
                if without.is_some_and(|without| model.covers(&without, &after)) {
                    continue;
                }
            }
            untried.push((Next::Unknown(number), after));
        }
        untried.reverse();
        self.path.last_mut().expect("there is a start").untried = untried;
    }

    fn is_left(&self, unknown: usize) -> bool {
        let unanswered = |position: &&Position<M::State>| !position.before.is_empty();
        let mut just_before = self.path.iter().rev().take_while(unanswered);
        !self.used.has(unknown) && !just_before.any(|position| position.after == Some(Next::Unknown(unknown)))
    }

    fn here(&self) -> Option<End<'a, M>> {
        let operation = |next: Next| match next {
            Next::Answered(number) => self.answered[number].operation,
            Next::Unknown(number) => self.unknown[number].operation,
        };
        let last = self.path.iter().rev().filter_map(|position| position.after).take(SHOWN_MAX);
        let mut last: Vec<_> = last.map(operation).collect();
        last.reverse();
        let next = self.candidates().0.into_iter().take(SHOWN_MAX);
        Some(End {
            last,
            answered: self.placed_count,
            state: self.path.last()?.state.clone(),
            next: next.map(|number| self.answered[number].operation).collect(),
        })
    }
}

/// Whether an unknown operation right before another one does nothing that could not be done without it or later.
/// `before` is the state without it, and `after` the state after both.
fn is_idle<M: Model>(
    model: &M,
    before: &M::State,
    unknown: &M::Op,
    other: impl Fn(&M::State) -> Option<M::State>,
    after: &M::State,
) -> bool {
    let Some(without) = other(before) else { return false };
    model.covers(&without, after)
        || model.step(&without, unknown, None).is_some_and(|later| model.covers(&later, after))
}
