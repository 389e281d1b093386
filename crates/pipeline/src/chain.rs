use std::sync::{Mutex, PoisonError};

/// What ties pipelined appends together, for implementations of [`Pipeline`](crate::Pipeline).
///
/// The sequence alone does not: if the first of several is refused because one message of somebody else is in its place,
/// the second finds just the end that it expects. So each append gets an id, and one on top of another names the id of
/// that one, which the broker compares with the id of the last message in the log.
#[derive(Debug)]
pub struct AppendChain {
    /// Sets the ids apart from those of all others.
    prefix: String,
    state: Mutex<ChainState>,
}

#[derive(Debug, Default)]
struct ChainState {
    /// How many ids were given.
    ids: u64,
    /// How many chains were begun.
    chains: u64,
    /// Where the last append of the current chain will be, and its id.
    last: Option<(u64, String)>,
}

/// A message of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Its id.
    pub id: String,
    /// The id that the last message of the log must have. `None` for the first of a chain: the caller knows the log.
    pub on_top_of: Option<String>,
    /// Which chain it is part of.
    pub chain: u64,
}

impl AppendChain {
    /// For one handle on the log; `prefix` is its own, and of visible ASCII characters.
    pub fn new(prefix: impl Into<String>) -> AppendChain {
        AppendChain { prefix: prefix.into(), state: Mutex::default() }
    }

    /// The message that is sent now and expects the log to end at `expected_last`.
    pub fn link(&self, expected_last: u64) -> ChainLink {
        // No change can be left half done, so a poisoned lock guards a whole state.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let on_top_of =
            state.last.take().filter(|(sequence, _)| *sequence == expected_last).map(|(_, id)| id);
        state.chains += u64::from(on_top_of.is_none());
        state.ids += 1;
        let id = format!("{}{}", self.prefix, state.ids);
        state.last = Some((expected_last.saturating_add(1), id.clone()));
        ChainLink { id, on_top_of, chain: state.chains }
    }

    /// A message of that chain failed, and its sender learns of it now: what it sends next is no longer on top of it.
    pub fn break_off(&self, chain: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.chains == chain {
            state.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_expects_the_place_of_the_one_before_is_on_top_of_it() {
        let chain = AppendChain::new("a-");
        let first = chain.link(10);
        assert_eq!(first, ChainLink { id: "a-1".into(), on_top_of: None, chain: 1 });
        let second = chain.link(11);
        assert_eq!(second, ChainLink { id: "a-2".into(), on_top_of: Some("a-1".into()), chain: 1 });
        assert_eq!(chain.link(11), ChainLink { id: "a-3".into(), on_top_of: None, chain: 2 });
    }

    #[test]
    fn a_broken_chain_is_begun_anew_and_a_newer_one_goes_on() {
        let chain = AppendChain::new("a-");
        let first = chain.link(10);
        chain.break_off(first.chain);
        let anew = chain.link(11);
        assert_eq!((anew.on_top_of, anew.chain), (None, 2));
        chain.break_off(first.chain);
        assert_eq!(chain.link(12).on_top_of, Some(anew.id));
    }
}
