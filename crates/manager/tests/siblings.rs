//! Strategies that keep siblings: what readers see, what waits for people, and what is remembered.

mod support;

use archipelago_conflict::{Custom, Strategy};
use archipelago_crdt::{Value, value};
use archipelago_manager::{MultiMasterManager, Notification};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::MemoryStore;
use support::{DEADLINE, Island, broker, converge, notified, options};

/// Two masters that wrote `deal/1` without knowing of each other.
async fn torn(broker: &MemoryBroker, prefix: &str, strategy: Strategy) -> (Island, Island) {
    let options = |name| options(name, Strategy::Lww).prefix_strategy(prefix, strategy);
    let us = Island::on(broker, options("us-east"), MemoryStore::new()).await;
    let eu = Island::on(broker, options("eu-west"), MemoryStore::new()).await;
    let base = us.master.write("deal/1", "open").await.expect("a write");
    assert!(eu.master.wait_for(&base.token, DEADLINE).await);
    eu.link.cut();
    us.master.write("deal/1", "sold to Ann").await.expect("a write");
    eu.master.write("deal/1", "sold to Bob").await.expect("a write");
    eu.link.heal();
    converge(&[&us.master, &eu.master]).await;
    (us, eu)
}

async fn pending(master: &MultiMasterManager) -> Vec<String> {
    let pending = master.pending_conflicts(None, 10).await.expect("open");
    pending.into_iter().map(|entity| entity.id.to_string()).collect()
}

#[tokio::test]
async fn a_manual_conflict_waits_everywhere_until_someone_resolves_it() {
    let broker = broker();
    let (us, eu) = torn(&broker, "deal/", Strategy::Manual).await;
    for master in [&us.master, &eu.master] {
        assert_eq!(pending(master).await, ["deal/1"]);
        let seen = master.entity("deal/1").await.unwrap().unwrap();
        assert!(seen.conflicted, "reads are marked");
        assert_eq!(seen.versions.len(), 2);
    }
    let seen = us.master.entity("deal/1").await.unwrap().unwrap();
    us.master.resolve_conflict(&seen, Some("sold to both")).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    for master in [&us.master, &eu.master] {
        assert!(pending(master).await.is_empty());
        let entity = master.entity("deal/1").await.unwrap().unwrap();
        assert_eq!((entity.value, entity.conflicted), (Some(Value::from("sold to both")), false));
    }
}

#[tokio::test]
async fn resolving_supersedes_exactly_what_the_resolver_saw() {
    let broker = broker();
    let (us, eu) = torn(&broker, "deal/", Strategy::Manual).await;
    let seen = us.master.entity("deal/1").await.unwrap().unwrap();
    let late = eu.master.write("deal/1", "withdrawn").await.unwrap();
    assert!(us.master.wait_for(&late.token, DEADLINE).await);
    us.master.resolve_conflict(&seen, Some("sold to both")).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    for master in [&us.master, &eu.master] {
        let entity = master.entity("deal/1").await.unwrap().unwrap();
        assert!(entity.conflicted, "the resolver had not seen the withdrawal");
        assert_eq!(entity.versions.len(), 2);
    }
    let seen = eu.master.entity("deal/1").await.unwrap().unwrap();
    eu.master.resolve_conflict::<str>(&seen, None).await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(us.master.read::<String>("deal/1").await.unwrap(), None);
    assert!(pending(&us.master).await.is_empty());
}

#[tokio::test]
async fn detect_reports_and_does_not_wait() {
    let broker = broker();
    let (us, eu) = torn(&broker, "deal/", Strategy::Detect).await;
    assert!(pending(&us.master).await.is_empty());
    assert!(us.master.entity("deal/1").await.unwrap().unwrap().conflicted);
    let explained = eu.master.explain("deal/1").await.unwrap().unwrap();
    assert_eq!(explained.strategy, "detect");
    assert_eq!(explained.conflicts.len(), 1);
    let clash = &explained.conflicts[0].clashes[0];
    let both = [&clash.winner, &clash.loser].map(|side| side.value.clone().unwrap());
    assert!(both.contains(&Value::from("sold to Ann")) && both.contains(&Value::from("sold to Bob")));
    assert_eq!(explained.entity.value, clash.winner.value);
    assert!(eu.master.explain("nothing").await.unwrap().is_none());
}

#[tokio::test]
async fn conflicts_and_what_waits_survive_a_restart() {
    let broker = broker();
    let (us, _eu) = torn(&broker, "deal/", Strategy::Manual).await;
    let before = us.master.conflicts();
    assert!(!before.is_empty());
    us.master.close().await.unwrap();
    let options = options("us-east", Strategy::Lww).prefix_strategy("deal/", Strategy::Manual);
    let us = Island::on(&broker, options, us.store.reopen()).await;
    assert_eq!(us.master.conflicts(), before);
    assert_eq!(pending(&us.master).await, ["deal/1"]);
}

#[tokio::test]
async fn the_conflict_journal_is_bounded() {
    let broker = broker();
    let options = |name| options(name, Strategy::Lww).conflict_journal_max(3);
    let us = Island::on(&broker, options("us-east"), MemoryStore::new()).await;
    let eu = Island::on(&broker, options("eu-west"), MemoryStore::new()).await;
    converge(&[&us.master, &eu.master]).await;
    eu.link.cut();
    for n in 0..5 {
        us.master.write(format!("n/{n}"), "us").await.unwrap();
        eu.master.write(format!("n/{n}"), "eu").await.unwrap();
    }
    eu.link.heal();
    converge(&[&us.master, &eu.master]).await;
    us.master.close().await.unwrap();
    let us = Island::on(&broker, options("us-east"), us.store.reopen()).await;
    let remembered: Vec<String> = us.master.conflicts().iter().map(|c| c.entity_id.to_string()).collect();
    assert_eq!(remembered.len(), 3);
    assert!(!remembered.contains(&"n/0".to_owned()), "the oldest go first: {remembered:?}");
}

#[tokio::test]
async fn a_function_of_the_application_merges_the_same_everywhere() {
    let cart = || {
        Custom::new("sum-cart", 1, |siblings| {
            let mut sums = std::collections::BTreeMap::<String, i64>::new();
            for cart in siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.as_map()) {
                for (item, quantity) in cart {
                    *sums.entry(item.clone()).or_default() += quantity.as_int().unwrap_or(0);
                }
            }
            Some(sums.into_iter().map(|(item, quantity)| (item, Value::Int(quantity))).collect())
        })
    };
    let broker = broker();
    let options = |name| options(name, Strategy::Lww).prefix_strategy("cart/", cart());
    let us = Island::on(&broker, options("us-east"), MemoryStore::new()).await;
    let eu = Island::on(&broker, options("eu-west"), MemoryStore::new()).await;
    converge(&[&us.master, &eu.master]).await;
    eu.link.cut();
    let mut events = us.master.subscribe();
    us.master.write("cart/1", &value!({ "apple": 2, "pear": 1 })).await.unwrap();
    eu.master.write("cart/1", &value!({ "apple": 3, "plum": 4 })).await.unwrap();
    eu.link.heal();
    let report = notified(&mut events, |notification| match notification {
        Notification::ConflictDetected(report) => Some(report),
        _ => None,
    });
    assert_eq!(report.await.strategy, "sum-cart");
    converge(&[&us.master, &eu.master]).await;
    for master in [&us.master, &eu.master] {
        let merged: Option<Value> = master.read("cart/1").await.unwrap();
        assert_eq!(merged, Some(value!({ "apple": 5, "pear": 1, "plum": 4 })));
    }
}
