use std::{iter, ops::Bound};

use super::{hashed_row::HashedRow, slots::Slots};

/// The order of the keys of rows, which are named by their slots: a crit-bit tree.
///
/// That is D. R. Morrison's PATRICIA (Journal of the ACM 15(4), 1968) as D. J. Bernstein simplified it. A node says at
/// which bit the keys below it differ first, those with a 0 on its left. So the way down reads a few small nodes, and
/// of all the keys just one, at the end: what keys have in common at their beginnings is never compared, and a
/// comparison of keys that are elsewhere in memory is what a way down a tree of keys spends its time on.
///
/// Departure: Bernstein's keys end with a zero byte. Here each byte has a ninth bit, in front of it, which is 0 behind
/// the end of the key; so any bytes make a key, and a key comes before those that it begins.
#[derive(Debug, Default)]
pub(super) struct Order {
    nodes: Slots<Node>,
    root: Option<Link>,
}

#[derive(Debug, Default)]
struct Node {
    /// The [`Position`] of the first bit that is not the same in all keys below.
    position: u32,
    /// Where the keys with a 0 there are, and those with a 1.
    children: [Link; 2],
}

/// What is below: a node, or with the highest bit the slot of a row.
#[derive(Clone, Copy, Debug, Default)]
struct Link(u32);

enum Below {
    Node(u32),
    Row(u32),
}

const IS_ROW: u32 = 1 << 31;

impl Link {
    fn row(slot: u32) -> Self {
        Link(slot | IS_ROW)
    }

    fn below(self) -> Below {
        if self.0 & IS_ROW == 0 { Below::Node(self.0) } else { Below::Row(self.0 & !IS_ROW) }
    }
}

/// A node, and one of its sides.
type Side = (u32, usize);

impl Order {
    /// Takes in a row whose key is not there yet.
    pub(super) fn insert(&mut self, slot: u32, rows: &Slots<HashedRow>) {
        let key = rows[slot].key();
        let Some(root) = self.root else {
            self.root = Some(Link::row(slot));
            return;
        };
        let other = rows[self.likest(root, key)].key();
        let position = first_difference(key, other).expect("no two rows have the same key");
        let (above, below) = self.descend(root, key, position);
        let mut children = [below; 2];
        children[bit(key, position)] = Link::row(slot);
        let node = self.nodes.insert(Node { position, children });
        self.link(above, Link(node));
    }

    /// Leaves out the row with this key, which is there.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let Some(mut link) = self.root else { return };
        let (mut above, mut parent) = (None, None);
        while let Below::Node(node) = link.below() {
            let side = bit(key, self.nodes[node].position);
            (above, parent) = (parent, Some((node, side)));
            link = self.nodes[node].children[side];
        }
        match parent {
            None => self.root = None,
            Some((node, side)) => {
                let Node { children, .. } = self.nodes.remove(node);
                self.link(above, children[1 - side]);
            }
        }
    }

    /// The slots of the rows from this key on, in order.
    pub(super) fn from(&self, from: Bound<&[u8]>, rows: &Slots<HashedRow>) -> impl Iterator<Item = u32> {
        // What is still to come, the next of it last.
        let mut ahead = self.ahead(from, rows);
        iter::from_fn(move || {
            let mut link = ahead.pop()?;
            loop {
                match link.below() {
                    Below::Row(slot) => return Some(slot),
                    Below::Node(node) => {
                        let [left, right] = self.nodes[node].children;
                        ahead.push(right);
                        link = left;
                    }
                }
            }
        })
    }

    /// The largest parts of the tree that hold the rows from this key on, the first one last.
    fn ahead(&self, from: Bound<&[u8]>, rows: &Slots<HashedRow>) -> Vec<Link> {
        let Some(root) = self.root else { return Vec::new() };
        let (Bound::Included(key) | Bound::Excluded(key)) = from else { return vec![root] };
        let difference = first_difference(key, rows[self.likest(root, key)].key());
        let (mut ahead, mut link) = (Vec::new(), root);
        while let Some(node) = self.node_before(link, difference.unwrap_or(u32::MAX)) {
            let side = bit(key, node.position);
            if side == 0 {
                ahead.push(node.children[1]);
            }
            link = node.children[side];
        }
        // All keys below have the same bits as this one up to the difference.
        let is_ahead = match difference {
            Some(position) => bit(key, position) == 0,
            None => matches!(from, Bound::Included(_)),
        };
        ahead.extend(is_ahead.then_some(link));
        ahead
    }

    /// The slot of the row that shares as much of its beginning with this key as any.
    fn likest(&self, mut link: Link, key: &[u8]) -> u32 {
        loop {
            match link.below() {
                Below::Row(slot) => return slot,
                Below::Node(node) => {
                    let node = &self.nodes[node];
                    link = node.children[bit(key, node.position)];
                }
            }
        }
    }

    /// Where the way of this key comes to the first part of the tree whose keys are all the same up to the position.
    fn descend(&self, root: Link, key: &[u8], position: u32) -> (Option<Side>, Link) {
        let (mut above, mut link) = (None, root);
        while let Some(node) = self.node_before(link, position) {
            let side = bit(key, node.position);
            above = Some((link.0, side));
            link = node.children[side];
        }
        (above, link)
    }

    /// What the link leads to, if that is a node whose keys differ before the position.
    fn node_before(&self, link: Link, position: u32) -> Option<&Node> {
        match link.below() {
            Below::Node(node) => Some(&self.nodes[node]).filter(|node| node.position < position),
            Below::Row(_) => None,
        }
    }

    /// Puts the link at the side, or at the root.
    fn link(&mut self, at: Option<Side>, link: Link) {
        match at {
            Some((node, side)) => self.nodes[node].children[side] = link,
            None => self.root = Some(link),
        }
    }
}

/// How many positions a byte has: nine, and seven that are not used.
const POSITIONS: usize = 16;

/// The position of the first bit in which the keys differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<u32> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let differing = nine_bits(a, same) ^ nine_bits(b, same);
    let unused = u16::BITS - 9;
    let position = || u32::try_from(same * POSITIONS).expect("no key has a sixteenth of 4 GB");
    (differing != 0).then(|| position() + differing.leading_zeros() - unused)
}

/// The bit of the key at the position.
fn bit(key: &[u8], position: u32) -> usize {
    let (byte, bit) = (position as usize / POSITIONS, position as usize % POSITIONS);
    usize::from(nine_bits(key, byte) >> (8 - bit) & 1)
}

/// A byte of a key, and in front of its bits a 1; nothing but zeros behind the end.
fn nine_bits(key: &[u8], at: usize) -> u16 {
    key.get(at).map_or(0, |&byte| 0x100 | u16::from(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(0..2u8, 0..8),
            (0..5usize, any::<u8>()).prop_map(|(len, end)| [&[0xff; 5][..len], &[end]].concat()),
        ]
    }

    fn set(keys: &BTreeMap<Vec<u8>, u32>) -> BTreeSet<&[u8]> {
        keys.keys().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_bytes_from_any_key_on(
            put in proptest::collection::vec(keys(), 0..60),
            removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
            from in keys(),
        ) {
            let (mut order, mut rows, mut model) = (Order::default(), Slots::default(), BTreeMap::new());
            for key in put {
                model.entry(key).or_insert_with_key(|key| {
                    let slot = rows.insert(HashedRow::new(0, key, b""));
                    order.insert(slot, &rows);
                    slot
                });
            }
            for index in removed {
                if model.is_empty() {
                    break;
                }
                let key = index.get(&model.keys().cloned().collect::<Vec<_>>()).clone();
                order.remove(&key);
                rows.remove(model.remove(&key).unwrap());
            }
            for from in [Bound::Unbounded, Bound::Included(&from[..]), Bound::Excluded(&from[..])] {
                let found = order.from(from, &rows).map(|slot| rows[slot].key());
                prop_assert!(found.eq(set(&model).range::<[u8], _>((from, Bound::Unbounded)).copied()));
            }
        }
    }

    #[test]
    fn an_order_keeps_a_node_less_than_it_has_rows() {
        let (mut order, mut rows) = (Order::default(), Slots::default());
        for _ in 0..3 {
            for key in 0..100 {
                let slot = rows.insert(HashedRow::new(0, &[key], b""));
                order.insert(slot, &rows);
            }
            assert_eq!(order.nodes.len(), 99);
            for (key, slot) in order.from(Bound::Unbounded, &rows).collect::<Vec<_>>().into_iter().enumerate()
            {
                assert_eq!(rows[slot].key(), [u8::try_from(key).unwrap()]);
                order.remove(rows.remove(slot).key());
            }
            assert_eq!((order.nodes.len(), order.root.is_none()), (0, true));
        }
    }
}
