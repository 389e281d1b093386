use std::{cmp::Ordering, collections::BinaryHeap};

/// What is to happen, in order of time; what is to happen at the same time, in the order in which it was put down.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Entry<T>>,
    put_down: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at_ms: u64,
    order: u64,
    what: T,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Agenda { entries: BinaryHeap::new(), put_down: 0 }
    }

    pub(super) fn put(&mut self, at_ms: u64, what: T) {
        self.put_down += 1;
        self.entries.push(Entry { at_ms, order: self.put_down, what });
    }

    pub(super) fn next(&mut self) -> Option<(u64, T)> {
        self.entries.pop().map(|entry| (entry.at_ms, entry.what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest first.
        (other.at_ms, other.order).cmp(&(self.at_ms, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}
