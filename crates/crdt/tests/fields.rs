//! CRDTs as fields of plain structs: every type, in every position, in MessagePack and in JSON.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;

use archipelago_clock::ReplicaId;
use archipelago_crdt::{
    BoundedCounter, DwFlag, EwFlag, GCounter, GSet, Kind, List, LwwMap, LwwRegister, MaxRegister,
    MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet, TwoPhaseSet, Value, dynamic,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

type Stamp = (u64, ReplicaId);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Everything {
    title: String,
    g_counter: GCounter,
    pn_counter: PnCounter,
    bounded_counter: BoundedCounter,
    g_set: GSet<String>,
    two_phase_set: TwoPhaseSet<String>,
    or_set: OrSet<String>,
    rw_set: RwSet<String>,
    lww_register: LwwRegister<String, Stamp>,
    mv_register: MvRegister<String>,
    max_register: MaxRegister<i64>,
    min_register: MinRegister<i64>,
    ew_flag: EwFlag,
    dw_flag: DwFlag,
    lww_map: LwwMap<String, u8, Stamp>,
    or_map: OrMap<String, OrMap<String, PnCounter>>,
    list: List<String>,
    listed: Vec<OrSet<u8>>,
    optional: Option<PnCounter>,
    never_written: Option<LwwRegister<String, Stamp>>,
    named: BTreeMap<String, GCounter>,
}

fn us() -> ReplicaId {
    "us@0000000000000001".parse().unwrap()
}

fn everything() -> Everything {
    let mut it = Everything { title: "All".to_owned(), ..Everything::default() };
    it.g_counter.increment(us(), 5).unwrap();
    it.pn_counter.decrement(us(), 5).unwrap();
    it.bounded_counter.increment(us(), 5).unwrap();
    it.g_set.insert("a".to_owned());
    it.two_phase_set.insert("a".to_owned()).unwrap();
    it.or_set.insert(us(), "a".to_owned()).unwrap();
    it.rw_set.insert(us(), "a".to_owned()).unwrap();
    it.lww_register.set("a".to_owned(), (1, us())).unwrap();
    it.mv_register.write(us(), "a".to_owned()).unwrap();
    it.max_register.raise(5);
    it.min_register.lower(5);
    it.ew_flag.enable(us()).unwrap();
    it.dw_flag.disable(us()).unwrap();
    it.lww_map.insert("a".to_owned(), 1, (1, us())).unwrap();
    it.or_map
        .update(us(), "a".to_owned(), |inner, actor| {
            inner.update(actor, "b".to_owned(), |count, actor| count.increment(actor, 1))
        })
        .unwrap();
    it.list.push(us(), "a".to_owned()).unwrap();
    it.listed.push(OrSet::new());
    it.optional = Some(it.pn_counter.clone());
    it.never_written = Some(LwwRegister::never_written());
    it.named.insert("a".to_owned(), it.g_counter.clone());
    it
}

fn message_pack<T: Serialize + DeserializeOwned>(it: &T) -> T {
    let bytes = rmp_serde::to_vec_named(it).unwrap();
    let read_at_once: T = rmp_serde::from_slice(&bytes).unwrap();
    let streamed: T = rmp_serde::from_read(&bytes[..]).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&streamed).unwrap(), bytes);
    let compact = rmp_serde::to_vec(it).unwrap();
    let from_compact: T = rmp_serde::from_slice(&compact).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&from_compact).unwrap(), bytes);
    read_at_once
}

#[test]
fn every_type_is_a_field() {
    for it in [everything(), Everything::default()] {
        assert_eq!(message_pack(&it), it);
        // In JSON a register that was never written is null, as is no register.
        let it = Everything { never_written: None, ..it };
        assert_eq!(serde_json::from_str::<Everything>(&serde_json::to_string(&it).unwrap()).unwrap(), it);
    }
}

#[test]
fn a_record_with_every_type_is_a_value_that_knows_them() {
    let bytes = rmp_serde::to_vec_named(&everything()).unwrap();
    let record: Value = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(
        rmp_serde::to_vec_named(&message_pack(&record)).unwrap(),
        rmp_serde::to_vec_named(&record).unwrap()
    );
    let typed: Everything = rmp_serde::from_slice(&rmp_serde::to_vec_named(&record).unwrap()).unwrap();
    assert_eq!(typed, everything());

    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), record);
    assert!(json.contains(r#""g_counter":{"!crdt":"9301"#), "{json}");

    let expected = [
        ("g_counter", "crdt:g-counter", "5"),
        ("pn_counter", "crdt:pn-counter", "-5"),
        ("bounded_counter", "crdt:bounded-counter", "5"),
        ("g_set", "crdt:g-set", r#"["a"]"#),
        ("two_phase_set", "crdt:two-phase-set", r#"["a"]"#),
        ("or_set", "crdt:or-set", r#"["a"]"#),
        ("rw_set", "crdt:rw-set", r#"["a"]"#),
        ("lww_register", "crdt:lww-register", r#""a""#),
        ("mv_register", "crdt:mv-register", r#"["a"]"#),
        ("max_register", "crdt:max-register", "5"),
        ("min_register", "crdt:min-register", "5"),
        ("ew_flag", "crdt:ew-flag", "true"),
        ("dw_flag", "crdt:dw-flag", "false"),
        ("lww_map", "crdt:lww-map", r#"{"a":1}"#),
        ("or_map", "crdt:or-map", r#"{"a":{"b":1}}"#),
        ("list", "crdt:list", r#"["a"]"#),
        ("optional", "crdt:pn-counter", "-5"),
        ("never_written", "crdt:lww-register", "null"),
    ];
    for (field, kind, readable) in expected {
        let value = record.get(field).unwrap();
        assert_eq!(value.kind(), kind);
        assert_eq!(value.to_string(), format!("{kind}({readable})"));
        assert_eq!(record.readable().get(field).unwrap().to_string(), readable);
    }
    assert_eq!(record.get("listed").unwrap().to_string(), "[crdt:or-set([])]");
    let or_map = record.get("or_map").and_then(Value::as_crdt).unwrap();
    assert_eq!(or_map.kind().to_string(), "or-map of or-map of pn-counter");
    assert_eq!(or_map.to_typed::<OrMap<String, OrMap<String, PnCounter>>>().unwrap(), everything().or_map);
}

#[test]
fn a_crdt_is_not_read_as_one_of_another_kind() {
    let bytes = rmp_serde::to_vec_named(&everything().pn_counter).unwrap();
    assert!(dynamic::is_crdt(&bytes));
    assert_eq!(dynamic::kind_of(&bytes), Ok(Kind::PnCounter));
    let error = rmp_serde::from_slice::<GCounter>(&bytes).unwrap_err().to_string();
    assert!(error.contains("kind pn-counter in place of g-counter"), "{error}");
    let nested = rmp_serde::to_vec_named(&OrMap::<String, EwFlag>::new()).unwrap();
    assert!(rmp_serde::from_slice::<OrMap<String, EwFlag>>(&nested).is_ok());
    assert!(rmp_serde::from_slice::<OrMap<String, DwFlag>>(&nested).is_err());
    assert!(
        rmp_serde::from_slice::<GCounter>(&rmp_serde::to_vec_named(&BTreeMap::from([("us", 1)])).unwrap())
            .is_err()
    );
}

#[test]
fn actors_of_any_type_make_the_round_trip() {
    let mut set: OrSet<u8, u8> = OrSet::new();
    set.insert(7, 1).unwrap();
    assert_eq!(message_pack(&set), set);
    let bytes = rmp_serde::to_vec_named(&set).unwrap();
    assert!(dynamic::normalize(&bytes).is_err(), "the dynamic layer knows replica ids alone");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    title: String,
    #[serde(flatten)]
    rest: Everything2,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Everything2 {
    views: PnCounter,
    tags: OrSet<String>,
    names: GSet<String>,
    owner: LwwRegister<String, Stamp>,
    nobody: LwwRegister<String, Stamp>,
    any: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Post(Everything2),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Count(GCounter),
    Post(Box<Everything2>),
}

#[test]
fn what_serde_buffers_keeps_its_crdts() {
    let all = everything();
    let rest = Everything2 {
        views: all.pn_counter,
        tags: all.or_set,
        names: all.g_set,
        owner: all.lww_register,
        nobody: LwwRegister::never_written(),
        any: Value::from(dynamic::DynamicCrdt::from_typed(&all.list).unwrap()),
    };
    let flattened = Flattened { title: "A".to_owned(), rest: rest.clone() };
    let json =
        |it: &Flattened| serde_json::from_str::<Flattened>(&serde_json::to_string(it).unwrap()).unwrap();
    assert_eq!(json(&flattened), flattened);
    assert_eq!(message_pack(&flattened), flattened);
    assert_eq!(message_pack(&Tagged::Post(rest.clone())), Tagged::Post(rest.clone()));
    for it in [Untagged::Count(all.g_counter), Untagged::Post(Box::new(rest))] {
        assert_eq!(message_pack(&it), it);
    }
}
