use std::collections::BTreeMap;

use loro::{ExportMode, LoroDoc, LoroMap, VersionVector};

use super::{Document, Grouping, Updates};

pub(super) struct Replica {
    document: LoroDoc,
    map: LoroMap,
}

impl Replica {
    fn new(peer: u64) -> Self {
        let document = LoroDoc::new();
        document.set_peer_id(peer).expect("nothing was written yet");
        let map = document.get_map("map");
        Replica { document, map }
    }

    fn since(&self, seen: &VersionVector) -> Vec<u8> {
        self.document.export(ExportMode::updates(seen)).expect("nothing was trimmed")
    }

    fn apply(&mut self, update: &[u8]) {
        self.document.import(update).expect("exported by loro");
    }
}

impl Document for Replica {
    const LIBRARY: &'static str = "loro";

    fn pair(base: &Updates) -> [Self; 2] {
        let (mut east, mut west) = (Replica::new(1), Replica::new(2));
        east.write(base, Grouping::Together);
        west.apply(&east.since(&VersionVector::default()));
        [east, west]
    }

    fn write(&mut self, updates: &Updates, grouping: Grouping) {
        for (key, value) in updates {
            self.map.insert(key, value.as_str()).expect("a map takes texts");
            if grouping == Grouping::Each {
                self.document.commit();
            }
        }
        self.document.commit();
    }

    fn exchange(east: &mut Self, west: &mut Self) {
        let from_east = east.since(&west.document.oplog_vv());
        let from_west = west.since(&east.document.oplog_vv());
        east.apply(&from_west);
        west.apply(&from_east);
    }

    fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        self.map.for_each(|key, value| {
            let value = value.into_value().ok().and_then(|value| value.into_string().ok());
            contents.insert(key.to_owned(), value.expect("written as text").to_string());
        });
        contents
    }
}
