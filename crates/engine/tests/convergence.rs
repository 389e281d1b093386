//! Any interleaving, duplication and reordering of the same events ends in the same state: what strong eventual
//! convergence promises, for every strategy, on the engine alone.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{Dot, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, Received, WriteError};
use archipelago_proto::{Event, FieldName, Limits, Op, Slot, decode_value};
use bytes::Bytes;
use proptest::prelude::{Strategy as _, *};
use support::{Replica, config, value};

const REPLICAS: usize = 3;
const ENTITIES: [&str; 3] = ["x", "y", "z"];
const FIELDS: [&str; 3] = ["a", "b", "c"];

/// One step of a schedule. Indexes are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Write {
        replica: usize,
        entity: usize,
        what: What,
        stale: Option<prop::sample::Index>,
    },
    /// Any event ever written, to any replica: early, late, or again.
    Deliver {
        replica: usize,
        event: prop::sample::Index,
    },
    /// Every event of one origin that the replica lacks, in order.
    CatchUp {
        replica: usize,
        origin: usize,
    },
    /// What another replica has applied, by repair.
    Repair {
        replica: usize,
        giver: usize,
        bytes_max: usize,
    },
    /// Remembers a token, which a later stale write carries.
    Token {
        replica: usize,
    },
    Crash {
        replica: usize,
    },
    Pass {
        ms: u64,
    },
}

#[derive(Clone, Debug)]
enum What {
    Scalar(u8),
    Map(BTreeMap<usize, u8>),
    Patch(BTreeMap<usize, Option<u8>>),
    Delete,
}

fn whats() -> impl proptest::strategy::Strategy<Value = What> {
    prop_oneof![
        1 => any::<u8>().prop_map(What::Scalar),
        4 => proptest::collection::btree_map(0..FIELDS.len(), any::<u8>(), 0..3).prop_map(What::Map),
        3 => proptest::collection::btree_map(0..FIELDS.len(), any::<Option<u8>>(), 1..3).prop_map(What::Patch),
        2 => Just(What::Delete),
    ]
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let replica = || 0..REPLICAS;
    let step = prop_oneof![
        6 => (replica(), 0..ENTITIES.len(), whats(), proptest::option::weighted(0.3, any::<prop::sample::Index>()))
            .prop_map(|(replica, entity, what, stale)| Step::Write { replica, entity, what, stale }),
        8 => (replica(), any::<prop::sample::Index>()).prop_map(|(replica, event)| Step::Deliver { replica, event }),
        3 => (replica(), replica()).prop_map(|(replica, origin)| Step::CatchUp { replica, origin }),
        2 => (replica(), 1..REPLICAS, 0usize..200)
            .prop_map(|(replica, by, bytes_max)| Step::Repair { replica, giver: (replica + by) % REPLICAS, bytes_max }),
        2 => replica().prop_map(|replica| Step::Token { replica }),
        1 => replica().prop_map(|replica| Step::Crash { replica }),
        2 => (0u64..50).prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..80)
}

fn change(what: &What) -> Change {
    match what {
        What::Scalar(n) => Change::Put(value(n)),
        What::Map(fields) => {
            Change::Put(value(fields.iter().map(|(at, n)| (FIELDS[*at], n)).collect::<BTreeMap<_, _>>()))
        }
        What::Patch(fields) => {
            let fields = fields.iter().map(|(at, n)| (FieldName::from(FIELDS[*at]), n.map(value)));
            Change::Patch(fields.collect())
        }
        What::Delete => Change::Delete,
    }
}

struct World {
    replicas: Vec<Replica>,
    events: Vec<Event>,
    tokens: Vec<VersionVector>,
    now: u64,
}

impl World {
    fn new(strategy: Strategy) -> Self {
        let replicas = ["a", "b", "c"].map(|name| Replica::new(config(name, strategy)));
        World { replicas: replicas.into(), events: Vec::new(), tokens: Vec::new(), now: 1_000_000 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { replica, entity, what, stale } => {
                let token = stale.filter(|_| !self.tokens.is_empty()).map(|at| at.get(&self.tokens).clone());
                let written =
                    self.replicas[*replica].write_after(ENTITIES[*entity], change(what), self.now, token);
                match written {
                    Ok((written, event)) => {
                        assert_eq!(written.dot, event.dot);
                        self.events.push(event);
                    }
                    // A token of a replica that this one has not caught up with; or a patch of a number.
                    Err(WriteError::ContextAhead | WriteError::Malformed(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Deliver { replica, event } if !self.events.is_empty() => {
                self.replicas[*replica].receive(event.get(&self.events), None, self.now);
            }
            Step::Deliver { .. } => {}
            Step::CatchUp { replica, origin } => {
                let origin = self.replicas[*origin].engine.config().replica.clone();
                for event in self.events.iter().filter(|event| event.dot.actor == origin) {
                    self.replicas[*replica].receive(event, None, self.now);
                }
            }
            Step::Repair { replica, giver, bytes_max } => {
                let [taker, giver] =
                    self.replicas.get_disjoint_mut([*replica, *giver]).expect("two different replicas");
                let both = {
                    let mut both = taker.engine.vector().clone();
                    both.merge(giver.engine.vector());
                    both
                };
                taker.repair_from(giver, *bytes_max, self.now, |_, _| {}).expect("nobody is fenced");
                assert!(taker.engine.vector().dominates(&both));
                assert_eq!(taker.disk.live, taker.live_dots_of_records());
            }
            Step::Token { replica } => self.tokens.push(self.replicas[*replica].engine.vector().clone()),
            Step::Crash { replica } => {
                let crashed = self.replicas.remove(*replica);
                let before = (crashed.view(), crashed.engine.digest().clone());
                let back = crashed.crash();
                assert_eq!(
                    (back.view(), back.engine.digest().clone()),
                    before,
                    "what was committed is there"
                );
                self.replicas.insert(*replica, back);
            }
            Step::Pass { ms } => self.now += ms,
        }
        self.check_equal_vectors_mean_equal_states();
    }

    fn check_equal_vectors_mean_equal_states(&self) {
        for (at, left) in self.replicas.iter().enumerate() {
            for right in &self.replicas[at + 1..] {
                if left.engine.vector() == right.engine.vector() {
                    assert_eq!(left.view(), right.view());
                    assert_eq!(left.engine.digest(), right.engine.digest());
                }
            }
        }
    }

    fn deliver_everything(&mut self) {
        for replica in &mut self.replicas {
            for event in &self.events {
                let received = replica.receive(event, None, self.now);
                assert_ne!(received, Received::TurnedAway);
            }
            // In the order of writing every event finds what it depends on; what came early was waiting for it.
            assert_eq!(replica.engine.buffered(), 0);
        }
    }
}

/// What is visible as a function of the *set* of events alone: of those that touch a field, or the entity as a whole,
/// the one with the greatest stamp decides. Written against the definition, not against the engine.
fn expected(events: &[Event], strategy: Strategy) -> BTreeMap<String, serde_json::Value> {
    let json = |bytes: &Bytes| decode_value::<serde_json::Value>(bytes, &Limits::default()).expect("a value");
    let mut view = BTreeMap::new();
    for entity in ENTITIES {
        let mut touching: Vec<&Event> = events.iter().filter(|event| &*event.entity == entity).collect();
        touching.sort_by_key(|event| (event.hlc, event.dot.clone()));
        if strategy != Strategy::FieldMerge {
            // Also with siblings: nothing that was seen has a greater stamp than its seer, so the greatest is live.
            if let Some(Op::Put(value)) = touching.last().map(|event| &event.op) {
                view.insert(entity.to_owned(), json(value));
            }
            continue;
        }
        // In ascending order of stamp, so that the greatest has the last word on each slot.
        let mut slots: BTreeMap<Slot, (usize, Option<Bytes>)> = BTreeMap::new();
        for (order, event) in touching.iter().enumerate() {
            match &event.op {
                Op::Delete => slots.clear(),
                Op::Patch(fields) => {
                    slots.extend(fields.iter().map(|(s, v)| (s.clone(), (order, v.clone()))))
                }
                Op::Put(_) => panic!("field merge writes patches"),
            }
        }
        slots.retain(|_, (_, value)| value.is_some());
        let root = slots.remove(&Slot::Root);
        let newest_field = slots.values().map(|(order, _)| *order).max();
        match (root, newest_field) {
            (None, None) => {}
            (Some((order, Some(root))), newest)
                if newest.is_none_or(|newest| root[..] != [0x80] && order > newest) =>
            {
                view.insert(entity.to_owned(), json(&root));
            }
            _ => {
                let fields = slots.into_iter().filter_map(|(slot, (_, value))| match slot {
                    Slot::Field(name) => Some((name.to_string(), json(&value?))),
                    Slot::Root => None,
                });
                view.insert(entity.to_owned(), serde_json::Value::Object(fields.collect()));
            }
        }
    }
    view
}

/// The versions that must be live with siblings, by definition: those that no author had seen, nor any admitting replica
/// if they are tombstones.
fn expected_siblings(events: &[Event], entity: &str) -> BTreeSet<Dot> {
    let touching: Vec<&Event> = events.iter().filter(|event| &*event.entity == entity).collect();
    let superseded = |event: &Event, by: &Event| {
        by.context_contains(&event.dot) || (event.op == Op::Delete && by.deps_contain(&event.dot))
    };
    let live = touching.iter().filter(|event| !touching.iter().any(|by| superseded(event, by)));
    live.map(|event| event.dot.clone()).collect()
}

fn live(replica: &Replica, entity: &str) -> BTreeSet<Dot> {
    let record = replica.record(&entity.into()).unwrap_or_default();
    record.versions.into_iter().map(|version| version.dot).collect()
}

fn converges(strategy: Strategy, steps: &[Step]) {
    let mut world = World::new(strategy);
    for step in steps {
        world.step(step);
    }
    world.deliver_everything();
    let expected = expected(&world.events, strategy);
    for replica in &world.replicas {
        assert_eq!(replica.view(), expected);
        if strategy == Strategy::VersionVector {
            for entity in ENTITIES {
                assert_eq!(live(replica, entity), expected_siblings(&world.events, entity));
            }
        }
        assert_eq!(replica.engine.vector(), world.replicas[0].engine.vector());
        assert_eq!(replica.engine.digest(), world.replicas[0].engine.digest());
        let reopened = Replica::open(replica.engine.config().clone(), replica.disk.clone());
        assert_eq!(replica.engine.digest(), reopened.engine.digest(), "the digest followed every change");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_converges_under_last_writer_wins(steps in steps()) {
        converges(Strategy::Lww, &steps);
    }

    #[test]
    fn any_schedule_converges_under_field_merge(steps in steps()) {
        converges(Strategy::FieldMerge, &steps);
    }

    #[test]
    fn any_schedule_converges_with_siblings(steps in steps()) {
        converges(Strategy::VersionVector, &steps);
    }
}
