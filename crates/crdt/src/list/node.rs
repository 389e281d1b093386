use archipelago_clock::Dot;
use serde::{Deserialize, Serialize};

use crate::Crdt;

/// One item that was ever inserted: a node of the tree, by whose walk the items are in order.
///
/// A node is written once and then at most deleted. If a reused dot names two nodes, the greater stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node<T, A> {
    /// What the node hangs on; nothing for the root.
    pub(super) parent: Option<Dot<A>>,
    pub(super) side: Side,
    pub(super) item: Item<T, A>,
}

/// Whether a node stands before or after its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Left,
    Right,
}

// A deletion is greater than any item, so that it wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Item<T, A> {
    Live(T),
    /// The dot of the deletion, of several the greatest.
    Deleted(Dot<A>),
}

impl<T, A> Node<T, A> {
    pub(super) const fn live(&self) -> Option<&T> {
        if let Item::Live(item) = &self.item { Some(item) } else { None }
    }

    pub(super) const fn deletion(&self) -> Option<&Dot<A>> {
        if let Item::Deleted(dot) = &self.item { Some(dot) } else { None }
    }
}

impl<T: Ord + Clone, A: Ord + Clone> Crdt for Node<T, A> {
    fn merge(&mut self, other: &Self) {
        if *self < *other {
            self.clone_from(other);
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self >= other
    }
}
