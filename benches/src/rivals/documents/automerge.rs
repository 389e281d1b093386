use std::collections::BTreeMap;

use automerge::{ActorId, Automerge, ChangeHash, ROOT, ReadDoc, transaction::Transactable};

use super::{Document, Grouping, Updates};

/// A document with the heads that both had in common.
pub(super) struct Replica {
    document: Automerge,
    common: Vec<ChangeHash>,
}

impl Document for Replica {
    const LIBRARY: &'static str = "automerge";

    fn pair(base: &Updates) -> [Self; 2] {
        let mut document = Automerge::new().with_actor(ActorId::from([1; 16]));
        put(&mut document, base);
        let common = document.get_heads();
        let other = document.fork().with_actor(ActorId::from([2; 16]));
        [document, other].map(|document| Replica { document, common: common.clone() })
    }

    fn write(&mut self, updates: &Updates, grouping: Grouping) {
        match grouping {
            Grouping::Each => updates.chunks(1).for_each(|update| put(&mut self.document, update)),
            Grouping::Together => put(&mut self.document, updates),
        }
    }

    fn exchange(east: &mut Self, west: &mut Self) {
        let from_east = east.document.save_after(&east.common);
        let from_west = west.document.save_after(&west.common);
        east.document.load_incremental(&from_west).expect("saved by automerge");
        west.document.load_incremental(&from_east).expect("saved by automerge");
    }

    fn contents(&self) -> BTreeMap<String, String> {
        let value = |key: String| {
            let (value, _) = self.document.get(ROOT, &key).expect("readable").expect("there");
            (key, value.as_str().expect("written as text").to_owned())
        };
        self.document.keys(ROOT).map(value).collect()
    }
}

fn put(document: &mut Automerge, updates: &[(String, String)]) {
    let mut transaction = document.transaction();
    for (key, value) in updates {
        transaction.put(ROOT, key.as_str(), value.as_str()).expect("a map takes texts");
    }
    transaction.commit();
}
