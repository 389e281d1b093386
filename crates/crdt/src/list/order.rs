use std::collections::BTreeMap;

use archipelago_clock::Dot;

use super::node::{Node, Side};

/// The nodes in the order of the walk: left children, the node itself, right children, siblings by dot.
#[derive(Clone, Debug)]
pub(super) struct Order<A> {
    pub(super) placed: Vec<Placed<A>>,
    /// How many nodes hang on one that has not arrived, so that they have no place yet.
    waiting: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Placed<A> {
    pub(super) dot: Dot<A>,
    pub(super) live: bool,
    /// Whether it has children, by [`Side`].
    has: [bool; 2],
    /// The nearest ancestor on whose right the node is; nothing for the root. It never changes.
    pub(super) anchor: Option<Dot<A>>,
}

impl<A> Order<A> {
    pub(super) const fn new() -> Self {
        Order { placed: Vec::new(), waiting: 0 }
    }

    /// Whether every node has its place, and none waits for its parent.
    pub(super) const fn is_complete(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (usize, &Placed<A>)> {
        self.placed.iter().enumerate().filter(|(_, placed)| placed.live)
    }
}

impl<A: Ord + Clone> Order<A> {
    pub(super) fn place_of(&self, dot: &Dot<A>) -> Option<usize> {
        self.placed.iter().position(|placed| placed.dot == *dot)
    }

    /// Places a new node as the first child on its side of the node at `parent`, or of the root. False, and nothing
    /// is done, if it has siblings there: then the tree must be walked.
    pub(super) fn insert(&mut self, parent: Option<usize>, side: Side, dot: Dot<A>, live: bool) -> bool {
        let (at, anchor) = match parent {
            None if self.placed.is_empty() => (0, None),
            None => return false,
            Some(place) => {
                let parent = &mut self.placed[place];
                if std::mem::replace(&mut parent.has[side as usize], true) {
                    return false;
                }
                match side {
                    Side::Left => (place, parent.anchor.clone()),
                    Side::Right => (place + 1, Some(parent.dot.clone())),
                }
            }
        };
        self.placed.insert(at, Placed { dot, live, has: [false; 2], anchor });
        true
    }

    /// Walks the tree. A node whose parent is gone, as far as `seen` knows, hangs on the root.
    pub(super) fn of<T>(nodes: &BTreeMap<Dot<A>, Node<T, A>>, seen: impl Fn(&Dot<A>) -> bool) -> Self {
        const NONE: usize = usize::MAX;
        enum Step {
            Enter { node: usize, anchor: usize },
            Place { node: usize, anchor: usize },
        }
        let dots: Vec<&Dot<A>> = nodes.keys().collect();
        let root = dots.len();
        // Lists of children, linked through `next`; since dots ascend and are put first, each list descends.
        let mut first = [vec![NONE; root + 1], vec![NONE; root + 1]];
        let mut next = vec![NONE; root];
        let mut waiting = 0;
        for (at, node) in nodes.values().enumerate() {
            let (parent, side) = match &node.parent {
                None => (root, node.side),
                Some(parent) => match dots.binary_search(&parent) {
                    Ok(found) => (found, node.side),
                    Err(_) if seen(parent) => (root, Side::Right),
                    Err(_) => {
                        waiting += 1;
                        continue;
                    }
                },
            };
            let head = &mut first[side as usize][parent];
            next[at] = std::mem::replace(head, at);
        }

        let mut placed = Vec::with_capacity(root);
        let live: Vec<bool> = nodes.values().map(|node| node.live().is_some()).collect();
        let mut steps = Vec::new();
        let children = |steps: &mut Vec<Step>, parent: usize, side: Side, anchor: usize| {
            let mut node = first[side as usize][parent];
            while node != NONE {
                steps.push(Step::Enter { node, anchor });
                node = next[node];
            }
        };
        children(&mut steps, root, Side::Right, root);
        children(&mut steps, root, Side::Left, root);
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter { node, anchor } => {
                    children(&mut steps, node, Side::Right, node);
                    steps.push(Step::Place { node, anchor });
                    children(&mut steps, node, Side::Left, anchor);
                }
                Step::Place { node, anchor } => placed.push(Placed {
                    dot: dots[node].clone(),
                    live: live[node],
                    has: [first[0][node] != NONE, first[1][node] != NONE],
                    anchor: dots.get(anchor).map(|&dot| dot.clone()),
                }),
            }
        }
        Order { placed, waiting }
    }
}
