//! What is measured is what `docs/METRICS.md` says, and all that builds on it asks for nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use archipelago::SigningKey;
use archipelago_server::config::{ConflictStrategyName, Mode};
use archipelago_testkit::nats::NatsServer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json as value};

use crate::{
    health::until_ready,
    support::{NAMESPACE, Served},
};

/// That of all nodes here: what is signed is none of these tests' business, only that it is measured.
static KEY: OnceLock<SigningKey> = OnceLock::new();

const PAGE: &str = include_str!("../../../../docs/METRICS.md");
const ALERTS: &str = include_str!("../../../../deploy/prometheus/alerts.yml");
const PANELS: &str = include_str!("../../../../deploy/grafana/archipelago.json");
const RUNBOOK: &str = include_str!("../../../../docs/RUNBOOK.md");

/// Each measure of the page, and its kind.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `archipelago_"));
    let mut kinds = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let (names, kind) = (cells[0].split("`, `"), cells[1]);
        for name in names {
            kinds.insert(name.trim_start_matches("archipelago_").trim_end_matches('`'), kind);
        }
    }
    kinds
}

/// The names of measures in a text, without what Prometheus adds to those of histograms.
fn named(text: &str) -> BTreeSet<&str> {
    let documented = documented();
    let names = text.split("archipelago_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        let whole = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        whole.filter(|whole| documented.get(whole) == Some(&"histogram")).unwrap_or(name)
    });
    names.collect()
}

/// What the panels ask for, wherever in the file it is.
fn expressions(json: &Value, found: &mut String) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (&**name, value) {
                    ("expr" | "query", Value::String(text)) => found.push_str(text),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

async fn node(nats: &NatsServer, name: &str, mode: Mode) -> Served {
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        config.node.name = Some(name.to_owned());
        config.nats.servers = vec![nats.url()];
        let key = KEY.get_or_init(SigningKey::generate);
        config.signatures.key = Some(serde_json::from_value(key.to_secret_text().into()).expect("a text"));
        let named = |name: &str| format!("{name}={}", key.public());
        config.signatures.trusted = vec![named("paris"), named("oslo")];
        config.namespaces.get_mut(NAMESPACE).expect("the namespace").mode = mode;
    });
    served.await
}

/// The measures of a node, once it has heard the other one.
async fn served(nats: &NatsServer, mode: Mode) -> String {
    let (here, there) = (node(nats, "paris", mode).await, node(nats, "oslo", mode).await);
    until_ready(&here).await;
    until_ready(&there).await;
    let heard = async {
        loop {
            let text = here.request(Method::GET, "/metrics").send().await.expect("an answer");
            let text = text.text().await.expect("text");
            if text.contains("peer=\"oslo\"") {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, heard).await.expect("the other one is heard in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_of_both_modes_serve_is_what_is_documented() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let master = served(&nats, Mode::MultiMaster).await;
    let nats = NatsServer::start().await.expect("another, as a namespace is of one mode for ever");
    let led = served(&nats, Mode::LeaderFollower).await;
    let mut kinds = BTreeMap::new();
    for line in master.lines().chain(led.lines()) {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE archipelago_").and_then(|rest| rest.split_once(' '))
        {
            kinds.insert(name, kind);
        }
    }
    let mut documented = documented();
    // A node has no subscribers.
    documented.retain(|name, _| !name.starts_with("subscriber_"));
    assert_eq!(kinds, documented);
    // A measure that is only described is not served.
    for name in kinds.keys() {
        let is_served =
            |line: &str| line.strip_prefix("archipelago_").is_some_and(|rest| rest.starts_with(name));
        assert!(master.lines().chain(led.lines()).any(is_served), "no series of {name}");
    }
}

#[tokio::test]
async fn what_the_libraries_measure_is_served_by_the_node_they_run_on() {
    let (one, other) = (Served::alone().await, Served::alone().await);
    for number in 0..3 {
        assert_eq!(one.put(&format!("k{number}"), &value!(number)).await.status(), StatusCode::OK);
    }
    let commits = async |served: &Served| {
        let text = served.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let series = format!("archipelago_store_commit_duration_seconds_count{{namespace=\"{NAMESPACE}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned);
        count.unwrap_or_else(|| panic!("no commits in {text}")).parse::<u64>().unwrap()
    };
    // Each write was waited for, so none shares a commit with another.
    assert!(commits(&one).await >= commits(&other).await + 3);
}

#[test]
fn alerts_and_panels_ask_for_what_is_measured_only() {
    let documented = documented();
    let alerts: String = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    let mut panels = String::new();
    expressions(&serde_json::from_str(PANELS).expect("JSON"), &mut panels);
    for (file, text) in [("alerts.yml", alerts), ("archipelago.json", panels)] {
        let names = named(&text);
        assert!(names.len() > 10, "{file}: {names:?}");
        let unknown: Vec<_> = names.iter().filter(|name| !documented.contains_key(**name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn each_alert_leads_to_its_part_of_the_runbook() {
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let anchors: BTreeSet<_> =
        RUNBOOK.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let alerts = ALERTS.lines().filter(|line| line.trim().starts_with("- alert: ")).count();
    let links: Vec<_> =
        ALERTS.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: docs/RUNBOOK.md#")).collect();
    assert_eq!(links.len(), alerts);
    for link in links {
        assert!(anchors.contains(link), "docs/RUNBOOK.md has no part {link:?}");
    }
}
