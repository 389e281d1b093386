use std::collections::BTreeMap;

use super::{Document, Grouping, Updates};
use crate::{StoredReplica, contest::OURS};

pub(super) struct Replica(StoredReplica);

impl Document for Replica {
    const LIBRARY: &'static str = OURS;

    fn pair(base: &Updates) -> [Self; 2] {
        let [mut east, mut west] = ["east", "west"].map(|name| Replica(StoredReplica::new(name)));
        east.write(base, Grouping::Together);
        west.0.receive(east.0.send());
        [east, west]
    }

    fn write(&mut self, updates: &Updates, grouping: Grouping) {
        for (key, value) in updates {
            self.0.write(key, value);
            if grouping == Grouping::Each {
                self.0.commit();
            }
        }
        self.0.commit();
    }

    fn exchange(east: &mut Self, west: &mut Self) {
        let (from_east, from_west) = (east.0.send(), west.0.send());
        east.0.receive(from_west);
        west.0.receive(from_east);
    }

    fn contents(&self) -> BTreeMap<String, String> {
        self.0.contents()
    }
}
