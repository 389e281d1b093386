//! The engine against a second, naive writing-down of its rules: events carry whole vectors, an entity is a map from
//! live dots to what they wrote, and whatever cannot be applied waits without bound.
//!
//! The rules: a live version is superseded by a write if the write's author had seen it, or if it is a tombstone and
//! the replica that admitted the write had seen it; of what is left the greatest stamp stays.

mod support;

use std::collections::BTreeMap;

use archipelago_clock::VersionVector;
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, WriteError};
use archipelago_proto::{Body, Event};
use proptest::prelude::{Strategy as _, *};
use support::{Replica, config, id, put};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ENTITIES: [&str; 2] = ["x", "y"];

type Dot = (&'static str, u64);
type Vector = BTreeMap<&'static str, u64>;

#[derive(Clone, Debug)]
struct Sent {
    dot: Dot,
    stamp: u64,
    deps: Vector,
    context: Vector,
    entity: &'static str,
    value: Option<u8>,
}

#[derive(Debug)]
struct Model {
    name: &'static str,
    vector: Vector,
    entities: BTreeMap<&'static str, BTreeMap<Dot, (u64, Option<u8>)>>,
    stamp: u64,
    inbox: Vec<Sent>,
}

fn has(vector: &Vector, dot: Dot) -> bool {
    vector.get(dot.0).copied().unwrap_or(0) >= dot.1
}

fn covers(larger: &Vector, smaller: &Vector) -> bool {
    smaller.iter().all(|(name, sequence)| has(larger, (name, *sequence)))
}

impl Model {
    fn new(name: &'static str) -> Self {
        Model { name, vector: Vector::new(), entities: BTreeMap::new(), stamp: 0, inbox: Vec::new() }
    }

    fn place(&mut self, sent: &Sent) {
        let live = self.entities.entry(sent.entity).or_default();
        live.retain(|dot, (_, value)| {
            !(has(&sent.context, *dot) || value.is_none() && has(&sent.deps, *dot))
        });
        live.insert(sent.dot, (sent.stamp, sent.value));
        let greatest = live.iter().map(|(dot, (stamp, _))| (*stamp, *dot)).max();
        live.retain(|dot, (stamp, _)| Some((*stamp, *dot)) == greatest);
    }

    fn write(&mut self, entity: &'static str, value: Option<u8>, now: u64, context: Option<Vector>) -> Sent {
        let deps = self.vector.clone();
        self.stamp = (self.stamp + 1).max(now << 16);
        let sequence = self.vector.entry(self.name).or_default();
        *sequence += 1;
        let dot = (self.name, *sequence);
        let context = context.unwrap_or_else(|| deps.clone());
        let sent = Sent { dot, stamp: self.stamp, deps, context, entity, value };
        self.place(&sent);
        sent
    }

    fn receive(&mut self, sent: &Sent) {
        self.inbox.push(sent.clone());
        let ready = |model: &Model| {
            model.inbox.iter().position(|sent| {
                let next = model.vector.get(sent.dot.0).copied().unwrap_or(0) + 1 == sent.dot.1;
                has(&model.vector, sent.dot) || next && covers(&model.vector, &sent.deps)
            })
        };
        while let Some(at) = ready(self) {
            let sent = self.inbox.remove(at);
            if !has(&self.vector, sent.dot) {
                self.place(&sent);
                self.vector.insert(sent.dot.0, sent.dot.1);
                self.stamp = self.stamp.max(sent.stamp);
            }
        }
    }
}

fn vector(of: &VersionVector) -> Vector {
    NAMES.iter().map(|name| (*name, of.get(&id(name)))).filter(|(_, sequence)| *sequence > 0).collect()
}

fn static_name(name: &str) -> &'static str {
    NAMES.iter().find(|known| **known == name).expect("one of the replicas")
}

/// Live dots with their stamps and values: the whole state, not only what is visible.
fn state(replica: &Replica, entity: &'static str) -> BTreeMap<Dot, (u64, Option<u8>)> {
    let record = replica.record(&entity.into()).unwrap_or_default();
    let versions = record.versions.iter().map(|version| {
        let value = match &version.body {
            Body::Tombstone => None,
            Body::Whole(value) => {
                Some(archipelago_proto::decode_value(value, &Default::default()).expect("u8"))
            }
            Body::Fields(_) => panic!("the last writer wins as a whole"),
        };
        let dot = (static_name(version.dot.actor.name()), version.dot.sequence);
        (dot, (version.hlc.bits(), value))
    });
    versions.collect()
}

#[derive(Clone, Debug)]
enum Step {
    Write { replica: usize, entity: usize, value: Option<u8>, token: Option<prop::sample::Index> },
    Deliver { replica: usize, event: prop::sample::Index },
    Token { replica: usize },
    Pass { ms: u64 },
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let replica = || 0..NAMES.len();
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        5 => (replica(), 0..ENTITIES.len(), any::<Option<u8>>(), proptest::option::weighted(0.35, index()))
            .prop_map(|(replica, entity, value, token)| Step::Write { replica, entity, value, token }),
        12 => (replica(), index()).prop_map(|(replica, event)| Step::Deliver { replica, event }),
        2 => replica().prop_map(|replica| Step::Token { replica }),
        1 => (0u64..3).prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_rules_say(steps in steps()) {
        let mut replicas = NAMES.map(|name| Replica::new(config(name, Strategy::Lww)));
        let mut models = NAMES.map(Model::new);
        let mut sent: Vec<(Event, Sent)> = Vec::new();
        let mut tokens: Vec<VersionVector> = Vec::new();
        let mut now = 1_000;
        for step in &steps {
            match step {
                Step::Write { replica, entity, value, token } => {
                    let token = token.filter(|_| !tokens.is_empty()).map(|at| at.get(&tokens).clone());
                    let change = value.map_or(Change::Delete, put);
                    let ahead = token.as_ref().is_some_and(|token| {
                        !covers(&models[*replica].vector, &vector(token))
                    });
                    match replicas[*replica].write_after(ENTITIES[*entity], change, now, token.clone()) {
                        Ok((written, event)) => {
                            prop_assert!(!ahead);
                            let token = token.as_ref().map(vector);
                            let model = models[*replica].write(ENTITIES[*entity], *value, now, token);
                            prop_assert_eq!((written.dot.sequence, written.hlc.bits()), (model.dot.1, model.stamp));
                            sent.push((event, model));
                        }
                        Err(WriteError::ContextAhead) => prop_assert!(ahead),
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Deliver { replica, event } if !sent.is_empty() => {
                    let (event, model) = event.get(&sent);
                    replicas[*replica].receive(event, None, now);
                    models[*replica].receive(model);
                }
                Step::Deliver { .. } => {}
                Step::Token { replica } => tokens.push(replicas[*replica].engine.vector().clone()),
                Step::Pass { ms } => now += ms,
            }
            for (replica, model) in replicas.iter().zip(&models) {
                prop_assert_eq!(&vector(replica.engine.vector()), &model.vector);
                for entity in ENTITIES {
                    let expected = model.entities.get(entity).cloned().unwrap_or_default();
                    prop_assert_eq!(state(replica, entity), expected);
                }
            }
        }
    }
}
