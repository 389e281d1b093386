//! Fields that a program does not know survive its updates.

mod support;

use std::{collections::BTreeMap, convert::Infallible};

use archipelago_conflict::Strategy;
use archipelago_crdt::{PnCounter, Value, value};
use archipelago_manager::{MultiMasterManager, VersionContent};
use archipelago_store::MemoryStore;
use archipelago_testkit::generate;
use proptest::{prelude::*, strategy::Strategy as Generate};
use serde::{Deserialize, Serialize};
use support::{Island, broker, options};

async fn read<T: for<'de> Deserialize<'de>>(master: &MultiMasterManager, id: &str) -> T {
    master.read(id).await.expect("readable").expect("there")
}

/// What an older program knows of a post.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Post {
    title: String,
    views: PnCounter,
    #[serde(alias = "by", skip_serializing_if = "Option::is_none")]
    author: Option<String>,
}

#[tokio::test]
async fn an_update_writes_only_what_it_changed_and_keeps_what_it_does_not_know() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge, Strategy::VersionVector] {
        let broker = broker();
        let us = Island::start(&broker, "us", strategy).await.master;
        let me = us.master_id();
        let newer =
            BTreeMap::from([("title".to_owned(), Value::from("one")), ("mood".into(), "good".into())]);
        us.write("post/1", &newer).await.unwrap();
        // What the older program needs is not there yet.
        assert!(us.read::<Post>("post/1").await.is_err());
        us.update("post/2", |post: &mut Post| {
            post.title = "one".into();
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        us.patch("post/2", &value!({ "mood": "good" })).await.unwrap();
        us.update("post/2", move |post: &mut Post| post.views.increment(me, 3).map(drop)).await.unwrap();
        let post: Post = read(&us, "post/2").await;
        assert_eq!((post.title.as_str(), post.views.value()), ("one", 3), "{strategy}");
        assert_eq!(read::<Value>(&us, "post/2").await.get("mood"), Some(&"good".into()), "{strategy}");
        if matches!(strategy, Strategy::FieldMerge | Strategy::CrdtMerge) {
            let view = us.entity("post/2").await.unwrap().unwrap();
            let last = view.versions.last().expect("the update");
            let VersionContent::Fields(fields) = &last.content else { panic!("{last:?}") };
            assert_eq!(
                fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                ["views"],
                "{strategy}"
            );
        }
    }
}

#[tokio::test]
async fn a_field_under_its_old_name_does_not_stay_beside_its_new_one() {
    let broker = broker();
    let us = Island::start(&broker, "us", Strategy::FieldMerge).await.master;
    let mut stored = BTreeMap::from([("by".to_owned(), Value::from("Ann")), ("mood".into(), "good".into())]);
    stored.insert("title".into(), "one".into());
    us.write("post/1", &stored).await.unwrap();
    us.update("post/1", |post: &mut Post| {
        post.author = Some("Bob".into());
        Ok::<_, Infallible>(())
    })
    .await
    .expect_err("there are no views");
    us.patch("post/1", &BTreeMap::from([("views", PnCounter::<archipelago_clock::ReplicaId>::new())]))
        .await
        .unwrap();
    us.update("post/1", |post: &mut Post| {
        post.author = Some("Bob".into());
        Ok::<_, Infallible>(())
    })
    .await
    .unwrap();
    assert_eq!(read::<Post>(&us, "post/1").await.author.as_deref(), Some("Bob"));
    assert_eq!(
        fields_of(&read::<Value>(&us, "post/1").await).into_keys().collect::<Vec<_>>(),
        ["author", "mood", "title", "views"]
    );
}

/// All that a program of some version knows of a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    number: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    list: Vec<i64>,
    inner: Inner,
    #[serde(default)]
    entries: BTreeMap<String, Inner>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Inner {
    number: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn inners() -> impl Generate<Value = Inner> {
    (0..3i64, proptest::option::of("[a-c]")).prop_map(|(number, text)| Inner { number, text })
}

fn knowns() -> impl Generate<Value = Known> {
    let entries = proptest::collection::btree_map("[k-m]", inners(), 0..3);
    let list = proptest::collection::vec(0..3i64, 0..3);
    (0..3i64, proptest::option::of("[a-c]"), list, inners(), entries)
        .prop_map(|(number, text, list, inner, entries)| Known { number, text, list, inner, entries })
}

/// Fields of which `Known` knows nothing: under names that it does not use.
fn unknowns() -> impl Generate<Value = BTreeMap<String, Value>> {
    proptest::collection::btree_map("unknown [a-c]", generate::values(), 0..3)
}

fn fields_of(value: &Value) -> BTreeMap<String, Value> {
    value.as_map().cloned().unwrap_or_default()
}

fn unknown_in(value: &Value) -> BTreeMap<String, Value> {
    fields_of(value).into_iter().filter(|(name, _)| name.starts_with("unknown")).collect()
}

fn as_value(known: &impl Serialize) -> Value {
    let limits = archipelago_proto::Limits::default();
    let bytes = archipelago_proto::encode_value(known, &limits).expect("plain data");
    archipelago_proto::decode_value(&bytes, &limits).expect("plain data")
}

fn with(value: &Value, more: &BTreeMap<String, Value>) -> Value {
    Value::Map(fields_of(value).into_iter().chain(more.clone()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn unknown_fields_survive_every_update_and_known_ones_are_as_it_says(
        before in knowns(),
        after in knowns(),
        unknown in unknowns(),
        unknown_inside in unknowns(),
        unknown_deep in unknowns(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge, Strategy::Manual] {
                let us = options("us", strategy).store(MemoryStore::new()).start().await.expect("a sound store");
                let mut stored = fields_of(&with(&as_value(&before), &unknown));
                let inner = with(&stored["inner"], &unknown_inside);
                stored.insert("inner".into(), inner);
                let entries = fields_of(&stored["entries"]);
                let entries = entries.into_iter().map(|(key, entry)| (key, with(&entry, &unknown_deep)));
                let entries = Value::Map(entries.collect());
                stored.insert("entries".into(), entries);
                us.write("x", &Value::Map(stored)).await.expect("a write");

                let wanted = after.clone();
                let update = us.update("x", move |known: &mut Known| {
                    *known = wanted;
                    Ok::<_, Infallible>(())
                });
                update.await.expect("a write");
                prop_assert_eq!(&read::<Known>(&us, "x").await, &after);
                let value: Value = read(&us, "x").await;
                prop_assert_eq!(&unknown_in(&value), &unknown, "{}", strategy);
                prop_assert_eq!(&unknown_in(value.get("inner").expect("known")), &unknown_inside);
                for (key, entry) in fields_of(value.get("entries").expect("known")) {
                    let kept = if before.entries.contains_key(&key) { unknown_deep.clone() } else { BTreeMap::new() };
                    prop_assert_eq!(unknown_in(&entry), kept);
                }
                let known: Vec<String> = fields_of(&as_value(&after)).into_keys().collect();
                let there: Vec<String> =
                    fields_of(&value).into_keys().filter(|name| !name.starts_with("unknown")).collect();
                prop_assert_eq!(there, known, "nothing that was removed is left");
            }
            Ok(())
        })?;
    }
}
