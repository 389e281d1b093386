//! `archipelago bench` of masters: each scenario measures what it says, with its baseline, and leaves nothing on the server.

mod support;

use archipelago_testkit::nats::NatsServer;
use serde_json::Value;
use support::bench;

async fn measured(server: Option<&NatsServer>, args: &[&str]) -> Value {
    let url = server.map(NatsServer::url);
    let mut all: Vec<&str> = args.to_vec();
    if let Some(url) = &url {
        all.extend(["--nats", url]);
    }
    all.push("--json");
    let ended = bench(&all).await;
    assert_eq!(ended.status, Some(0), "{args:?}: {ended:?}");
    ended.json()
}

fn above_zero(report: &Value, names: &[&str]) {
    for name in names {
        assert!(report[name].as_f64().is_some_and(|value| value > 0.0), "{name} of {report:#}");
    }
}

/// How many streams the server has.
async fn streams(server: &NatsServer) -> usize {
    let client = async_nats::connect(server.url()).await.expect("a server");
    let context = async_nats::jetstream::new(client);
    futures::StreamExt::count(context.stream_names()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicate_is_measured_against_plain_jetstream() {
    let server = NatsServer::start().await.expect("a server");
    let small = ["--writes", "2000", "--tasks", "32", "--keys", "100"];
    let report = measured(Some(&server), &[&["replicate"][..], &small].concat()).await;
    above_zero(
        &report,
        &["ratio", "events_per_s", "baseline_jetstream_msgs_per_s", "bytes_per_event_on_wire"],
    );
    assert!(report["bytes_per_event_beyond"].as_f64().is_some_and(|bytes| (1.0..100.0).contains(&bytes)));
    let report =
        measured(None, &[&["replicate", "--store", "fjall", "--masters", "3"][..], &small].concat()).await;
    above_zero(&report, &["events_per_s"]);
    assert!(report["ratio"].is_null() && report["baseline_jetstream_msgs_per_s"].is_null(), "{report:#}");
    assert_eq!(streams(&server).await, 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_measured_against_round_trips() {
    let server = NatsServer::start().await.expect("a server");
    let load = ["lag", "--seconds", "1", "--rate", "500", "--masters", "3", "--tasks", "16"];
    let report = measured(Some(&server), &load).await;
    above_zero(
        &report,
        &["idle_ratio", "idle_visible_p50_ms", "round_trip_p50_ms", "p50_ms", "p99_ms", "writes_per_s"],
    );
    assert!(report["samples"].as_u64().is_some_and(|samples| samples >= 100), "{report:#}");
    assert_eq!(streams(&server).await, 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_writes_are_measured_against_the_database() {
    let report = measured(None, &["local", "--seconds", "1", "--durability", "os"]).await;
    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.iter().map(|run| run["tasks"].as_u64()).collect::<Vec<_>>(), [1, 16, 256].map(Some));
    for run in runs {
        above_zero(run, &["ratio", "writes_per_s", "baseline_fjall_writes_per_s"]);
    }
    let report = measured(None, &["local", "--seconds", "1", "--store", "memory"]).await;
    assert!(report["ratio"].is_null(), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_is_measured_by_replay_and_by_snapshot() {
    let server = NatsServer::start().await.expect("a server");
    let report = measured(Some(&server), &["catch-up", "--events", "3000", "--keys", "500"]).await;
    above_zero(&report, &["ratio", "snapshot_ratio", "replay_events_per_s", "snapshot_entities_per_s"]);
    assert!(report["entities"].as_u64().is_some_and(|entities| entities <= 500), "{report:#}");
    assert_eq!(streams(&server).await, 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_is_said_what_is_missing_and_with_it_it_is_measured() {
    let ended = bench(&["redis", "--writes", "500", "--tasks", "16", "--json"]).await;
    let report = ended.json();
    match ended.status {
        Some(0) => above_zero(&report, &["ratio", "ratio_durable"]),
        _ => assert!(report["error"].to_string().contains("redis-server"), "{report:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_is_measured_in_every_series_and_drawn() {
    let home = tempfile::tempdir().expect("a folder");
    let (svg, table) = (home.path().join("scale.svg"), home.path().join("scale.md"));
    let small = ["scale", "--writes", "300", "--max-masters", "10", "--max-entities", "1000"];
    let files = ["--svg", svg.to_str().expect("text"), "--table", table.to_str().expect("text")];
    let report = measured(None, &[&small[..], &files].concat()).await;
    above_zero(&report, &["ratio_masters", "ratio_entities", "baseline_ratio_entities"]);
    let points = |series: &str| report["series"][series].as_array().expect("a list").clone();
    let mut lines = 0;
    for (series, wanted) in [
        ("masters", &[3, 10][..]),
        ("entities", &[1_000]),
        ("size", &[16, 256, 4_096, 65_536]),
        ("conflicts", &[0, 25, 50, 100]),
        ("siblings", &[1, 2, 4, 8, 16]),
    ] {
        let points = points(series);
        let at: Vec<u64> = points.iter().filter_map(|point| point["at"].as_u64()).collect();
        assert_eq!(at, wanted, "{series} of {report:#}");
        points
            .iter()
            .for_each(|point| above_zero(point, &["ratio", "cost_us", "process_cost_us", "events_per_s"]));
        assert_eq!(points[0]["ratio"], 1.0, "{series} of {report:#}");
        lines += points.len();
    }
    // The master that is measured sees those of the two others that come on top of its own, or of each other.
    let conflicts: Vec<f64> =
        points("conflicts").iter().filter_map(|point| point["conflicts_percent"].as_f64()).collect();
    assert!(conflicts[0] == 0.0 && conflicts[3] >= 60.0 && conflicts.is_sorted(), "{conflicts:?}");
    let svg = std::fs::read_to_string(svg).expect("a plot");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<g ").count(), 5, "a panel for each series:\n{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let table = std::fs::read_to_string(table).expect("a table");
    assert_eq!(table.lines().count(), 2 + lines, "{table}");
    assert!(table.lines().all(|line| line.matches('|').count() == 7), "{table}");
}
