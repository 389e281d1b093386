//! Programs of several schema versions beside one another.

mod support;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_conflict::{Custom, Strategy};
use archipelago_crdt::{Value, value};
use archipelago_manager::{
    MultiMasterBuilder, MultiMasterManager, ReadError, Schema, StartError, UpdateError, VersionContent,
    WriteError, WriteOptions,
};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::MemoryStore;
use serde::{Deserialize, Serialize};
use support::{DEADLINE, Island, TestClock, broker, converge, options};

/// Version 1 of a person: one name. Version 2: two names. Version 3: the phone is one of several contacts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Person1 {
    name: String,
    phone: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Person2 {
    first: String,
    last: String,
    phone: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Person3 {
    first: String,
    last: String,
    contacts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

fn person1(name: &str, phone: &str) -> Person1 {
    Person1 { name: name.into(), phone: phone.into() }
}

fn person2(first: &str, last: &str, phone: &str) -> Person2 {
    Person2 { first: first.into(), last: last.into(), phone: phone.into() }
}

fn person3(first: &str, last: &str, phone: &str) -> Person3 {
    let contacts = BTreeMap::from([("phone".to_owned(), phone.to_owned())]);
    Person3 { first: first.into(), last: last.into(), contacts, note: None }
}

fn people(version: u32) -> Schema {
    let mut schema = Schema::version(version);
    if version > 1 {
        schema = schema.upcast(1, |person| {
            let Value::Map(fields) = person else { return Err("a person is a map".into()) };
            let Some(name) = fields.remove("name") else { return Ok(()) };
            let (first, last) = name.as_text().and_then(|name| name.split_once(' ')).ok_or("no two names")?;
            fields.insert("first".into(), first.into());
            fields.insert("last".into(), last.into());
            Ok(())
        });
    }
    if version > 2 {
        schema = schema.upcast(2, |person| {
            let Value::Map(fields) = person else { return Err("a person is a map".into()) };
            let Some(phone) = fields.remove("phone") else { return Ok(()) };
            fields.insert("contacts".into(), Value::Map(BTreeMap::from([("phone".to_owned(), phone)])));
            Ok(())
        });
    }
    schema
}

fn knowing(name: &str, strategy: Strategy, version: u32) -> MultiMasterBuilder {
    options(name, strategy).schema("user/", people(version))
}

async fn island(broker: &MemoryBroker, name: &str, strategy: Strategy, version: u32) -> Island {
    Island::on(broker, knowing(name, strategy, version), MemoryStore::new()).await
}

/// Three programs that know the versions 1, 2 and 3.
async fn programs(broker: &MemoryBroker, strategy: Strategy) -> [Island; 3] {
    let [one, two, three] = [("one", 1), ("two", 2), ("three", 3)];
    [
        island(broker, one.0, strategy, one.1).await,
        island(broker, two.0, strategy, two.1).await,
        island(broker, three.0, strategy, three.1).await,
    ]
}

fn masters(islands: &[Island; 3]) -> [&MultiMasterManager; 3] {
    islands.each_ref().map(|island| &island.master)
}

async fn read<T: for<'de> Deserialize<'de>>(master: &MultiMasterManager, id: &str) -> T {
    master.read(id).await.expect("readable").expect("there")
}

fn is_newer(error: &WriteError) -> bool {
    matches!(error, WriteError::NewerSchema { found: 3, known: 1 | 2, .. })
}

#[tokio::test]
async fn a_master_does_not_start_without_every_upcaster() {
    let start =
        |schema| options("us", Strategy::Lww).store(MemoryStore::new()).schema("user/", schema).start();
    let error = start(Schema::version(3).upcast(1, |_| Ok(()))).await.unwrap_err();
    let StartError::Option { option: "schema", reason } = error else { panic!("{error}") };
    assert!(reason.contains("user/") && reason.contains("from version 2 to 3"), "{reason}");
    assert!(start(people(3)).await.is_ok());
}

#[tokio::test]
async fn whole_values_of_every_version_are_read_by_every_program() {
    let broker = broker();
    let islands = programs(&broker, Strategy::Lww).await;
    let [one, two, three] = masters(&islands);
    one.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
    two.write("user/2", &person2("Bob", "Ray", "2")).await.unwrap();
    three.write("user/3", &person3("Cy", "Fox", "3")).await.unwrap();
    converge(&[one, two, three]).await;
    assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Lee", "1"));
    assert_eq!(read::<Person3>(three, "user/2").await, person3("Bob", "Ray", "2"));
    assert_eq!(read::<Person3>(three, "user/3").await, person3("Cy", "Fox", "3"));
    assert_eq!(read::<Person2>(two, "user/1").await, person2("Ann", "Lee", "1"));
    // A newer value is given as it is: who needs a field that it lacks is told why.
    let newer = read::<Value>(two, "user/3").await;
    assert_eq!(newer, value!({ "first": "Cy", "last": "Fox", "contacts": { "phone": "3" } }));
    let error = one.read::<Person1>("user/3").await.unwrap_err();
    assert!(matches!(error, ReadError::NewerSchema { found: 3, known: 1, .. }), "{error}");

    // Who writes a record as a whole writes it in its own form, whatever it was in.
    two.write("user/3", &person2("Cy", "Fox", "33")).await.unwrap();
    converge(&[one, two, three]).await;
    assert_eq!(read::<Person3>(three, "user/3").await, person3("Cy", "Fox", "33"));
}

#[tokio::test]
async fn an_update_of_an_older_value_writes_it_lifted_and_marks_it() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge, Strategy::Detect] {
        let broker = broker();
        let islands = programs(&broker, strategy).await;
        let [one, two, three] = masters(&islands);
        one.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
        converge(&[one, two, three]).await;
        assert_eq!(three.entity("user/1").await.unwrap().unwrap().schema_version, 1);
        let update = |person: &mut Person3| {
            person.last = "Fox".into();
            Ok::<_, Infallible>(())
        };
        three.update("user/1", update).await.unwrap();
        converge(&[one, two, three]).await;
        assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Fox", "1"), "{strategy}");
        for master in [one, two, three] {
            assert_eq!(master.entity("user/1").await.unwrap().unwrap().schema_version, 3, "{strategy}");
        }
        // Nothing of the old form is left.
        let fields: Vec<_> = read::<BTreeMap<String, Value>>(one, "user/1").await.into_keys().collect();
        assert_eq!(fields, ["contacts", "first", "last"], "{strategy}");
    }
}

#[tokio::test]
async fn a_patch_of_an_older_record_lifts_the_rest_of_it() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::Manual] {
        let broker = broker();
        let islands = programs(&broker, strategy).await;
        let [one, two, three] = masters(&islands);
        one.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
        converge(&[one, two, three]).await;
        let seen = WriteOptions::default();
        three.patch_with("user/1", &value!({ "last": "Fox" }), seen).await.unwrap();
        three.patch("user/2", &value!({ "first": "Bob" })).await.unwrap();
        converge(&[one, two, three]).await;
        assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Fox", "1"), "{strategy}");
        for id in ["user/1", "user/2"] {
            assert_eq!(one.entity(id).await.unwrap().unwrap().schema_version, 3, "{strategy} {id}");
        }
    }
}

#[tokio::test]
async fn reading_changes_nothing_that_is_stored() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::Manual] {
        let broker = broker();
        let islands = programs(&broker, strategy).await;
        let [one, two, three] = masters(&islands);
        one.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
        converge(&[one, two, three]).await;
        let before = three.state_digest().await.unwrap();
        for _ in 0..3 {
            assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Lee", "1"));
            let view = three.entity("user/1").await.unwrap().unwrap();
            assert_eq!(view.value.unwrap().get("last"), Some(&"Lee".into()), "{strategy}");
            three.explain("user/1").await.unwrap();
            three.pending_conflicts(None, 10).await.unwrap();
        }
        assert_eq!(three.state_digest().await.unwrap(), before, "{strategy}");
        assert_eq!(read::<Person1>(one, "user/1").await, person1("Ann Lee", "1"));
    }
}

#[tokio::test]
async fn an_older_program_changes_no_part_of_a_newer_record() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let broker = broker();
        let islands = programs(&broker, strategy).await;
        let [one, two, three] = masters(&islands);
        three.write("user/1", &person3("Ann", "Lee", "1")).await.unwrap();
        converge(&[one, two, three]).await;
        let before = two.state_digest().await.unwrap();
        assert!(is_newer(&two.write("user/1", &person2("A", "B", "2")).await.unwrap_err()));
        assert!(is_newer(&two.patch("user/1", &value!({ "first": "A" })).await.unwrap_err()));
        assert!(is_newer(&one.write("user/1", &value!({ "first": "A" })).await.unwrap_err()));
        let update = two.update("user/1", |_: &mut Value| Ok::<_, Infallible>(())).await.unwrap_err();
        assert!(matches!(&update, UpdateError::Write(error) if is_newer(error)), "{update}");
        assert_eq!(two.state_digest().await.unwrap(), before, "nothing was written");
        // It reads, and it removes; what comes after that is its own.
        assert_eq!(read::<Value>(two, "user/1").await.get("first"), Some(&"Ann".into()));
        two.delete("user/1").await.unwrap();
        two.write("user/1", &person2("A", "B", "2")).await.unwrap();
        converge(&[one, two, three]).await;
        assert_eq!(read::<Person3>(three, "user/1").await, person3("A", "B", "2"), "{strategy}");
    }
}

#[tokio::test]
async fn an_older_program_neither_updates_nor_patches_a_newer_whole_value() {
    let broker = broker();
    let islands = programs(&broker, Strategy::Lww).await;
    let [one, two, three] = masters(&islands);
    three.write("user/1", &person3("Ann", "Lee", "1")).await.unwrap();
    converge(&[one, two, three]).await;
    assert!(is_newer(&two.patch("user/1", &value!({ "first": "A" })).await.unwrap_err()));
    let update = one.update("user/1", |_: &mut Value| Ok::<_, Infallible>(())).await.unwrap_err();
    assert!(matches!(&update, UpdateError::Write(error) if is_newer(error)), "{update}");
    assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Lee", "1"));
}

#[tokio::test]
async fn a_program_without_any_schema_takes_care_of_newer_records_as_well() {
    let broker = broker();
    let old = Island::start(&broker, "old", Strategy::FieldMerge).await.master;
    let new = island(&broker, "new", Strategy::FieldMerge, 3).await.master;
    new.write("user/1", &person3("Ann", "Lee", "1")).await.unwrap();
    converge(&[&old, &new]).await;
    assert!(matches!(
        old.patch("user/1", &value!({ "first": "A" })).await.unwrap_err(),
        WriteError::NewerSchema { found: 3, known: 1, .. }
    ));
    assert_eq!(read::<Person3>(&old, "user/1").await, person3("Ann", "Lee", "1"), "marks are not shown");
}

#[tokio::test]
async fn what_a_newer_program_wrote_is_seen_before_it_is_stored() {
    let limits = archipelago_proto::Limits::default();
    let newer =
        archipelago_proto::encode_value(&value!({ "$schema:3": true, "first": "Ann" }), &limits).unwrap();
    let event = archipelago_proto::Event {
        dot: Dot::new(ReplicaId::new("new", Incarnation::from_bits(1)).unwrap(), 1),
        hlc: Hlc::new(1_000, 0),
        deps: Arc::default(),
        context: None,
        entity: "user/1".into(),
        op: archipelago_proto::Op::Put(newer),
        trace: None,
    };
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let old = options("old", strategy).store(MemoryStore::new()).start().await.unwrap();
        // On one thread both are asked for before either is taken up: they share a commit.
        let fields = value!({ "first": "A" });
        let (applied, written) =
            tokio::join!(old.apply_remote_event(event.clone()), old.write("user/1", &fields));
        applied.unwrap();
        assert!(matches!(written, Err(WriteError::NewerSchema { found: 3, known: 1, .. })), "{written:?}");
    }
}

/// `two` and `three` write a record of version 1 without knowing of each other: what `three` lifted is never taken for
/// older again, whoever wrote later.
#[tokio::test]
async fn what_one_program_lifted_does_not_pass_for_older_by_the_mark_of_another() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        for (two_ms, three_ms) in [(2_000, 3_000), (3_000, 2_000)] {
            let broker = broker();
            let (two_clock, three_clock) = (TestClock::at(1_000), TestClock::at(1_000));
            let two = knowing("two", strategy, 2).clock(two_clock.clone());
            let three = knowing("three", strategy, 3).clock(three_clock.clone());
            let two = Island::on(&broker, two, MemoryStore::new()).await;
            let three = Island::on(&broker, three, MemoryStore::new()).await;
            let one = knowing("one", strategy, 1).clock(TestClock::at(1_000));
            let one = Island::on(&broker, one, MemoryStore::new()).await;
            one.master
                .write("user/1", &value!({ "name": "Ann Lee", "phone": "1", "age": 30 }))
                .await
                .unwrap();
            converge(&[&one.master, &two.master, &three.master]).await;
            one.link.cut();
            two.link.cut();
            two_clock.set(two_ms);
            three_clock.set(three_ms);
            let birthday = |person: &mut BTreeMap<String, Value>| {
                person.insert("age".into(), 31.into());
                Ok::<_, Infallible>(())
            };
            two.master.update("user/1", birthday).await.unwrap();
            let noted = |person: &mut Person3| {
                person.note = Some("hello".into());
                Ok::<_, Infallible>(())
            };
            three.master.update("user/1", noted).await.unwrap();
            one.link.heal();
            two.link.heal();
            converge(&[&one.master, &two.master, &three.master]).await;
            let wanted = Person3 { note: Some("hello".into()), ..person3("Ann", "Lee", "1") };
            assert_eq!(read::<Person3>(&three.master, "user/1").await, wanted, "{strategy} {two_ms}");
            assert_eq!(read::<Value>(&three.master, "user/1").await.get("age"), Some(&31.into()));
            assert_eq!(three.master.entity("user/1").await.unwrap().unwrap().schema_version, 3);
        }
    }
}

#[tokio::test]
async fn siblings_of_two_versions_are_shown_lifted_and_resolved_in_the_own_form() {
    let broker = broker();
    let islands = programs(&broker, Strategy::Manual).await;
    let [one, two, three] = masters(&islands);
    let base = one.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
    assert!(three.wait_for(&base.token, DEADLINE).await && two.wait_for(&base.token, DEADLINE).await);
    islands[0].link.cut();
    one.write("user/1", &person1("Ann Ray", "2")).await.unwrap();
    three.write("user/1", &person3("Ann", "Fox", "3")).await.unwrap();
    islands[0].link.heal();
    converge(&[one, two, three]).await;

    let pending = three.pending_conflicts(None, 10).await.unwrap();
    let siblings: Vec<&VersionContent> = pending[0].versions.iter().map(|version| &version.content).collect();
    for name in ["Ray", "Fox"] {
        let shown = |content: &&VersionContent| match content {
            VersionContent::Whole(value) => {
                value.get("last") == Some(&name.into()) && value.get("contacts").is_some()
            }
            _ => false,
        };
        assert!(siblings.iter().any(shown), "{name}: {siblings:?}");
    }
    three.resolve_conflict(&pending[0], Some(&person3("Ann", "Ray-Fox", "3"))).await.unwrap();
    converge(&[one, two, three]).await;
    assert_eq!(read::<Person3>(three, "user/1").await, person3("Ann", "Ray-Fox", "3"));
    assert_eq!(one.entity("user/1").await.unwrap().unwrap().schema_version, 3);
    assert!(two.pending_conflicts(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upcaster_that_fails_or_panics_is_an_error_of_that_read_alone() {
    let broker = broker();
    let old = Island::start(&broker, "old", Strategy::Manual).await;
    let broken = Schema::version(2).upcast(1, |person| match person.get("name").and_then(Value::as_text) {
        Some("panic") => panic!("no such name"),
        Some("refuse") => Err("no such person".into()),
        _ => Ok(()),
    });
    let new = options("new", Strategy::Manual).schema("user/", broken);
    let new = Island::on(&broker, new, MemoryStore::new()).await;
    for name in ["panic", "refuse", "fine"] {
        old.master.write(format!("user/{name}"), &person1(name, "1")).await.unwrap();
    }
    converge(&[&old.master, &new.master]).await;
    new.link.cut();
    for (id, wanted) in [("user/panic", "panicked: no such name"), ("user/refuse", "no such person")] {
        let error = new.master.read::<Person1>(id).await.unwrap_err();
        let ReadError::Schema { entity, version: 1, reason } = &error else { panic!("{error}") };
        assert_eq!(entity, id);
        assert!(reason.contains(wanted), "{reason}");
        let update = new.master.update(id, |_: &mut Person1| Ok::<_, Infallible>(())).await.unwrap_err();
        assert!(matches!(update, UpdateError::Read(ReadError::Schema { .. })), "{update}");
        let patch = new.master.patch(id, &value!({ "phone": "2" })).await.unwrap_err();
        assert!(matches!(&patch, WriteError::Schema { reason, .. } if reason.contains(wanted)), "{patch}");
        // It can be looked at as it is, and overwritten.
        let view = new.master.entity(id).await.unwrap().unwrap();
        assert_eq!(view.schema_errors.len(), 1, "{:?}", view.schema_errors);
        assert!(view.schema_errors[0].contains(wanted));
        assert_eq!(view.value.unwrap().get("phone"), Some(&"1".into()));
        new.master.write(id, &person1("mended", "1")).await.unwrap();
        assert_eq!(read::<Person1>(&new.master, id).await, person1("mended", "1"));
        // A sibling that cannot be lifted does not hide the conflict.
        old.master.write(id, &person1(id.trim_start_matches("user/"), "2")).await.unwrap();
    }
    assert_eq!(read::<Person1>(&new.master, "user/fine").await, person1("fine", "1"));
    new.link.heal();
    converge(&[&old.master, &new.master]).await;
    let pending = new.master.pending_conflicts(None, 10).await.unwrap();
    assert_eq!(pending.len(), 2);
    for seen in &pending {
        assert_eq!(seen.schema_errors.len(), 1);
        new.master.resolve_conflict(seen, Some(&person1("resolved", "1"))).await.unwrap();
        assert_eq!(read::<Person1>(&new.master, &seen.id).await.name, "resolved");
    }
}

#[tokio::test]
async fn the_longest_prefix_decides_and_the_rest_has_no_schema() {
    let broker = broker();
    let add = |version: u32| {
        (1..version).fold(Schema::version(version), |schema, _| {
            schema.upcast(1, move |value| {
                *value = value!({ "lifted to": version });
                Ok(())
            })
        })
    };
    let new = options("new", Strategy::Lww).schema("a/", add(1)).schema("a/b/", add(2));
    let new = Island::on(&broker, new, MemoryStore::new()).await.master;
    let old = Island::start(&broker, "old", Strategy::Lww).await.master;
    for id in ["a/b/1", "a/1", "1"] {
        old.write(id, &7).await.unwrap();
    }
    converge(&[&old, &new]).await;
    assert_eq!(read::<Value>(&new, "a/b/1").await, value!({ "lifted to": 2 }));
    assert_eq!(read::<Value>(&new, "a/1").await, value!(7));
    assert_eq!(read::<Value>(&new, "1").await, value!(7));
}

#[tokio::test]
async fn only_maps_carry_a_version_and_marks_are_not_for_applications() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge] {
        let broker = broker();
        let master = island(&broker, "us", strategy, 2).await.master;
        let error = master.write("user/1", &7).await.unwrap_err();
        assert!(error.to_string().contains("a struct or a map"), "{error}");
        for id in ["user/1", "other/1"] {
            for error in [
                master.write(id, &value!({ "$schema:2": true })).await.unwrap_err(),
                master.patch(id, &value!({ "$schema:7": 1 })).await.unwrap_err(),
            ] {
                assert!(
                    matches!(&error, WriteError::Schema { reason, .. } if reason.contains("reserved")),
                    "{error}"
                );
            }
        }
        assert_eq!(master.entity("user/1").await.unwrap(), None, "nothing was written");
        master.write("other/1", &7).await.unwrap();
        master.write("user/1", &value!({})).await.unwrap();
        assert_eq!(read::<Value>(&master, "user/1").await, value!({}));
    }
}

#[tokio::test]
async fn a_custom_merge_function_sees_what_is_stored() {
    let broker = broker();
    let marks = Custom::new("marks", 1, |siblings| {
        let marked = siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.get("$schema:2"));
        Some(value!({ "marked": (marked.count() as u64), "$schema:2": true }))
    });
    let options = |name| {
        options(name, Strategy::Lww).prefix_strategy("user/", marks.clone()).schema("user/", people(2))
    };
    let us = Island::on(&broker, options("us"), MemoryStore::new()).await;
    let eu = Island::on(&broker, options("eu"), MemoryStore::new()).await;
    us.link.cut();
    us.master.write("user/1", &person2("Ann", "Lee", "1")).await.unwrap();
    eu.master.write("user/1", &person2("Ann", "Ray", "1")).await.unwrap();
    us.link.heal();
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(read::<Value>(&us.master, "user/1").await, value!({ "marked": 2 }));
}

#[tokio::test]
async fn what_an_older_program_wrote_beside_the_first_lifting_is_kept_and_reported() {
    let broker = broker();
    let clocks = [1_000; 2].map(TestClock::at);
    let start = async |name, version, clock: &TestClock| {
        let options = knowing(name, Strategy::FieldMerge, version).clock(clock.clone());
        Island::on(&broker, options, MemoryStore::new()).await
    };
    let (one, two) = (start("one", 1, &clocks[0]).await, start("two", 2, &clocks[1]).await);
    one.master.write("user/1", &person1("Ann Lee", "1")).await.unwrap();
    converge(&[&one.master, &two.master]).await;
    one.link.cut();
    two.master.update("user/1", |_: &mut Person2| Ok::<_, Infallible>(())).await.unwrap();
    clocks[0].set(2_000);
    one.master.patch("user/1", &value!({ "name": "Ann Fox" })).await.unwrap();
    one.link.heal();
    clocks[1].set(2_000);
    converge(&[&one.master, &two.master]).await;
    assert_eq!(read::<Person2>(&two.master, "user/1").await, person2("Ann", "Lee", "1"));
    assert_eq!(read::<Value>(&two.master, "user/1").await.get("name"), Some(&"Ann Fox".into()));
    let reported = two.master.conflicts();
    let fields = reported.iter().flat_map(|report| &report.clashes).map(|clash| clash.field.as_deref());
    assert!(fields.collect::<Vec<_>>().contains(&Some("name")), "{reported:?}");
}

#[tokio::test]
async fn a_record_that_a_field_brings_back_goes_through_all_upcasters() {
    let broker = broker();
    let clocks = [1_000; 2].map(TestClock::at);
    let start = async |name, clock: &TestClock| {
        let options = knowing(name, Strategy::FieldMerge, 3).clock(clock.clone());
        Island::on(&broker, options, MemoryStore::new()).await
    };
    let (us, eu) = (start("us", &clocks[0]).await, start("eu", &clocks[1]).await);
    us.master.write("user/1", &person3("Ann", "Lee", "1")).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    us.link.cut();
    eu.master.delete("user/1").await.unwrap();
    clocks[0].set(2_000);
    us.master.patch("user/1", &value!({ "contacts": { "mail": "2" } })).await.unwrap();
    us.link.heal();
    clocks[1].set(2_000);
    converge(&[&us.master, &eu.master]).await;
    for master in [&us.master, &eu.master] {
        assert_eq!(read::<Value>(master, "user/1").await, value!({ "contacts": { "mail": "2" } }));
        assert_eq!(master.entity("user/1").await.unwrap().unwrap().schema_version, 1);
    }
}
