//! Every encoding of a CRDT ever written decodes for ever. The files under `golden/` are frozen: a change of a layout
//! adds a file and keeps the old ones.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use archipelago_clock::ReplicaId;
use archipelago_crdt::{
    BoundedCounter, Crdt, DwFlag, EwFlag, GCounter, GSet, Kind, List, LwwMap, LwwRegister, MaxRegister,
    MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet, TwoPhaseSet, dynamic,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    kind: String,
    /// What people read.
    value: serde_json::Value,
    /// The MessagePack in hexadecimal.
    hex: String,
}

fn golden<C: Crdt + Serialize>(crdt: &C) -> Golden {
    let dynamic = dynamic::DynamicCrdt::from_typed(crdt).unwrap();
    Golden {
        kind: dynamic.kind().to_string(),
        value: serde_json::to_value(dynamic.value()).unwrap(),
        hex: rmp_serde::to_vec_named(crdt).unwrap().iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn us() -> ReplicaId {
    "us@0000000000000001".parse().unwrap()
}

fn eu() -> ReplicaId {
    "eu@0000000000000002".parse().unwrap()
}

/// One CRDT of every kind, each with something of two replicas and something removed, as far as it can have that.
fn written_today() -> Vec<Golden> {
    let mut all = Vec::new();

    let mut g_counter = GCounter::new();
    g_counter.increment(us(), 5).unwrap();
    g_counter.increment(eu(), 300).unwrap();
    all.push(golden(&g_counter));

    let mut pn_counter = PnCounter::new();
    pn_counter.increment(us(), 10).unwrap();
    pn_counter.decrement(eu(), 3).unwrap();
    all.push(golden(&pn_counter));

    let mut bounded = BoundedCounter::new();
    bounded.increment(us(), 10).unwrap();
    bounded.transfer(us(), eu(), 4).unwrap();
    bounded.decrement(eu(), 3).unwrap();
    all.push(golden(&bounded));

    all.push(golden(&GSet::from_iter(["red".to_owned(), "blue".to_owned()])));

    let mut two_phase: TwoPhaseSet<String> = TwoPhaseSet::new();
    two_phase.insert("tea".to_owned()).unwrap();
    two_phase.insert("milk".to_owned()).unwrap();
    two_phase.remove("milk".to_owned()).unwrap();
    all.push(golden(&two_phase));

    let mut or_set: OrSet<String> = OrSet::new();
    or_set.insert(us(), "tea".to_owned()).unwrap();
    or_set.insert(eu(), "milk".to_owned()).unwrap();
    or_set.insert(us(), "salt".to_owned()).unwrap();
    or_set.remove(&"tea".to_owned());
    all.push(golden(&or_set));

    let mut rw_set: RwSet<String> = RwSet::new();
    rw_set.insert(us(), "tea".to_owned()).unwrap();
    rw_set.remove(eu(), "milk".to_owned()).unwrap();
    all.push(golden(&rw_set));

    let lww_register = LwwRegister::new("Alice".to_owned(), (2000, us()));
    all.push(golden(&lww_register));

    let (mut mv_register, mut other) = (MvRegister::new(), MvRegister::new());
    mv_register.write(us(), "Alice".to_owned()).unwrap();
    other.write(eu(), "Bob".to_owned()).unwrap();
    mv_register.merge(&other);
    all.push(golden(&mv_register));

    let mut max_register = MaxRegister::new();
    max_register.raise(5);
    all.push(golden(&max_register));

    let mut min_register = MinRegister::new();
    min_register.lower(-5);
    all.push(golden(&min_register));

    let mut ew_flag = EwFlag::new();
    ew_flag.enable(us()).unwrap();
    all.push(golden(&ew_flag));

    let mut dw_flag = DwFlag::new();
    dw_flag.disable(us()).unwrap();
    dw_flag.enable();
    all.push(golden(&dw_flag));

    let mut lww_map = LwwMap::new();
    lww_map.insert("name".to_owned(), "Bob".to_owned(), (2000, us())).unwrap();
    lww_map.remove("phone".to_owned(), (3000, eu())).unwrap();
    all.push(golden(&lww_map));

    let mut counters: OrMap<String, PnCounter> = OrMap::new();
    counters.update(us(), "apples".to_owned(), |count, actor| count.increment(actor, 3)).unwrap();
    counters.update(eu(), "apples".to_owned(), |count, actor| count.decrement(actor, 1)).unwrap();
    all.push(golden(&counters));

    let mut maps: OrMap<String, OrMap<String, OrSet<String>>> = OrMap::new();
    maps.update(us(), "outer".to_owned(), |inner, actor| {
        inner.update(actor, "inner".to_owned(), |set, actor| set.insert(actor, "tea".to_owned()))
    })
    .unwrap();
    all.push(golden(&maps));

    let mut list: List<String> = List::new();
    list.push(us(), "a".to_owned()).unwrap();
    list.push(eu(), "b".to_owned()).unwrap();
    list.insert(us(), 0, "c".to_owned()).unwrap();
    list.remove(eu(), 1).unwrap();
    all.push(golden(&list));
    all
}

#[test]
fn what_version_1_wrote_is_written_and_read_today() {
    let frozen: Vec<Golden> = serde_json::from_str(include_str!("golden/crdts-v1.json")).unwrap();
    assert_eq!(written_today(), frozen);
    for Golden { kind, value, hex } in frozen {
        let crdt = dynamic::DynamicCrdt::decode(&bytes(&hex)).unwrap();
        assert_eq!(crdt.kind().to_string(), kind);
        assert_eq!(serde_json::to_value(crdt.value()).unwrap(), value);
        assert_eq!(crdt.encode().unwrap(), bytes(&hex), "the canonical form of {kind}");
    }
}

/// Two replicas, a gap, a deletion that came before its insertion, a character of two units.
#[cfg(feature = "text")]
fn texts_written_today() -> Vec<Golden> {
    let mut text = archipelago_crdt::Text::new();
    text.push_str(&us(), "Hello 😀 world").unwrap();
    text.insert(&eu(), 5, ",").unwrap();
    text.remove(8..9).unwrap();
    let whole = golden(&text);
    let gap = text.push_str(&us(), "!").unwrap();
    let removal = text.remove(2..4).unwrap();
    let mut parts = gap.clone();
    parts.merge(&removal);
    vec![whole, golden(&parts), golden(&archipelago_crdt::Text::new())]
}

#[test]
fn texts_of_version_1_are_written_and_read_today() {
    let frozen: Vec<Golden> = serde_json::from_str(include_str!("golden/texts-v1.json")).unwrap();
    #[cfg(feature = "text")]
    assert_eq!(texts_written_today(), frozen);
    for Golden { kind, value, hex } in frozen {
        let crdt = dynamic::DynamicCrdt::decode(&bytes(&hex)).unwrap();
        assert_eq!((crdt.kind(), crdt.kind().to_string()), (Kind::Text, kind));
        assert_eq!(crdt.encode().unwrap(), bytes(&hex));
        let shown = serde_json::to_value(crdt.value()).unwrap();
        // Without the feature a text is joined all the same, and shown as the CRDT that it is.
        assert!(if cfg!(feature = "text") { shown == value } else { shown.get("!crdt").is_some() });
    }
}

#[test]
fn every_kind_has_a_golden_encoding() {
    let kinds =
        written_today().into_iter().map(|golden| dynamic::kind_of(&bytes(&golden.hex)).unwrap().code());
    let kinds: std::collections::BTreeSet<u8> = kinds.collect();
    assert_eq!(kinds, (1..=Kind::List.code()).collect());
}
