use std::{
    mem,
    ops::{Index, IndexMut},
};

/// Items that stay where they are, and go by the number of their slot.
#[derive(Debug, Default)]
pub(super) struct Slots<T> {
    items: Vec<T>,
    /// The slots of removed items. The next items get them.
    free: Vec<u32>,
}

/// One bit of a number is left to those who keep it.
const SLOTS_MAX: usize = 1 << 31;

impl<T: Default> Slots<T> {
    pub(super) fn insert(&mut self, item: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self[slot] = item;
            return slot;
        }
        let slot = self.items.len();
        assert!(slot < SLOTS_MAX, "a bucket has a thousandth of the rows that fit into memory");
        if slot == self.items.capacity() {
            // What is kept empty is small beside the items: doubling would keep a quarter empty on average.
            self.items.reserve_exact(1.max(slot / 4));
        }
        self.items.push(item);
        u32::try_from(slot).expect("31 bits")
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// The item, and its slot for another one.
    pub(super) fn remove(&mut self, slot: u32) -> T {
        self.free.push(slot);
        mem::take(&mut self[slot])
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.items[slot as usize]
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.items[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_items_free_their_slots() {
        let mut slots = Slots::default();
        let named: Vec<u32> = (0..100).map(|n| slots.insert(n)).collect();
        for &slot in &named[..50] {
            assert_eq!(slots.remove(slot), slot);
        }
        let mut again: Vec<u32> = (100..150).map(|n| slots.insert(n)).collect();
        again.sort_unstable();
        assert_eq!(again, named[..50]);
        assert_eq!((slots.items.len(), slots.free.len()), (100, 0));
        assert_eq!(slots[named[99]], 99);
    }

    #[test]
    fn few_slots_are_kept_for_what_may_come() {
        let mut slots = Slots::default();
        for n in 0..1_000 {
            slots.insert(n);
            assert!(slots.items.capacity() <= slots.items.len() * 5 / 4 + 1);
        }
    }
}
