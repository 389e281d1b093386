//! A write happens only if the entity is what its author expects.

mod support;

use archipelago_conflict::Strategy;
use archipelago_manager::{Expected, MultiMasterManager, UpdateError, WriteError, WriteOptions};
use support::{DEADLINE, Island, archipelago, broker, converge};

async fn write(master: &MultiMasterManager, value: u32, expected: Expected) -> Result<(), WriteError> {
    master.write_with("a", &value, WriteOptions::default().expecting(expected)).await.map(drop)
}

fn is_unexpected(outcome: &Result<(), WriteError>) -> bool {
    matches!(outcome, Err(WriteError::Unexpected { entity }) if entity == "a")
}

#[tokio::test]
async fn each_expectation_holds_where_it_should_and_nowhere_else() {
    let us = Island::start(&broker(), "us", Strategy::Lww).await.master;
    assert!(is_unexpected(&write(&us, 1, Expected::Present).await));
    write(&us, 1, Expected::Absent).await.unwrap();
    assert!(is_unexpected(&write(&us, 2, Expected::Absent).await));
    write(&us, 2, Expected::Present).await.unwrap();
    let tag = us.entity("a").await.unwrap().unwrap().tag();
    assert_eq!(tag.to_string().parse(), Ok(tag));
    write(&us, 3, Expected::OneOf(vec![tag])).await.unwrap();
    assert!(is_unexpected(&write(&us, 4, Expected::OneOf(vec![tag])).await));
    assert!(is_unexpected(&write(&us, 4, Expected::OneOf(Vec::new())).await));
    us.delete("a").await.unwrap();
    assert!(is_unexpected(&write(&us, 4, Expected::Present).await));
    write(&us, 5, Expected::Absent).await.unwrap();
    assert_eq!(us.read::<u32>("a").await.unwrap(), Some(5));
    assert_eq!(us.metrics().writes_local, 5);
}

#[tokio::test]
async fn of_many_writers_that_saw_the_same_one_writes() {
    let us = Island::start(&broker(), "us", Strategy::Lww).await.master;
    for round in 0..50 {
        us.write("a", &round).await.unwrap();
        let tag = us.entity("a").await.unwrap().unwrap().tag();
        let writers = (0..8).map(|writer| write(&us, writer, Expected::OneOf(vec![tag])));
        let outcomes = futures::future::join_all(writers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| is_unexpected(outcome)).count(), 7);
    }
}

#[tokio::test]
async fn an_update_expects_as_a_write_does() {
    let us = Island::start(&broker(), "us", Strategy::CrdtMerge).await.master;
    let update = |expected| {
        let options = WriteOptions::default().expecting(expected);
        let change = |value: &mut std::collections::BTreeMap<String, u32>| {
            *value.entry("n".to_owned()).or_default() += 1;
            Ok::<_, std::convert::Infallible>(())
        };
        us.update_with("a", options, change)
    };
    update(Expected::Absent).await.unwrap();
    let refused = update(Expected::Absent).await;
    assert!(matches!(refused, Err(UpdateError::Write(WriteError::Unexpected { .. }))), "{refused:?}");
    update(Expected::Present).await.unwrap();
}

#[tokio::test]
async fn masters_that_have_the_same_give_it_the_same_tag() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::FieldMerge).await;
    let masters = islands.each_ref().map(|island| &island.master);
    for (number, master) in masters.iter().enumerate() {
        master.patch("a", &std::collections::BTreeMap::from([(number.to_string(), number)])).await.unwrap();
    }
    converge(&masters).await;
    let mut tags = Vec::new();
    for master in masters {
        assert!(master.wait_for(&masters[0].session_token(), DEADLINE).await);
        tags.push(master.entity("a").await.unwrap().unwrap().tag());
    }
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
}
