use std::{cmp::Ordering, collections::BTreeMap};

use archipelago_clock::{CausalContext, Dot, ReplicaId, VectorClock};

use super::{
    node::{Item, Node, Side},
    order::Order,
};
use crate::{Crdt, DotStore, Kind, dot_store::FEWER_TIMES};

/// The items of a [`List`](crate::List), present and removed, in their tree; what can be read of one.
#[derive(Clone, Debug)]
pub struct ListDots<T, A = ReplicaId> {
    pub(super) nodes: BTreeMap<Dot<A>, Node<T, A>>,
    /// Follows from the nodes and the context.
    order: Order<A>,
    stale: bool,
}

impl<T, A: Ord> ListDots<T, A> {
    /// The number of items, which walks the list.
    pub fn len(&self) -> usize {
        self.order.live().count()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.order.live().next().is_none()
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries().map(|(_, item)| item)
    }

    /// The items in order with their ids.
    pub fn entries(&self) -> impl Iterator<Item = (&Dot<A>, &T)> {
        self.order.live().filter_map(|(_, placed)| Some((&placed.dot, self.nodes.get(&placed.dot)?.live()?)))
    }

    /// The item at `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.nodes.get(self.id(index)?)?.live()
    }

    /// The id of the item at `index`.
    pub fn id(&self, index: usize) -> Option<&Dot<A>> {
        self.order.live().nth(index).map(|(_, placed)| &placed.dot)
    }

    /// The index of the item with the id `id`.
    pub fn index_of(&self, id: &Dot<A>) -> Option<usize> {
        self.order.live().position(|(_, placed)| placed.dot == *id)
    }

    /// The number of removed items that still take up room.
    pub fn tombstones(&self) -> usize {
        self.nodes.values().filter(|node| node.live().is_none()).count()
    }

    pub(super) fn place_of_index(&self, index: usize) -> Option<usize> {
        self.order.live().nth(index).map(|(place, _)| place)
    }

    pub(super) fn place_of(&self, id: &Dot<A>) -> Option<usize> {
        self.order.live().find(|(_, placed)| placed.dot == *id).map(|(place, _)| place)
    }

    pub(super) fn last_place(&self) -> Option<usize> {
        self.order.placed.iter().rposition(|placed| placed.live)
    }
}

impl<T: Ord + Clone, A: Ord + Clone> ListDots<T, A> {
    pub(super) fn of(dot: Dot<A>, node: Node<T, A>) -> Self {
        ListDots::of_nodes(BTreeMap::from([(dot, node)]))
    }

    /// Inserts behind the live item at `before`, or at the front: hung on the right of that item, unless the next
    /// live item is on its right already; then on the left of that one. Gives the node, and false if its place among
    /// siblings is left to be settled.
    pub(super) fn insert_behind(
        &mut self,
        before: Option<usize>,
        dot: Dot<A>,
        item: T,
    ) -> (Node<T, A>, bool) {
        let from = before.map_or(0, |place| place + 1);
        let left = before.map(|place| &self.order.placed[place].dot);
        let right = self.order.placed[from..].iter().position(|placed| placed.live).map(|gap| from + gap);
        let right = right.filter(|&right| {
            // Its ancestors on the way back to `before` are its anchors, all of them removed, and lie in between.
            let mut anchor = self.order.placed[right].anchor.as_ref();
            for between in self.order.placed[from..right].iter().rev() {
                if anchor == Some(&between.dot) {
                    anchor = between.anchor.as_ref();
                }
            }
            anchor == left
        });
        let (parent, side) = right.map_or((before, Side::Right), |right| (Some(right), Side::Left));
        let hangs_on = parent.map(|place| self.order.placed[place].dot.clone());
        let node = Node { parent: hangs_on, side, item: Item::Live(item) };
        self.nodes.insert(dot.clone(), node.clone());
        let placed = self.order.insert(parent, side, dot, true);
        (node, placed)
    }

    /// Deletes the item at a place and gives its node as it is now.
    pub(super) fn delete(&mut self, place: usize, deletion: Dot<A>) -> (Dot<A>, Node<T, A>) {
        let placed = &mut self.order.placed[place];
        placed.live = false;
        let node = self.nodes.get_mut(&placed.dot).expect("what is placed is a node");
        node.item = Item::Deleted(deletion);
        (placed.dot.clone(), node.clone())
    }

    /// Takes out the nodes that were deleted stably and have no children, and those whose children all went with
    /// them. Gives their dots and those of their deletions, ascending.
    pub(super) fn take_stable(&mut self, stable: &VectorClock<A>) -> Vec<Dot<A>> {
        let mut children: BTreeMap<Dot<A>, usize> = BTreeMap::new();
        for parent in self.nodes.values().filter_map(|node| node.parent.as_ref()) {
            *children.entry(parent.clone()).or_default() += 1;
        }
        let mut leaves: Vec<Dot<A>> =
            self.nodes.keys().filter(|dot| !children.contains_key(dot)).cloned().collect();
        let mut taken = Vec::new();
        while let Some(dot) = leaves.pop() {
            let Some(deletion) = self.nodes.get(&dot).and_then(Node::deletion) else { continue };
            if !stable.contains(deletion) {
                continue;
            }
            taken.push(deletion.clone());
            let parent = self.nodes.remove(&dot).and_then(|node| node.parent);
            taken.push(dot);
            if let Some((parent, left)) =
                parent.and_then(|parent| children.get_mut(&parent).map(|left| (parent, left)))
            {
                *left -= 1;
                if *left == 0 {
                    leaves.push(parent);
                }
            }
        }
        taken.sort_unstable();
        taken
    }

    pub(super) fn resettle(&mut self, context: &CausalContext<A>) {
        self.order = Order::of(&self.nodes, |dot| context.contains(dot));
        self.stale = false;
    }
}

impl<T, A> ListDots<T, A> {
    /// From nodes that are yet to be put in order by settling.
    pub(super) const fn of_nodes(nodes: BTreeMap<Dot<A>, Node<T, A>>) -> Self {
        ListDots { nodes, order: Order::new(), stale: true }
    }
}

impl<T, A> Default for ListDots<T, A> {
    fn default() -> Self {
        ListDots { nodes: BTreeMap::new(), order: Order::new(), stale: false }
    }
}

impl<T: Ord + Clone, A: Ord + Clone> ListDots<T, A> {
    /// Joins a list that is small beside this one, node by node, and keeps the order up to date where it can.
    fn join_few(
        &mut self,
        context: &CausalContext<A>,
        other: &Self,
        other_context: &CausalContext<A>,
    ) -> u128 {
        let in_common = other_context.len() - other_context.difference(context).len();
        let mut seen = 0;
        for (dot, theirs) in &other.nodes {
            if let Some(mine) = self.nodes.get_mut(dot) {
                seen += 1;
                if mine.covers(theirs) {
                    continue;
                }
                self.stale |= (&mine.parent, mine.side) != (&theirs.parent, theirs.side);
                mine.merge(theirs);
                let live = mine.live().is_some();
                // One that waits has no place yet.
                if let Some(place) = self.order.place_of(dot) {
                    self.order.placed[place].live = live;
                }
            } else if !context.contains(dot) {
                self.nodes.insert(dot.clone(), theirs.clone());
                let parent = theirs.parent.as_ref().map(|parent| self.order.place_of(parent));
                let live = theirs.live().is_some();
                let placed = !self.stale
                    && parent != Some(None)
                    && self.order.insert(parent.flatten(), theirs.side, dot.clone(), live);
                self.stale |= !placed;
            }
        }
        if seen < in_common {
            let before = self.nodes.len();
            self.nodes.retain(|dot, _| {
                let dead = !other.nodes.contains_key(dot) && other_context.contains(dot);
                seen += u128::from(dead);
                !dead
            });
            self.stale |= self.nodes.len() < before;
        }
        seen
    }
}

impl<T: PartialEq, A: PartialEq> PartialEq for ListDots<T, A> {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }
}

impl<T: Eq, A: Eq> Eq for ListDots<T, A> {}

impl<T: Ord + Clone, A: Ord + Clone> DotStore for ListDots<T, A> {
    type Actor = A;

    const SETTLES: bool = true;

    fn kind() -> Option<Kind> {
        Some(Kind::List)
    }

    fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn join(&mut self, context: &CausalContext<A>, other: &Self, other_context: &CausalContext<A>) -> u128 {
        if other.nodes.len() < self.nodes.len() / FEWER_TIMES {
            return self.join_few(context, other, other_context);
        }
        let mut seen = 0;
        let mut changed = false;
        let mut added: Vec<(&Dot<A>, &Node<T, A>)> = Vec::new();
        let mut theirs = other.nodes.iter();
        let mut their_next = theirs.next();
        self.nodes.retain(|dot, mine| {
            let mut same = None;
            while let Some((their_dot, node)) = their_next {
                match their_dot.cmp(dot) {
                    Ordering::Less => added.push((their_dot, node)),
                    Ordering::Equal => same = Some(node),
                    Ordering::Greater => break,
                }
                their_next = theirs.next();
            }
            if let Some(node) = same.filter(|node| !mine.covers(node)) {
                mine.merge(node);
                changed = true;
            }
            let known_there = same.is_some() || other_context.contains(dot);
            seen += u128::from(known_there);
            let kept = same.is_some() || !known_there;
            changed |= !kept;
            kept
        });
        added.extend(their_next.into_iter().chain(theirs));
        for (dot, node) in added {
            if !context.contains(dot) {
                self.nodes.insert(dot.clone(), node.clone());
                changed = true;
            }
        }
        self.stale |= changed;
        seen
    }

    fn news(
        &self,
        context: &CausalContext<A>,
        since: &Self,
        since_context: &CausalContext<A>,
        known: &mut Vec<Dot<A>>,
    ) -> Self {
        let dead = since.nodes.keys().filter(|dot| !self.nodes.contains_key(dot) && context.contains(dot));
        known.extend(dead.cloned());
        let mut nodes = BTreeMap::new();
        for (dot, node) in &self.nodes {
            match since.nodes.get(dot) {
                Some(before) if before.covers(node) => continue,
                Some(_) => known.push(dot.clone()),
                None if since_context.contains(dot) => continue,
                None => {}
            }
            known.extend(node.deletion().cloned());
            nodes.insert(dot.clone(), node.clone());
        }
        ListDots::of_nodes(nodes)
    }

    fn settle(&mut self, context: &CausalContext<A>) {
        if self.stale || !self.order.is_complete() {
            self.resettle(context);
        }
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<A>)) {
        for (dot, node) in &self.nodes {
            visit(dot);
            node.deletion().into_iter().for_each(&mut *visit);
        }
    }
}
