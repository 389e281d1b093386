use std::{collections::HashSet, fmt::Debug, hash::Hash};

use xxhash_rust::xxh3::Xxh3;

/// Something that can go on in several ways.
pub(crate) trait Model {
    type State: Clone + Hash;
    type Action: Clone + Debug;

    fn initial(&mut self) -> Self::State;

    /// Whatever may happen next.
    fn actions(&mut self, state: &Self::State) -> Vec<Self::Action>;

    /// The state after that, or what must not happen.
    fn next(&mut self, state: &Self::State, action: &Self::Action) -> Result<Self::State, String>;

    /// What is wrong with the state, if something is.
    fn check(&mut self, state: &Self::State) -> Result<(), String>;
}

/// Every state that can be reached was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    /// The steps, from a state to another or to one that was known.
    pub(crate) steps: usize,
    /// The length of the longest of the shortest ways to a state.
    pub(crate) depth: usize,
}

/// A state in which something is wrong, with a shortest way to it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) way: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.way.iter().zip(1..).try_for_each(|(action, number)| writeln!(f, "{number:>4}  {action}"))
    }
}

/// Looks at every state that can be reached, those that are nearest to the beginning first.
///
/// A state is known again by a digest of 128 bits (Stern and Dill: "A New Scheme for Memory-Efficient Probabilistic
/// Verification", 1996): of ten million states two have the same one, of which the second would be left out, with a
/// probability of about 10^-25.
///
/// # Panics
/// Beyond `states_max` states: what was not looked at was not checked.
pub(crate) fn search<M: Model>(model: &mut M, states_max: usize) -> Result<Searched, Violation> {
    let initial = model.initial();
    let mut known = HashSet::from([digest(&initial)]);
    // Where each state was reached from, and how.
    let mut ways: Vec<(usize, Option<M::Action>)> = vec![(0, None)];
    let mut level = vec![(0, initial)];
    let (mut depth, mut steps) = (0, 0);
    if let Err(what) = model.check(&level[0].1) {
        return Err(Violation { what, way: Vec::new() });
    }
    while !level.is_empty() {
        let mut deeper = Vec::new();
        for (from, state) in level {
            for action in model.actions(&state) {
                steps += 1;
                let next = model.next(&state, &action);
                if next.as_ref().is_ok_and(|next| !known.insert(digest(next))) {
                    continue;
                }
                ways.push((from, Some(action)));
                let at = ways.len() - 1;
                assert!(at < states_max, "more than {states_max} states");
                let checked = next.and_then(|next| model.check(&next).map(|()| next));
                match checked {
                    Ok(next) => deeper.push((at, next)),
                    Err(what) => return Err(Violation { what, way: way_to(at, &ways) }),
                }
            }
        }
        depth += usize::from(!deeper.is_empty());
        level = deeper;
    }
    Ok(Searched { states: known.len(), steps, depth })
}

fn digest(state: &impl Hash) -> u128 {
    let mut hash = Xxh3::new();
    state.hash(&mut hash);
    hash.digest128()
}

fn way_to<A: Debug>(mut at: usize, ways: &[(usize, Option<A>)]) -> Vec<String> {
    let mut way = Vec::new();
    while let (from, Some(action)) = &ways[at] {
        way.push(format!("{action:?}"));
        at = *from;
    }
    way.reverse();
    way
}

/// Two tanks that are filled, emptied, and poured into each other: the search knows what can be reached, and how.
#[cfg(test)]
mod tests {
    use super::{Model, Searched, search};

    struct Jugs {
        sizes: [u8; 2],
        forbidden: u8,
    }

    impl Model for Jugs {
        type State = [u8; 2];
        type Action = (char, usize);

        fn initial(&mut self) -> [u8; 2] {
            [0, 0]
        }

        fn actions(&mut self, _: &[u8; 2]) -> Vec<(char, usize)> {
            ['f', 'e', 'p'].into_iter().flat_map(|what| [(what, 0), (what, 1)]).collect()
        }

        fn next(&mut self, state: &[u8; 2], action: &(char, usize)) -> Result<[u8; 2], String> {
            let (mut next, (what, jug)) = (*state, *action);
            match what {
                'f' => next[jug] = self.sizes[jug],
                'e' => next[jug] = 0,
                _ => {
                    let poured = state[jug].min(self.sizes[1 - jug] - state[1 - jug]);
                    next[jug] -= poured;
                    next[1 - jug] += poured;
                }
            }
            Ok(next)
        }

        fn check(&mut self, state: &[u8; 2]) -> Result<(), String> {
            if state.contains(&self.forbidden) { Err("forbidden".into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_search_reaches_every_state_and_tells_a_shortest_way_to_a_forbidden_one() {
        let found =
            search(&mut Jugs { sizes: [3, 5], forbidden: 4 }, 100).expect_err("the riddle has an answer");
        assert_eq!(found.way.len(), 6, "{found}");
        let all = search(&mut Jugs { sizes: [3, 5], forbidden: 6 }, 100).expect("there is no way to 6");
        assert_eq!((all.states, all.steps), (16, 96));
        assert_eq!(all, Searched { depth: 7, ..all });
    }
}
