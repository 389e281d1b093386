//! What is measured through the facade `metrics`, as Prometheus reads it.

mod support;

use std::{sync::Arc, time::Duration};

use archipelago_conflict::Strategy;
use archipelago_manager::{
    EventSubscriber, LeaderFollowerManager, LinkState, Notification, PEERS_MEASURED_MAX,
    leader_follower::Write,
};
use archipelago_store::MemoryStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use support::{DEADLINE, Island, TestClock, broker, converge, notified, options};

const NOW_UNIX_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const BEAT: Duration = Duration::from_millis(20);

fn recorder() -> (Arc<PrometheusRecorder>, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (Arc::new(recorder), handle)
}

/// The value of a series, which is named as Prometheus writes it.
fn value(measures: &PrometheusHandle, series: &str) -> f64 {
    let text = measures.render();
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().expect("a number")
}

async fn until(holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.expect("it comes to that");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_events_conflicts_and_delays_are_measured() {
    let (broker, there, here) = (broker(), TestClock::at(NOW_UNIX_MS), TestClock::at(NOW_UNIX_MS));
    let us = options("us-east", Strategy::FieldMerge).clock(there.clone());
    let us = Island::on(&broker, us, MemoryStore::new()).await;
    let (recorder, measures) = recorder();
    let eu = options("eu-west", Strategy::FieldMerge)
        .clock(here.clone())
        .heartbeat_interval(BEAT)
        .recorder(recorder);
    let eu = Island::on(&broker, eu, MemoryStore::new()).await;
    converge(&[&us.master, &eu.master]).await;

    // Two that do not know of each other, and one that comes a day late.
    eu.link.cut();
    us.master.write("user/7", &("name", "Alice")).await.unwrap();
    eu.master.write("user/7", &("name", "Bob")).await.unwrap();
    until(|| matches!(eu.master.link_state(), LinkState::Down { .. })).await;
    here.set(NOW_UNIX_MS + 25 * HOUR_MS);
    there.set(NOW_UNIX_MS + 25 * HOUR_MS);
    eu.link.heal();
    converge(&[&us.master, &eu.master]).await;
    // The other one may have applied an event before this one hears that the broker has it.
    until(|| eu.master.metrics().outbox_len == 0).await;
    eu.master.measure().await.unwrap();

    let of = |name: &str| value(&measures, &format!("{name}{{namespace=\"people\"}}"));
    assert_eq!(of("archipelago_writes_local_total"), 3.0, "one, and two of the fences");
    assert_eq!(of("archipelago_events_applied_total"), 3.0);
    assert_eq!(of("archipelago_events_emitted_total"), 3.0);
    assert_eq!(of("archipelago_events_old_total"), 1.0, "what was written before the clocks went on");
    assert!(of("archipelago_last_sync_timestamp_seconds") >= (NOW_UNIX_MS / 1_000) as f64);
    assert!(of("archipelago_replication_delay_seconds_sum") >= 25.0 * 3_600.0);
    assert_eq!(of("archipelago_replication_delay_seconds_count"), 3.0);
    assert_eq!(of("archipelago_reclaimable_bytes"), 0.0);
    let hottest = eu.master.hottest_entities(10);
    assert_eq!(hottest.iter().map(|hot| &*hot.entity_id).collect::<Vec<_>>(), ["user/7"]);
    let measured = value(&measures, "archipelago_hottest_entity_conflicts{namespace=\"people\",rank=\"1\"}");
    assert_eq!((hottest[0].conflicts, measured), (1, 1.0));
    assert!(of("archipelago_store_commit_duration_seconds_count") > 0.0);
    assert!(of("archipelago_publish_duration_seconds_count") > 0.0);
    assert!(of("archipelago_publish_batch_events_sum") >= 3.0);
    let conflicts = of("archipelago_conflicts_detected_total");
    let by_strategy =
        value(&measures, "archipelago_conflicts_total{namespace=\"people\",strategy=\"field-merge\"}");
    assert!(conflicts > 0.0 && by_strategy == conflicts, "{conflicts} {by_strategy}");
    let of_lww = value(&measures, "archipelago_conflicts_total{namespace=\"people\",strategy=\"lww\"}");
    assert_eq!(of_lww, 0.0);
    let down = value(&measures, "archipelago_sync_errors_total{namespace=\"people\",kind=\"link\"}");
    assert_eq!(down, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_peer_is_measured_and_told_up_to_now() {
    let broker = broker();
    let (recorder, measures) = recorder();
    let eu = options("eu-west", Strategy::FieldMerge).clock(TestClock::at(NOW_UNIX_MS)).recorder(recorder);
    let eu = Island::on(&broker, eu.heartbeat_interval(BEAT), MemoryStore::new()).await;
    // Before there is anybody to hear: it is told once.
    let mut notifications = eu.master.subscribe();
    let us = options("us-east", Strategy::Lww).clock(TestClock::at(NOW_UNIX_MS + 2_000));
    let us = Island::on(&broker, us.heartbeat_interval(BEAT), MemoryStore::new()).await;
    notified(&mut notifications, |what| matches!(what, Notification::StrategyMismatch { .. }).then_some(()))
        .await;
    let token = us.master.write("user/7", "Alice").await.unwrap().token;
    assert!(eu.master.wait_for(&token, DEADLINE).await);
    eu.master.measure().await.unwrap();

    let of = |name: &str| value(&measures, &format!("{name}{{namespace=\"people\",peer=\"us-east\"}}"));
    assert_eq!(of("archipelago_peer_strategy_mismatch"), 1.0);
    assert_eq!(of("archipelago_peer_diverged"), 0.0);
    assert_eq!(of("archipelago_replication_lag_events"), 0.0);
    assert!(of("archipelago_peer_clock_offset_seconds") >= 1.9, "what us-east says of its clock");
    let until_it_has_all = async {
        while of("archipelago_peer_lag_events") > 0.0 {
            // Without asking: every heartbeat tells.
            tokio::time::sleep(BEAT).await;
        }
    };
    tokio::time::timeout(DEADLINE, until_it_has_all).await.expect("the peer has all");
    const { assert!(PEERS_MEASURED_MAX >= 16) };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_namespace_with_a_leader_measures_whether_it_leads() {
    let (recorder, measures) = recorder();
    let node = LeaderFollowerManager::builder()
        .node_id("a")
        .namespace("orders")
        .store(MemoryStore::new())
        .pipeline(broker().pipeline("orders"))
        .recorder(recorder)
        .start()
        .await
        .unwrap();
    let (mut leads, name) = (node.subscribe(), "archipelago_leader{namespace=\"orders\"}");
    let until_it_leads = async {
        while !node.is_leader() {
            leads.next().await.expect("it is open");
        }
    };
    tokio::time::timeout(DEADLINE, until_it_leads).await.expect("it leads");
    node.write(Write::upsert("user/7", &"Alice")).await.unwrap();
    node.measure();
    assert_eq!(value(&measures, name), 1.0);
    assert_eq!(value(&measures, "archipelago_log_writes_total{namespace=\"orders\"}"), 1.0);
    assert_eq!(value(&measures, "archipelago_keys{namespace=\"orders\"}"), 1.0);
    assert!(value(&measures, "archipelago_append_duration_seconds_count{namespace=\"orders\"}") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_measures_what_is_documented_and_dead_letters_are_seen() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    us.master.write("good", &1).await.unwrap();
    us.master.write("bad", &2).await.unwrap();
    let (recorder, measures) = recorder();
    let subscriber = EventSubscriber::builder()
        .name("billing")
        .namespace("people")
        .pipeline(broker.pipeline("people"))
        .checkpoint_store(MemoryStore::new())
        .dead_letter_store(MemoryStore::new())
        .max_retries(0)
        .recorder(recorder)
        .on_event(|delivery| {
            let is_bad = &*delivery.event.event.entity == "bad";
            async move { if is_bad { Err("no".into()) } else { Ok(()) } }
        });
    let subscriber = subscriber.start().await.unwrap();
    let handled = async {
        while subscriber.metrics().dead_letters == 0 || subscriber.metrics().events_handled == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, handled).await.expect("one is handled, and one is put aside");
    let of = |name: &str| {
        value(
            &measures,
            &format!("archipelago_subscriber_{name}{{namespace=\"people\",subscriber=\"billing\"}}"),
        )
    };
    assert_eq!((of("events_handled_total"), of("dead_letters"), of("failures_total")), (1.0, 1.0, 1.0));
    let text = measures.render();
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let page = include_str!("../../../docs/METRICS.md");
    let documented = page.lines().filter_map(|line| line.strip_prefix("| `archipelago_subscriber_"));
    let documented: std::collections::BTreeSet<String> = documented
        .map(|row| format!("archipelago_subscriber_{}", row.split('`').next().expect("a name")))
        .collect();
    assert_eq!(served.map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), documented);
    subscriber.close().await.unwrap();
}
