//! For every type, what is computed without the type on encoded states is what the type itself computes.

use std::fmt::Debug;

use archipelago_clock::ReplicaId;
use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    BoundedCounter, DeltaCrdt, DwFlag, EwFlag, GCounter, GSet, Kind, List, LwwMap, LwwRegister, MaxRegister,
    MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet, TwoPhaseSet, Value,
    dynamic::{self, DynamicCrdt},
    executions::{Execution, How, Step, executions},
};

/// What an update is made of, whatever the type.
type Op = (u8, u8, u8);
type Stamp = (u64, ReplicaId);

/// Elements whose order as values is not that of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Light {
    Red,
    Amber,
    Green,
}

pub(super) fn light(number: u8) -> Light {
    [Light::Red, Light::Amber, Light::Green][usize::from(number % 3)]
}

pub(super) fn actor(replica: u8) -> ReplicaId {
    ["us@0000000000000001", "us-east@0000000000000002", "us2@0000000000000003"][usize::from(replica)]
        .parse()
        .unwrap()
}

pub(super) trait Typed:
    DeltaCrdt<Delta = Self> + Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned
{
}

impl<C> Typed for C where
    C: DeltaCrdt<Delta = C> + Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned
{
}

pub(super) fn encoded(crdt: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(crdt).unwrap()
}

fn typed<C: Typed>(bytes: &[u8]) -> C {
    rmp_serde::from_slice(bytes).unwrap()
}

/// Whether two states agree in all that can be asked of both.
fn check_pair<C: Typed>(a: &C, b: &C) {
    let (a_bytes, b_bytes) = (encoded(a), encoded(b));
    let canonical = dynamic::normalize(&a_bytes).unwrap();
    assert_eq!(typed::<C>(&canonical), *a, "the canonical form is the state");
    assert_eq!(dynamic::normalize(&canonical).unwrap(), canonical);
    assert_eq!(dynamic::kind_of(&canonical).ok(), C::kind());

    let mut joined = a.clone();
    joined.merge(b);
    let joined_bytes = dynamic::join(&a_bytes, &b_bytes).unwrap();
    assert_eq!(typed::<C>(&joined_bytes), joined, "merge");
    assert_eq!(dynamic::normalize(&encoded(&joined)).unwrap(), joined_bytes, "equal states, equal bytes");
    assert_eq!(dynamic::join(&b_bytes, &a_bytes).unwrap(), joined_bytes);

    let delta = dynamic::delta(&a_bytes, &b_bytes).unwrap();
    assert_eq!(delta.as_deref().map(typed::<C>), a.delta_since(b), "delta");
    if let Some(delta) = delta {
        assert_eq!(
            dynamic::join(&b_bytes, &delta).unwrap(),
            joined_bytes,
            "the delta says what the state says"
        );
    }
    let (a_dynamic, b_dynamic) = (DynamicCrdt::from_typed(a).unwrap(), DynamicCrdt::from_typed(b).unwrap());
    assert_eq!(a_dynamic.covers(&b_dynamic).unwrap(), a.covers(b), "covers");
    assert_eq!(a_dynamic == b_dynamic, a == b, "equality");
    assert_eq!(a_dynamic.cmp(&b_dynamic).is_eq(), a == b, "order");
    assert_eq!(a_dynamic.to_typed::<C>().unwrap(), *a);
    let value = Value::from(a_dynamic.clone());
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    assert_eq!(serde_json::from_str::<DynamicCrdt>(&json).unwrap(), a_dynamic);
    assert_eq!(rmp_serde::from_slice::<Value>(&a_bytes).unwrap(), value);
    assert!(!serde_json::to_string(&a_dynamic.value()).unwrap().contains("!crdt"), "readable");
}

/// The states of an execution in which replicas update and merge, of which some know less than others.
pub(super) fn states<C: Typed>(
    execution: &Execution<Op>,
    update: impl Fn(&mut C, ReplicaId, Op, u64) -> Option<C>,
) -> Vec<C> {
    let mut states = vec![C::default(); 3];
    let mut seen = states.clone();
    for (time, step) in (1..).zip(&execution.steps) {
        match step {
            Step::Update { replica, op } => {
                seen.extend(update(&mut states[usize::from(*replica)], actor(*replica), *op, time));
            }
            Step::Merge { from, to, how } => {
                let sender = states[usize::from(*from)].clone();
                let receiver = &mut states[usize::from(*to)];
                match how {
                    How::State => receiver.merge(&sender),
                    How::Delta => {
                        if let Some(delta) = sender.delta_since(receiver) {
                            receiver.merge_delta(&delta);
                        }
                    }
                }
            }
        }
        if seen.len() % 3 == 0 {
            seen.push(states[0].clone());
        }
    }
    seen.extend(states);
    seen
}

fn check<C: Typed>(execution: &Execution<Op>, update: impl Fn(&mut C, ReplicaId, Op, u64) -> Option<C>) {
    let states = states(execution, update);
    let last = &states[states.len() - 3..];
    let old = &states[execution.damage.0 % states.len()];
    for (a, b) in [(&last[0], &last[1]), (&last[1], &last[0]), (&last[2], old), (old, &last[0]), (old, old)] {
        check_pair(a, b);
    }
}

/// Names an update for each type, and makes of each a property here and an input of the tests with hostile bytes.
macro_rules! subjects {
    ($($name:ident: $type:ty = $update:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(
                #[test]
                fn $name(run in executions(any::<Op>())) {
                    check::<$type>(&run, $update);
                }
            )*
        }

        /// Encoded states of every type.
        pub(super) fn encoded_states(execution: &Execution<Op>) -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            $(all.extend(states::<$type>(execution, $update).last().map(encoded));)*
            all
        }
    };
}

fn words(number: u8) -> String {
    ["", "a", "b", "ab"][usize::from(number % 4)].to_owned()
}

/// Two levels of maps, with a value of the innermost.
fn nested<C: crate::Nested<ReplicaId, Delta = C>, E: From<crate::MintError>>(
    map: &mut OrMap<u8, OrMap<String, C>>,
    actor: ReplicaId,
    (what, key, inner_key): Op,
    change: impl FnOnce(&mut C, ReplicaId) -> Result<C, E>,
) -> Option<OrMap<u8, OrMap<String, C>>> {
    let (key, inner_key) = (key % 3, words(inner_key));
    match what % 5 {
        0 => Some(map.remove(&key)),
        1 => map.update(actor, key, |inner, _| Ok::<_, crate::MintError>(inner.remove(&inner_key))).ok(),
        _ => map.update(actor, key, |inner, actor| inner.update(actor, inner_key, change)).ok(),
    }
}

subjects! {
    g_counter: GCounter = |it, actor, (a, _, _), _| it.increment(actor, a.into()).ok();
    pn_counter: PnCounter = |it, actor, (a, b, _), _| {
        if b % 2 == 0 { it.increment(actor, a.into()).ok() } else { it.decrement(actor, a.into()).ok() }
    };
    bounded_counter: BoundedCounter = |it, own, (a, b, c), _| match b % 3 {
        0 => it.increment(own, a.into()).ok(),
        1 => it.decrement(own, a.into()).ok(),
        _ => it.transfer(own, actor(c % 3), (a % 16).into()).ok(),
    };
    g_set: GSet<Light> = |it, _, (a, _, _), _| Some(it.insert(light(a)));
    g_set_of_pairs: GSet<(i8, Option<bool>)> = |it, _, (a, b, _), _| {
        Some(it.insert((i8::from_be_bytes([a]), [None, Some(false), Some(true)][usize::from(b % 3)])))
    };
    two_phase_set: TwoPhaseSet<Light> = |it, _, (a, b, _), _| {
        if b % 2 == 0 { it.insert(light(a)).ok() } else { it.remove(light(a)).ok() }
    };
    or_set: OrSet<Light> = |it, actor, (a, b, _), _| {
        if b % 3 > 0 { it.insert(actor, light(a)).ok() } else { Some(it.remove(&light(a))) }
    };
    rw_set: RwSet<Light> = |it, actor, (a, b, _), _| {
        if b % 3 > 0 { it.insert(actor, light(a)).ok() } else { it.remove(actor, light(a)).ok() }
    };
    lww_register: LwwRegister<String, Stamp> = |it, actor, (a, b, _), time| {
        it.set(words(a), (time - u64::from(b % 2), actor)).ok()
    };
    mv_register: MvRegister<Option<u8>> = |it, actor, (a, b, _), _| match b % 4 {
        0 => Some(it.clear()),
        1 => it.write(actor, None).ok(),
        _ => it.write(actor, Some(a)).ok(),
    };
    max_register: MaxRegister<(i16, String)> = |it, _, (a, b, _), _| Some(it.raise((i16::from(a) - 128, words(b))));
    min_register: MinRegister<Vec<u8>> = |it, _, (a, b, c), _| Some(it.lower(vec![b, c][..usize::from(a % 3)].to_vec()));
    ew_flag: EwFlag = |it, actor, (a, _, _), _| {
        if a % 2 == 0 { it.enable(actor).ok() } else { Some(it.disable()) }
    };
    dw_flag: DwFlag = |it, actor, (a, _, _), _| {
        if a % 2 == 0 { it.disable(actor).ok() } else { Some(it.enable()) }
    };
    lww_map: LwwMap<Light, Option<u8>, Stamp> = |it, actor, (a, b, c), time| {
        let stamp = (time - u64::from(b % 2), actor);
        match c % 3 {
            0 => it.remove(light(a), stamp).ok(),
            1 => it.insert(light(a), None, stamp).ok(),
            _ => it.insert(light(a), Some(b), stamp).ok(),
        }
    };
    list: List<String> = |it, actor, (a, b, c), _| {
        let len = it.len();
        if c % 3 > 0 || len == 0 {
            it.insert(actor, usize::from(a) % (len + 1), words(b)).ok()
        } else {
            it.remove(actor, usize::from(a) % len).ok()
        }
    };
    map_of_g_counters: OrMap<u8, OrMap<String, GCounter>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.increment(own, op.0.into()));
    map_of_pn_counters: OrMap<u8, OrMap<String, PnCounter>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.decrement(own, op.0.into()));
    map_of_g_sets: OrMap<u8, OrMap<String, GSet<Light>>> =
        |it, own, op, _| nested(it, own, op, |it, _| Ok::<_, crate::MintError>(it.insert(light(op.0))));
    map_of_or_sets: OrMap<u8, OrMap<String, OrSet<Light>>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.insert(own, light(op.0)));
    map_of_rw_sets: OrMap<u8, OrMap<String, RwSet<Light>>> = |it, own, op, _| {
        nested(it, own, op, |it, own| if op.0 % 2 == 0 { it.insert(own, light(op.1)) } else { it.remove(own, light(op.1)) })
    };
    map_of_lww_registers: OrMap<u8, OrMap<String, LwwRegister<u8, Stamp>>> =
        |it, own, op, time| nested(it, own, op, |it, own| it.set(op.0, (time, own)));
    map_of_mv_registers: OrMap<u8, OrMap<String, MvRegister<Light>>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.write(own, light(op.0)));
    map_of_max_registers: OrMap<u8, OrMap<String, MaxRegister<u8>>> =
        |it, own, op, _| nested(it, own, op, |it, _| Ok::<_, crate::MintError>(it.raise(op.0)));
    map_of_min_registers: OrMap<u8, OrMap<String, MinRegister<u8>>> =
        |it, own, op, _| nested(it, own, op, |it, _| Ok::<_, crate::MintError>(it.lower(op.0)));
    map_of_ew_flags: OrMap<u8, OrMap<String, EwFlag>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.enable(own));
    map_of_dw_flags: OrMap<u8, OrMap<String, DwFlag>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.disable(own));
    map_of_lww_maps: OrMap<u8, OrMap<String, LwwMap<Light, u8, Stamp>>> =
        |it, own, op, time| nested(it, own, op, |it, own| it.insert(light(op.0), op.0, (time, own)));
    map_of_lists: OrMap<u8, OrMap<String, List<u8>>> =
        |it, own, op, _| nested(it, own, op, |it, own| it.push(own, op.0));
}

#[test]
fn all_kinds_are_among_the_subjects() {
    let run = Execution { steps: Vec::new(), damage: (0, 0) };
    let kinds: std::collections::BTreeSet<u8> =
        encoded_states(&run).iter().map(|bytes| dynamic::kind_of(bytes).unwrap().code()).collect();
    assert_eq!(kinds, (1..=Kind::List.code()).collect());
}

#[test]
fn lists_in_maps_are_read_as_they_are_merged_without_encoding_them_in_between() {
    type Lists = OrMap<String, List<String>>;
    let (us, eu): (ReplicaId, ReplicaId) =
        ("us@0000000000000001".parse().unwrap(), "eu@0000000000000001".parse().unwrap());
    let push = |map: &mut Lists, actor: &ReplicaId, item: &str| {
        map.update(actor.clone(), "k".into(), |list, actor| list.push(actor, item.to_owned())).unwrap()
    };
    let mut flat = Lists::new();
    push(&mut flat, &us, "a");
    let mut longer = flat.clone();
    push(&mut longer, &eu, "b");
    let [mut merged, other] = [&flat, &longer].map(|map| DynamicCrdt::from_typed(map).unwrap());
    merged.merge(&other).unwrap();
    assert_eq!(merged.value().to_string(), r#"{"k":["a","b"]}"#);

    let mut nested: OrMap<String, Lists> = OrMap::new();
    nested
        .update(us.clone(), "m".into(), |map, actor| Ok::<_, crate::ListError>(push(map, &actor, "a")))
        .unwrap();
    let mut longer = nested.clone();
    longer.update(eu, "m".into(), |map, actor| Ok::<_, crate::ListError>(push(map, &actor, "b"))).unwrap();
    let [mut merged, other] = [&nested, &longer].map(|map| DynamicCrdt::from_typed(map).unwrap());
    merged.merge(&other).unwrap();
    assert_eq!(merged.value().to_string(), r#"{"m":{"k":["a","b"]}}"#);
}
