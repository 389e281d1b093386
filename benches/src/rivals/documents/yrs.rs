use std::collections::BTreeMap;

use yrs::{Doc, Map, MapRef, Out, ReadTxn, StateVector, Transact, Update, updates::decoder::Decode};

use super::{Document, Grouping, Updates};

pub(super) struct Replica {
    document: Doc,
    map: MapRef,
}

impl Replica {
    fn new(client: u64) -> Self {
        let document = Doc::with_client_id(client);
        let map = document.get_or_insert_map("map");
        Replica { document, map }
    }

    fn since(&self, seen: &StateVector) -> Vec<u8> {
        self.document.transact().encode_diff_v1(seen)
    }

    fn seen(&self) -> StateVector {
        self.document.transact().state_vector()
    }

    fn apply(&mut self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("encoded by yrs");
        self.document.transact_mut().apply_update(update).expect("an update of the same document");
    }
}

impl Document for Replica {
    const LIBRARY: &'static str = "yrs";

    fn pair(base: &Updates) -> [Self; 2] {
        let (mut east, mut west) = (Replica::new(1), Replica::new(2));
        east.write(base, Grouping::Together);
        west.apply(&east.since(&StateVector::default()));
        [east, west]
    }

    fn write(&mut self, updates: &Updates, grouping: Grouping) {
        match grouping {
            Grouping::Each => {
                for (key, value) in updates {
                    self.map.insert(&mut self.document.transact_mut(), key.as_str(), value.as_str());
                }
            }
            Grouping::Together => {
                let mut transaction = self.document.transact_mut();
                for (key, value) in updates {
                    self.map.insert(&mut transaction, key.as_str(), value.as_str());
                }
            }
        }
    }

    fn exchange(east: &mut Self, west: &mut Self) {
        let (from_east, from_west) = (east.since(&west.seen()), west.since(&east.seen()));
        east.apply(&from_west);
        west.apply(&from_east);
    }

    fn contents(&self) -> BTreeMap<String, String> {
        let transaction = self.document.transact();
        let text = |value: Out| value.cast::<String>().expect("written as text");
        self.map.iter(&transaction).map(|(key, value)| (key.to_owned(), text(value))).collect()
    }
}
