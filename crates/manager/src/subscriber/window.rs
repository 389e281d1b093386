use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use archipelago_clock::Dot;
use tokio::time::Instant;

/// The ids of events that were handled a short while ago and for which the checkpoint has no room.
#[derive(Debug)]
pub(super) struct Window {
    keep: Duration,
    events_max: usize,
    ids: HashSet<Dot>,
    /// The ids in `ids`, oldest first.
    order: VecDeque<(Instant, Dot)>,
}

impl Window {
    pub(super) fn new(keep: Duration, events_max: usize) -> Self {
        Window { keep, events_max, ids: HashSet::new(), order: VecDeque::new() }
    }

    pub(super) fn contains(&mut self, id: &Dot) -> bool {
        self.forget_old();
        self.ids.contains(id)
    }

    pub(super) fn has_room_for(&mut self, ids: usize) -> bool {
        self.forget_old();
        self.ids.len() + ids <= self.events_max || ids == 0
    }

    pub(super) fn events_max(&self) -> usize {
        self.events_max
    }

    /// There must be [room](Self::has_room_for) for it.
    pub(super) fn insert(&mut self, id: Dot) {
        if self.ids.insert(id.clone()) {
            self.order.push_back((Instant::now(), id));
        }
    }

    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.order.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    fn forget_old(&mut self) {
        while let Some((_, id)) = self.order.pop_front_if(|(at, _)| at.elapsed() >= self.keep) {
            self.ids.remove(&id);
        }
    }
}
