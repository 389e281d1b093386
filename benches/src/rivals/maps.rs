//! Maps: updating, against `crdts` (`Map`) and `crdt-kit` (`AWMap`, `LWWMap`). Actors are `u64`, as `crdt-kit` has no
//! others.

use archipelago_crdt::{LwwMap, MvRegister, OrMap};
use crdt_kit::{AWMap, LWWMap, clock::HybridTimestamp};
use crdts::{CmRDT, MVReg, Map};

use super::{Size, shuffled};
use crate::contest::{Case, Contender, Contest, OURS};

/// How many keys a map has, and how many updates are made: one a key.
const KEYS: usize = 10_000;

const ACTOR: u64 = 1;

pub(super) fn contests(size: Size) -> Vec<Contest> {
    let keys = size.of(KEYS);
    vec![or_map(keys), lww_map(keys)]
}

/// The keys in random order.
fn keys(count: usize) -> Vec<u64> {
    shuffled(count).into_iter().map(|n| n as u64).collect()
}

fn or_map(count: usize) -> Contest {
    let keys = keys(count);
    // Before, every value is its key; after, it is one more.
    let mut map: OrMap<u64, MvRegister<u64, u64>, u64> = OrMap::new();
    our_updates(&mut map, &keys, 0);
    let ours = Contender::of(
        OURS,
        {
            let keys = keys.clone();
            move || (map.clone(), keys.clone())
        },
        |(map, keys)| our_updates(map, keys, 1),
        move |(map, _), ()| {
            assert_eq!(map.len(), count);
            assert!(map.iter().all(|(key, register)| register.values().eq([&(key + 1)])));
        },
    );
    let mut map: Map<u64, MVReg<u64, u64>, u64> = Map::new();
    crdts_updates(&mut map, &keys, 0);
    let crdts = Contender::of(
        "crdts",
        {
            let keys = keys.clone();
            move || (map.clone(), keys.clone())
        },
        |(map, keys)| crdts_updates(map, keys, 1),
        move |(map, keys), ()| {
            assert_eq!(map.len().val, count);
            let value = |key| map.get(key).val.expect("there").read().val;
            assert!(keys.iter().all(|key| value(key) == [key + 1]));
        },
    );
    let mut map: AWMap<u64, u64> = AWMap::new(ACTOR);
    kit_updates(&mut map, &keys, 0);
    let kit = Contender::of(
        "crdt-kit",
        move || (map.clone(), keys.clone()),
        |(map, keys)| kit_updates(map, keys, 1),
        move |(map, _), ()| {
            assert_eq!(map.len(), count);
            assert!(map.iter().all(|(key, value)| *value == key + 1));
        },
    );
    let case = Case {
        name: "map-update/or-map".to_owned(),
        about: format!(
            "Update each of {count} keys of a map once, in random order. The values of ours and of crdts are \
             multi-value registers; those of crdt-kit are plain, of which the greatest tag wins. Without deltas."
        ),
        operations: count as u64,
        goal: Some(1.0),
    };
    Contest { cases: vec![case], contenders: vec![ours, crdts, kit] }
}

fn our_updates(map: &mut OrMap<u64, MvRegister<u64, u64>, u64>, keys: &[u64], more: u64) {
    for key in keys {
        map.update_in_place(ACTOR, *key, |register, actor| register.write_in_place(actor, key + more))
            .expect("own state");
    }
}

fn crdts_updates(map: &mut Map<u64, MVReg<u64, u64>, u64>, keys: &[u64], more: u64) {
    for key in keys {
        let context = map.read_ctx().derive_add_ctx(ACTOR);
        map.apply(map.update(*key, context, |register, context| register.write(key + more, context)));
    }
}

fn kit_updates(map: &mut AWMap<u64, u64>, keys: &[u64], more: u64) {
    for key in keys {
        map.insert(*key, key + more);
    }
}

fn lww_map(count: usize) -> Contest {
    let keys = keys(count);
    let stamp = |physical| HybridTimestamp { physical, logical: 0, node_id: 1 };
    let mut map: LwwMap<u64, u64, HybridTimestamp> = LwwMap::new();
    for key in &keys {
        map.insert(*key, *key, stamp(1)).expect("a new key");
    }
    let ours = Contender::of(
        OURS,
        {
            let keys = keys.clone();
            move || (map.clone(), keys.clone())
        },
        move |(map, keys)| {
            for key in &*keys {
                map.insert_in_place(*key, key + 1, stamp(2)).expect("a later stamp");
            }
        },
        move |(map, _), ()| {
            assert_eq!(map.len(), count);
            assert!(map.iter().all(|(key, value)| *value == key + 1));
        },
    );
    let mut map: LWWMap<u64, u64> = LWWMap::new();
    for key in &keys {
        map.insert(*key, *key, stamp(1));
    }
    let kit = Contender::of(
        "crdt-kit",
        move || (map.clone(), keys.clone()),
        move |(map, keys)| {
            for key in &*keys {
                map.insert(*key, key + 1, stamp(2));
            }
        },
        move |(map, _), ()| {
            assert_eq!(map.len(), count);
            assert!(map.iter().all(|(key, value)| *value == key + 1));
        },
    );
    let case = Case {
        name: "map-update/lww-map".to_owned(),
        about: format!(
            "Update each of {count} keys of a last-writer-wins map once, in random order, with the same stamps \
             (crdt-kit's), without deltas. crdts has no such map."
        ),
        operations: count as u64,
        goal: Some(1.0),
    };
    Contest { cases: vec![case], contenders: vec![ours, kit] }
}
