use std::collections::BTreeMap;

use archipelago_clock::{Hlc, HlcClock};
use archipelago_crdt::{Crdt, LwwMap};

use super::{Document, Grouping, Updates};
use crate::{contest::OURS, now_unix_ms};

/// When, and who.
type Stamp = (Hlc, u64);

/// A map of registers, with a clock, and of each actor the time up to which everything is here.
pub(super) struct Replica {
    actor: u64,
    clock: HlcClock,
    map: LwwMap<String, String, Stamp>,
    seen: BTreeMap<u64, Hlc>,
}

impl Replica {
    fn new(actor: u64) -> Self {
        Replica { actor, clock: HlcClock::new(), map: LwwMap::new(), seen: BTreeMap::new() }
    }

    fn put(&mut self, key: &str, value: &str, now_unix_ms: u64) {
        let time = self.clock.tick(now_unix_ms).expect("far from the end of time");
        let stamp = (time, self.actor);
        self.map.insert_in_place(key.to_owned(), value.to_owned(), stamp).expect("the clock has seen it all");
    }

    fn since(&self, seen: &BTreeMap<u64, Hlc>) -> Vec<u8> {
        let news = self.map.news_by_stamp(|(time, actor)| seen.get(actor).is_none_or(|seen| time > seen));
        rmp_serde::to_vec(&(news, &self.seen)).expect("texts and stamps can be encoded")
    }

    fn apply(&mut self, update: &[u8]) {
        let (news, seen): (LwwMap<_, _, _>, BTreeMap<u64, Hlc>) =
            rmp_serde::from_slice(update).expect("encoded by a replica");
        self.map.absorb(news);
        for (actor, time) in seen {
            self.clock.observe(time);
            self.seen.entry(actor).and_modify(|seen| *seen = time.max(*seen)).or_insert(time);
        }
    }
}

impl Document for Replica {
    const LIBRARY: &'static str = OURS;

    fn pair(base: &Updates) -> [Self; 2] {
        let (mut east, mut west) = (Replica::new(1), Replica::new(2));
        east.write(base, Grouping::Together);
        west.apply(&east.since(&west.seen));
        [east, west]
    }

    fn write(&mut self, updates: &Updates, grouping: Grouping) {
        let mut now = now_unix_ms();
        for (key, value) in updates {
            self.put(key, value, now);
            if grouping == Grouping::Each {
                now = now_unix_ms();
            }
        }
        self.seen.insert(self.actor, self.clock.last());
    }

    fn exchange(east: &mut Self, west: &mut Self) {
        let (from_east, from_west) = (east.since(&west.seen), west.since(&east.seen));
        east.apply(&from_west);
        west.apply(&from_east);
    }

    fn contents(&self) -> BTreeMap<String, String> {
        self.map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
