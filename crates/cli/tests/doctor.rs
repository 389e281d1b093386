//! `archipelago doctor` finds what is wrong, on a real nats-server, and says what to change.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    time::Duration,
};

use archipelago_testkit::nats::NatsServer;
use async_nats::jetstream::{self, stream};
use serde_json::Value;

#[path = "support/node.rs"]
mod node;

use node::{Node, Ran, run};

/// What the doctor says of a node at these servers.
fn doctor(servers: &str, args: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let common = [
        "doctor",
        "--json",
        "--listen-ms",
        "1500",
        "--disk-free-min",
        "1",
        "--node-name",
        "us-east",
        "--nats-servers",
        servers,
        "--node-data",
        data.to_str().unwrap(),
    ];
    run(&[&common[..], args].concat())
}

/// What a check found, each time.
fn checks<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    report["checks"].as_array().unwrap().iter().filter(|found| found["check"] == check).collect()
}

/// The one finding of a check that is not as it should be.
#[track_caller]
fn wrong(ran: &Ran, check: &str, status: &str, found: &str, advice: &str) {
    let report = ran.json();
    let found_wrong: Vec<&Value> =
        checks(&report, check).into_iter().filter(|found| found["status"] == status).collect();
    let text = |finding: &Value, of: &str| finding[of].as_str().unwrap_or_default().to_owned();
    let is_told =
        |finding: &&Value| text(finding, "found").contains(found) && text(finding, "advice").contains(advice);
    assert!(found_wrong.iter().any(is_told), "{check} is not told: {report:#}");
    assert_eq!(ran.status, Some(i32::from(status == "fail")), "{report:#}");
    assert_eq!(report["is_ok"], status != "fail", "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_order_is_found_so() {
    let server = NatsServer::start().await.unwrap();
    let peer = Node::with(&["--node-name", "eu-west", "--nats-servers", &server.url()]);
    until_stream(&server).await;
    let ran = doctor(&server.url(), &[]);
    assert_eq!(ran.status, Some(0), "{:#}", ran.json());
    let report = ran.json();
    for check in [
        "configuration",
        "data-folder",
        "disk",
        "open-files",
        "broker",
        "broker-version",
        "permissions",
        "jetstream",
        "stream",
        "clock",
        "strategies",
    ] {
        let found = checks(&report, check);
        assert!(
            !found.is_empty() && found.iter().all(|found| found["status"] == "ok"),
            "{check}: {report:#}"
        );
    }
    let heard = checks(&report, "strategies")[0];
    assert_eq!(heard["found"], "the same as of 1 others", "{report:#}");
    let clocks = checks(&report, "clock")[0]["found"].as_str().unwrap();
    assert!(clocks.ends_with("of 2 others"), "{clocks}");
    drop(peer);
}

/// Waits until a node has made its log.
async fn until_stream(server: &NatsServer) {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let made = async {
        while context.get_stream("ARCHIPELAGO_default").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.unwrap();
}

#[test]
fn a_node_that_works_alone_needs_no_broker() {
    let folder = tempfile::tempdir().unwrap();
    let told = run(&[
        "doctor",
        "--node-name",
        "a",
        "--disk-free-min",
        "1",
        "--node-data",
        folder.path().to_str().unwrap(),
    ])
    .ok();
    assert!(told.stdout.contains("works for itself alone"), "{told:?}");
    let nameless = run(&["doctor"]);
    assert_eq!(nameless.status, Some(1));
    assert!(nameless.stdout.contains("node.name"), "{nameless:?}");
    assert_eq!(run(&["doctor", "--disk-free-min", "much"]).status, Some(2));
}

#[test]
fn a_broker_that_is_not_there_is_found() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", closed.local_addr().unwrap());
    drop(closed);
    wrong(&doctor(&url, &[]), "broker", "fail", "cannot be reached", "nats-server -js");
}

#[test]
fn an_old_broker_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let info = r#"INFO {"server_id":"a","server_name":"a","version":"2.9.25","go":"go1","host":"h","port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
            connection.write_all(format!("{info}\r\n").as_bytes()).unwrap();
            let reader = BufReader::new(connection.try_clone().unwrap());
            for line in reader.lines().map_while(Result::ok) {
                if line.starts_with("PING") {
                    let _ = connection.write_all(b"PONG\r\n");
                }
            }
        }
    });
    wrong(&doctor(&url, &[]), "broker-version", "fail", "nats-server 2.9.25 is too old", "2.10 or newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_wrong_settings_is_found() {
    let server = NatsServer::start().await.unwrap();
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let stream = stream::Config {
        name: "ARCHIPELAGO_default".into(),
        subjects: vec!["archipelago.default.events.*".into()],
        max_age: Duration::from_secs(3_600),
        max_messages: 1_000,
        duplicate_window: Duration::from_secs(1),
        discard: stream::DiscardPolicy::Old,
        ..Default::default()
    };
    context.create_stream(stream.clone()).await.unwrap();
    let ran = doctor(&server.url(), &["--nats-replicas", "3"]);
    wrong(
        &ran,
        "stream-discard",
        "fail",
        "forgets what is old",
        "nats stream edit ARCHIPELAGO_default --discard new",
    );
    let report = ran.json();
    for check in ["stream-retention", "stream-duplicates", "stream-replicas"] {
        assert!(checks(&report, check).iter().any(|found| found["status"] == "warn"), "{check}: {report:#}");
    }
    context.delete_stream("ARCHIPELAGO_default").await.unwrap();
    let unusable = stream::Config { retention: stream::RetentionPolicy::Interest, no_ack: true, ..stream };
    context.create_stream(unusable).await.unwrap();
    let ran = doctor(&server.url(), &[]);
    wrong(&ran, "stream", "fail", "retention must be limits, no_ack must be off", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_five_minutes_off_is_found_by_the_broker_and_by_the_peers() {
    let server = NatsServer::start().await.unwrap();
    let peer = Node::with(&["--node-name", "eu-west", "--nats-servers", &server.url()]);
    until_stream(&server).await;
    let ran = doctor(&server.url(), &["--clock-offset-ms", "300000"]);
    for other in ["ahead of that of the broker", "ahead of that of eu-west"] {
        wrong(&ran, "clock", "fail", other, "NTP");
    }
    let ran = doctor(&server.url(), &["--clock-offset-ms", "-5000"]);
    wrong(&ran, "clock", "warn", "s behind that of eu-west", "NTP");
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_found_and_nothing_is_published_meanwhile() {
    let server = NatsServer::builder()
        .settings(
            "authorization { users: [
                { user: all, password: p }
                { user: mute, password: p, permissions: { publish: { deny: [\"archipelago.default.events.us-east\"] } } }
                { user: deaf, password: p, permissions: { subscribe: { deny: [\"archipelago.*.said.*\"] } } }
                { user: stranger, password: p, permissions: { publish: [\"archipelago.default.>\"] } }
            ] }",
        )
        .start()
        .await
        .unwrap();
    let admin = async_nats::ConnectOptions::with_user_and_password("all".into(), "p".into());
    let admin = admin.connect(server.url()).await.unwrap();
    let mut all = admin.subscribe("archipelago.>").await.unwrap();
    admin.flush().await.unwrap();
    let as_user = |user: &str| doctor(&server.url(), &["--nats-user", user, "--nats-password", "p"]);
    assert_eq!(as_user("all").ok().json()["is_ok"], true);
    wrong(
        &as_user("mute"),
        "permissions",
        "fail",
        "publish on \"archipelago.default.events.us-east\"",
        "`publish`",
    );
    wrong(
        &as_user("deaf"),
        "permissions",
        "fail",
        "subscribe to \"archipelago.default.said.*\"",
        "`subscribe`",
    );
    wrong(&as_user("stranger"), "permissions", "fail", "publish on \"$JS.API.INFO\"", "\"$JS.API.INFO\"");
    wrong(&as_user("nobody"), "broker", "fail", "refused access", "nats.user");
    admin.publish("archipelago.end", "".into()).await.unwrap();
    let next = futures::StreamExt::next(&mut all).await.unwrap();
    assert_eq!(next.subject.as_str(), "archipelago.end");
}

#[test]
fn a_full_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let ran =
        run(&["doctor", "--json", "--node-name", "a", "--node-data", data, "--disk-free-min", "8000000T"]);
    wrong(&ran, "disk", "fail", "less than 8000000.0 TiB", "make room");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let blocked = format!("{}/data", file.display());
    let ran = run(&["doctor", "--json", "--node-name", "a", "--node-data", &blocked, "--disk-free-min", "1"]);
    wrong(&ran, "data-folder", "fail", "is no folder", "node.data");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_resolve_conflicts_differently_are_found() {
    let server = NatsServer::start().await.unwrap();
    let peer = Node::with(&["--node-name", "eu-west", "--nats-servers", &server.url()]);
    until_stream(&server).await;
    let ran = doctor(&server.url(), &["--namespaces", "{ default = { strategy = \"field-merge\" } }"]);
    wrong(&ran, "strategies", "fail", "eu-west resolves conflicts by other rules", "prefix_strategies");
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_often_the_broker_syncs_is_found() {
    for (setting, status, told) in [
        ("sync_interval: always", "ok", "before it acknowledges"),
        ("sync_interval: \"1m\"", "warn", "every 60s only"),
    ] {
        let server = NatsServer::builder()
            .jetstream(setting)
            .settings("http: \"127.0.0.1:-1\"")
            .start()
            .await
            .unwrap();
        let ran = doctor(&server.url(), &["--monitor", &server.monitor_url().unwrap()]);
        let report = ran.ok().json();
        let found = checks(&report, "sync")[0];
        assert_eq!(found["status"], status, "{report:#}");
        assert!(found["found"].as_str().unwrap().contains(told), "{report:#}");
    }
    let server = NatsServer::start().await.unwrap();
    let report = doctor(&server.url(), &[]).ok().json();
    assert_eq!(checks(&report, "sync")[0]["status"], "warn", "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_is_told_and_a_node_of_the_other_mode_is_found() {
    let server = NatsServer::start().await.unwrap();
    let led = "{ default = { mode = \"leader-follower\", heartbeat_interval_ms = 100 } }";
    let peer = Node::with(&["--node-name", "eu-west", "--nats-servers", &server.url(), "--namespaces", led]);
    until_stream(&server).await;
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while peer.json(&["status"])["namespaces"]["default"]["leadership"]["role"] != "leader" {
        assert!(std::time::Instant::now() < end, "it does not lead");
    }
    let report = doctor(&server.url(), &["--namespaces", led]).ok().json();
    let leader = checks(&report, "leader")[0];
    assert!(leader["found"].as_str().unwrap().starts_with("eu-west leads in term "), "{leader}");
    let ran = doctor(&server.url(), &[]);
    wrong(&ran, "mode", "fail", "the other one at eu-west", "`mode`");
    drop(peer);
    let report = doctor(&server.url(), &["--namespaces", led]).ok().json();
    assert_eq!(checks(&report, "leader")[0]["found"], "no other node was heard");
}
