//! Fields that are CRDTs join; a plain write or a removal takes with it what its author had not seen.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_crdt::{OrSet, PnCounter, dynamic};
use archipelago_engine::{Change, Received, WriteError};
use archipelago_proto::{Event, FieldName, Limits, Op, Slot, decode_value, split_fields};
use bytes::Bytes;
use proptest::prelude::{Strategy as _, *};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{Replica, config, value};

const ENTITY: &str = "post/1";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Post {
    title: String,
    views: PnCounter,
    tags: OrSet<String>,
}

fn pair() -> [Replica; 2] {
    ["a", "b"].map(|name| Replica::new(config(name, Strategy::CrdtMerge)))
}

fn id(replica: &Replica) -> ReplicaId {
    replica.engine.config().replica.clone()
}

fn read(replica: &Replica) -> Option<Post> {
    let record = replica.record(&ENTITY.into())?;
    let visible = archipelago_engine::visible(&record, &Strategy::CrdtMerge, &Limits::default())?;
    Some(decode_value(&visible.value, &Limits::default()).expect("a post"))
}

/// What a user's read, change and write does.
fn update(replica: &mut Replica, now: u64, change: impl FnOnce(&mut Post, ReplicaId)) -> Event {
    let mut post = read(replica).unwrap_or_default();
    change(&mut post, id(replica));
    replica.write(ENTITY, Change::Put(value(&post)), now).1
}

fn exchange(left: &mut Replica, right: &mut Replica, from_left: &[Event], from_right: &[Event]) {
    for event in from_left {
        assert_eq!(right.receive(event, None, 9_000_000), Received::Applied);
    }
    for event in from_right {
        assert_eq!(left.receive(event, None, 9_000_000), Received::Applied);
    }
    assert_eq!(read(left), read(right));
    assert_eq!(left.engine.digest(), right.engine.digest());
}

#[test]
fn a_field_that_is_removed_where_there_is_none_is_removed_where_there_is_one() {
    let [mut a, mut b] = pair();
    let written = a.write(ENTITY, support::patch(&[("title", Some("hello"))]), 1_000).1;
    let removed = b.write(ENTITY, support::patch::<&str>(&[("title", None)]), 2_000).1;
    exchange(&mut a, &mut b, &[written], &[removed]);
    assert_eq!(a.read(ENTITY), None, "the removal is the later write");
}

#[test]
fn a_field_that_is_set_to_what_it_is_already_is_set_all_the_same() {
    let [mut a, mut b] = pair();
    let first = a.write(ENTITY, support::patch(&[("title", Some("same"))]), 1_000).1;
    exchange(&mut a, &mut b, &[first], &[]);
    let other = a.write(ENTITY, support::patch(&[("title", Some("other"))]), 2_000).1;
    let again = b.write(ENTITY, support::patch(&[("title", Some("same"))]), 3_000).1;
    exchange(&mut a, &mut b, &[other], &[again]);
    assert_eq!(a.read(ENTITY), Some(json!({ "title": "same" })), "the later write of the two");
}

#[test]
fn counters_add_up_sets_unite_and_the_newer_title_stays() {
    let [mut a, mut b] = pair();
    let from_a = update(&mut a, 1_000, |post, me| {
        post.title = "old".into();
        post.views.increment(me.clone(), 100).unwrap();
        post.tags.insert(me, "red".into()).unwrap();
    });
    let from_b = update(&mut b, 2_000, |post, me| {
        post.title = "new".into();
        post.views.increment(me.clone(), 75).unwrap();
        post.tags.insert(me, "blue".into()).unwrap();
    });
    exchange(&mut a, &mut b, &[from_a], &[from_b]);
    let post = read(&a).unwrap();
    assert_eq!((post.title.as_str(), post.views.value()), ("new", 175));
    assert_eq!(post.tags.iter().collect::<Vec<_>>(), ["blue", "red"]);
}

#[test]
fn only_what_is_new_in_a_crdt_travels() {
    let [mut a, mut b] = pair();
    let large = update(&mut a, 1_000, |post, me| {
        for n in 0..2_000 {
            post.tags.insert(me.clone(), format!("tag number {n}")).unwrap();
        }
    });
    let small = update(&mut a, 2_000, |post, me| {
        post.tags.insert(me.clone(), "one more".into()).unwrap();
        post.views.increment(me, 1).unwrap();
    });
    let bytes = |event: &Event| match &event.op {
        Op::Patch(fields) => {
            fields.iter().filter_map(|(_, value)| value.as_ref()).map(Bytes::len).sum::<usize>()
        }
        other => panic!("{other:?}"),
    };
    assert!(bytes(&large) > 50_000);
    assert!(bytes(&small) < 300, "{} bytes", bytes(&small));
    exchange(&mut a, &mut b, &[large, small], &[]);
    assert_eq!(read(&b).unwrap().tags.len(), 2_001);
    let versions = a.record(&ENTITY.into()).unwrap().versions;
    let tags = versions.iter().filter(|version| format!("{:?}", version.body).contains("tags"));
    assert_eq!(tags.count(), 1, "the later update took up the earlier");
}

#[test]
fn a_kind_from_a_newer_build_is_left_to_it() {
    let [mut a, mut b] = pair();
    let known = update(&mut a, 1_000, |post, me| drop(post.views.increment(me, 1).unwrap()));
    let mut newer = update(&mut a, 2_000, |post, me| drop(post.views.increment(me, 1).unwrap()));
    let views = Slot::Field(FieldName::from("views"));
    let of_kind_99 = Bytes::from_static(&[0xd6, 67, 0x93, 1, 99, 0xc0]);
    newer.op = Op::Patch(vec![(views, Some(of_kind_99))]);
    let later = update(&mut a, 3_000, |post, me| drop(post.views.increment(me, 1).unwrap()));
    assert_eq!(b.receive(&known, Some(1), 9_000_000), Received::Applied);
    assert_eq!(b.receive(&newer, Some(2), 9_000_000), Received::Unreadable);
    assert_eq!(b.receive(&newer, None, 9_000_000), Received::Unreadable);
    assert_eq!(b.receive(&later, Some(3), 9_000_000), Received::Waits, "it builds on what was not taken");
    assert_eq!(read(&b).unwrap().views.value(), 1);
    assert_eq!(b.disk.checkpoint, 1, "a newer build reads on from here");
    let mut opaque = Replica::new(config("c", Strategy::Lww));
    assert_eq!(opaque.receive(&known, Some(1), 9_000_000), Received::Applied);
    assert_eq!(opaque.receive(&newer, Some(2), 9_000_000), Received::Applied, "nothing is joined here");
}

#[test]
fn writing_a_record_back_unchanged_or_with_an_older_counter_takes_nothing_away() {
    let [mut a, mut b] = pair();
    let first = update(&mut a, 1_000, |post, me| drop(post.views.increment(me, 5)));
    let stale = read(&a).unwrap();
    let second = update(&mut a, 2_000, |post, me| drop(post.views.increment(me, 2)));
    let third = a.write(ENTITY, Change::Put(value(&stale)), 3_000).1;
    assert_eq!(read(&a).unwrap().views.value(), 7);
    exchange(&mut a, &mut b, &[first, second, third], &[]);
}

#[test]
fn deleting_takes_concurrent_updates_of_crdts_with_it_and_later_ones_begin_anew() {
    for (delete_at, update_at) in [(2_000, 3_000), (3_000, 2_000)] {
        let [mut a, mut b] = pair();
        let base = update(&mut a, 1_000, |post, me| {
            post.title = "title".into();
            post.views.increment(me, 10).unwrap();
        });
        exchange(&mut a, &mut b, &[base], &[]);
        let deleted = a.write(ENTITY, Change::Delete, delete_at).1;
        let updated = update(&mut b, update_at, |post, me| {
            post.title = "changed".into();
            post.views.increment(me, 1).unwrap();
        });
        exchange(&mut a, &mut b, &[deleted], &[updated]);
        let title_is_later = update_at > delete_at;
        assert_eq!(
            read(&a).map(|post| (post.title, post.views.value())),
            title_is_later.then(|| ("changed".into(), 0))
        );
        let anew = update(&mut b, 4_000, |post, me| drop(post.views.increment(me, 3)));
        exchange(&mut a, &mut b, &[], &[anew]);
        assert_eq!(read(&a).unwrap().views.value(), 3, "nothing from before the deletion comes back");
    }
}

#[test]
fn a_damaged_crdt_is_refused_at_the_write() {
    let [mut a, _] = pair();
    let mut bytes = value(json!({ "views": 0 })).to_vec();
    bytes.pop();
    // An extension value of the CRDTs' type, with nothing sensible inside.
    let counter = value(PnCounter::<ReplicaId>::default());
    let mut damaged = counter.to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 0xff;
    bytes.extend(damaged);
    let error = a.write_after(ENTITY, Change::Put(bytes.into()), 1_000, None).unwrap_err();
    assert!(matches!(&error, WriteError::Malformed(error) if error.to_string().contains("CRDT")), "{error}");
    assert!(a.engine.vector().is_empty());
}

/// What becomes of two concurrent updates of one field by `a` and `b`, in either order of arrival at a third.
fn of_updates(one: &Bytes, other: &Bytes) -> Bytes {
    let [mut a, mut b] = pair();
    let field = |content: &Bytes| Change::Patch(vec![("field".into(), Some(content.clone()))]);
    let counter = field(&value(PnCounter::<ReplicaId>::new()));
    let with = |event: Event, content: &Bytes| Event {
        op: Op::Patch(vec![(Slot::Field("field".into()), Some(content.clone()))]),
        ..event
    };
    let of_a = with(a.write(ENTITY, counter.clone(), 1_000).1, one);
    let of_b = with(b.write(ENTITY, counter, 2_000).1, other);
    let mut readers = ["c", "d"].map(|name| Replica::new(config(name, Strategy::CrdtMerge)));
    for (reader, order) in readers.iter_mut().zip([[&of_a, &of_b], [&of_b, &of_a]]) {
        for event in order {
            reader.receive(event, None, 3_000);
        }
    }
    assert_eq!(readers[0].engine.digest(), readers[1].engine.digest());
    assert_eq!(view(&readers[0]), view(&readers[1]));
    view(&readers[0])[b"field".as_slice()].clone()
}

#[test]
fn of_updates_of_different_kinds_the_greater_kind_stays_whatever_the_order() {
    let mut counter = PnCounter::new();
    counter.increment(support::id("a"), 5).unwrap();
    let mut set = OrSet::new();
    set.insert(support::id("b"), "red".to_owned()).unwrap();
    let (counter, set) = (value(&counter), value(&set));
    assert_eq!(of_updates(&counter, &set), set);
    assert_eq!(of_updates(&set, &counter), set);
}

#[test]
fn of_a_damaged_update_and_a_sound_one_the_sound_one_stays_whatever_the_order() {
    let mut counter = PnCounter::new();
    counter.increment(support::id("a"), 5).unwrap();
    let sound = value(&counter);
    let mut damaged = value(OrSet::<String>::new()).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 0xff;
    let damaged = Bytes::from(damaged);
    assert!(dynamic::is_crdt(&damaged) && dynamic::normalize(&damaged).is_err());
    assert_eq!(of_updates(&sound, &damaged), sound);
    assert_eq!(of_updates(&damaged, &sound), sound);
}

#[test]
fn a_field_does_not_change_its_kind_until_it_is_removed() {
    let mut set = OrSet::new();
    set.insert(support::id("a"), "red".to_owned()).unwrap();
    let mut counter = PnCounter::new();
    counter.increment(support::id("a"), 5).unwrap();
    for (first, second) in [(value(&set), value(&counter)), (value(&counter), value(&set))] {
        let [mut a, _] = pair();
        let field = |content: Option<&Bytes>| Change::Patch(vec![("field".into(), content.cloned())]);
        a.write(ENTITY, field(Some(&first)), 1_000);
        for change in [
            field(Some(&second)),
            Change::Put(archipelago_proto::join_fields([("field", &second[..])].into_iter())),
        ] {
            let error = a.write_after(ENTITY, change, 2_000, None).unwrap_err();
            assert!(
                matches!(&error, WriteError::Malformed(error) if error.to_string().contains("kind")),
                "{error}"
            );
            assert_eq!(view(&a)[b"field".as_slice()], first);
        }
        a.write(ENTITY, field(None), 3_000);
        a.write(ENTITY, field(Some(&second)), 4_000);
        assert_eq!(view(&a)[b"field".as_slice()], second);
    }
}

/// One step of a schedule on three replicas.
#[derive(Clone, Debug)]
enum Step {
    Count {
        replica: usize,
        by: u8,
        stale: Option<prop::sample::Index>,
    },
    Tag {
        replica: usize,
        tag: u8,
        stale: Option<prop::sample::Index>,
    },
    Untag {
        replica: usize,
        tag: u8,
    },
    /// A plain write of one field: a number, or a removal.
    Plain {
        replica: usize,
        field: usize,
        to: Option<u8>,
        stale: Option<prop::sample::Index>,
    },
    Delete {
        replica: usize,
        stale: Option<prop::sample::Index>,
    },
    Deliver {
        replica: usize,
        event: prop::sample::Index,
    },
    CatchUp {
        replica: usize,
        origin: usize,
    },
    /// What another replica has applied, by repair.
    Repair {
        replica: usize,
        giver: usize,
    },
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

const FIELDS: [&str; 3] = ["title", "views", "tags"];

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let replica = || 0..3usize;
    let stale = || proptest::option::weighted(0.3, any::<prop::sample::Index>());
    let step = prop_oneof![
        4 => (replica(), 1..9u8, stale()).prop_map(|(replica, by, stale)| Step::Count { replica, by, stale }),
        4 => (replica(), 0..4u8, stale()).prop_map(|(replica, tag, stale)| Step::Tag { replica, tag, stale }),
        2 => (replica(), 0..4u8).prop_map(|(replica, tag)| Step::Untag { replica, tag }),
        3 => (replica(), 0..3usize, any::<Option<u8>>(), stale())
            .prop_map(|(replica, field, to, stale)| Step::Plain { replica, field, to, stale }),
        1 => (replica(), stale()).prop_map(|(replica, stale)| Step::Delete { replica, stale }),
        9 => (replica(), any::<prop::sample::Index>()).prop_map(|(replica, event)| Step::Deliver { replica, event }),
        4 => (replica(), replica()).prop_map(|(replica, origin)| Step::CatchUp { replica, origin }),
        2 => (replica(), 1..3usize)
            .prop_map(|(replica, by)| Step::Repair { replica, giver: (replica + by) % 3 }),
        2 => replica().prop_map(|replica| Step::Token { replica }),
        1 => replica().prop_map(|replica| Step::Crash { replica }),
        2 => (0u64..50).prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..70)
}

type View = BTreeMap<FieldName, Bytes>;

fn view(replica: &Replica) -> View {
    let Some(record) = replica.record(&ENTITY.into()) else { return View::new() };
    let visible = archipelago_engine::visible(&record, &Strategy::CrdtMerge, &Limits::default());
    let Some(visible) = visible else { return View::new() };
    split_fields(&visible.value, &Limits::default()).expect("sound").expect("a map").into_iter().collect()
}

/// The CRDT in a field, or an empty one if there is none.
fn crdt<C: Default + serde::de::DeserializeOwned>(replica: &Replica, field: &str) -> C {
    let view = view(replica);
    let bytes = view.get(field.as_bytes()).filter(|bytes| dynamic::is_crdt(bytes));
    bytes.map_or_else(C::default, |bytes| decode_value(bytes, &Limits::default()).expect("of its kind"))
}

struct World {
    replicas: Vec<Replica>,
    events: Vec<Event>,
    tokens: Vec<VersionVector>,
    now: u64,
}

impl World {
    fn write(&mut self, replica: usize, change: Change, stale: &Option<prop::sample::Index>) {
        let token = stale.filter(|_| !self.tokens.is_empty()).map(|at| at.get(&self.tokens).clone());
        match self.replicas[replica].write_after(ENTITY, change, self.now, token) {
            Ok((_, event)) => self.events.push(event),
            Err(WriteError::ContextAhead) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn patch(&mut self, replica: usize, field: &str, to: Option<Bytes>, stale: &Option<prop::sample::Index>) {
        self.write(replica, Change::Patch(vec![(field.into(), to)]), stale);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Count { replica, by, stale } => {
                let mut views: PnCounter = crdt(&self.replicas[*replica], "views");
                views.increment(id(&self.replicas[*replica]), u64::from(*by)).expect("the actor's own state");
                self.patch(*replica, "views", Some(value(&views)), stale);
            }
            Step::Tag { replica, tag, stale } => {
                let mut tags: OrSet<String> = crdt(&self.replicas[*replica], "tags");
                tags.insert(id(&self.replicas[*replica]), tag.to_string()).expect("the actor's own state");
                self.patch(*replica, "tags", Some(value(&tags)), stale);
            }
            Step::Untag { replica, tag } => {
                let mut tags: OrSet<String> = crdt(&self.replicas[*replica], "tags");
                tags.remove(&tag.to_string());
                self.patch(*replica, "tags", Some(value(&tags)), &None);
            }
            Step::Plain { replica, field, to, stale } => {
                self.patch(*replica, FIELDS[*field], to.map(value), stale);
            }
            Step::Delete { replica, stale } => self.write(*replica, Change::Delete, stale),
            Step::Deliver { replica, event } if !self.events.is_empty() => {
                self.replicas[*replica].receive(event.get(&self.events), None, self.now);
            }
            Step::Deliver { .. } => {}
            Step::CatchUp { replica, origin } => {
                let origin = id(&self.replicas[*origin]);
                for event in self.events.iter().filter(|event| event.dot.actor == origin) {
                    self.replicas[*replica].receive(event, None, self.now);
                }
            }
            Step::Repair { replica, giver } => {
                let [taker, giver] =
                    self.replicas.get_disjoint_mut([*replica, *giver]).expect("two different replicas");
                taker.repair_from(giver, 0, self.now, |_, _| {}).expect("nobody is fenced");
                assert_eq!(taker.disk.live, taker.live_dots_of_records());
            }
            Step::Token { replica } => self.tokens.push(self.replicas[*replica].engine.vector().clone()),
            Step::Crash { replica } => {
                let crashed = self.replicas.remove(*replica).crash();
                self.replicas.insert(*replica, crashed);
            }
            Step::Pass { ms } => self.now += ms,
        }
        for (at, left) in self.replicas.iter().enumerate() {
            for right in &self.replicas[at + 1..] {
                if left.engine.vector() == right.engine.vector() {
                    assert_eq!(view(left), view(right));
                    assert_eq!(left.engine.digest(), right.engine.digest());
                }
            }
        }
    }
}

/// What must be visible, by the definition: of the plain writes of a field the one with the greatest stamp wins; if there
/// are updates whose admitting replicas had applied it, the field is their join, else what it says.
fn expected(events: &[Event]) -> View {
    let mut view = View::new();
    for field in FIELDS {
        let slot = Slot::Field(field.into());
        let says = |event: &Event| match &event.op {
            Op::Delete => Some(None),
            Op::Patch(fields) => {
                fields.iter().find(|(other, _)| *other == slot).map(|(_, value)| value.clone())
            }
            Op::Put(_) => panic!("crdt merge writes patches"),
        };
        let writes = || events.iter().filter_map(|event| Some((event, says(event)?)));
        let is_update = |value: &Option<Bytes>| value.as_ref().is_some_and(|value| dynamic::is_crdt(value));
        let winner = writes()
            .filter(|(_, value)| !is_update(value))
            .max_by_key(|(event, _)| (event.hlc, event.dot.clone()));
        let counts =
            |update: &Event| winner.as_ref().is_none_or(|(winner, _)| update.deps_contain(&winner.dot));
        let joined = writes()
            .filter(|(event, value)| is_update(value) && counts(event))
            .filter_map(|(_, value)| value)
            .reduce(|one, other| dynamic::join(&one, &other).expect("of one kind").into());
        if let Some(value) = joined.or_else(|| winner.and_then(|(_, value)| value)) {
            view.insert(field.into(), value);
        }
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_converges_to_the_join_of_the_updates_that_count(steps in steps()) {
        let replicas = ["a", "b", "c"].map(|name| Replica::new(config(name, Strategy::CrdtMerge)));
        let mut world =
            World { replicas: replicas.into(), events: Vec::new(), tokens: Vec::new(), now: 1_000_000 };
        for step in &steps {
            world.step(step);
        }
        let (events, expected) = (world.events.clone(), expected(&world.events));
        for replica in &mut world.replicas {
            for event in &events {
                replica.receive(event, None, world.now);
            }
            prop_assert_eq!(replica.engine.buffered(), 0);
        }
        for replica in &world.replicas {
            prop_assert_eq!(&view(replica), &expected);
            prop_assert_eq!(replica.engine.digest(), world.replicas[0].engine.digest());
            let reopened = Replica::open(replica.engine.config().clone(), replica.disk.clone());
            prop_assert_eq!(replica.engine.digest(), reopened.engine.digest());
        }
        // Every read comes out with its types.
        let values: BTreeSet<bool> = world.replicas.iter().map(|replica| view(replica).is_empty()).collect();
        prop_assert_eq!(values.len(), 1);
    }
}
