//! Replicas that read from a mirror of the log, beside it and in another JetStream domain.

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use archipelago_pipeline::{ExpectedEnd, LogState, Outgoing, Pipeline, PipelineError};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline, ReadFrom};
use support::*;

fn mirror(domain: Option<&str>) -> ReadFrom {
    ReadFrom::Mirror { name: "near".to_owned(), origin_domain: domain.map(str::to_owned) }
}

async fn connect(config: NatsConfig) -> Arc<NatsPipeline> {
    Arc::new(NatsPipeline::connect(config).await.expect("connecting"))
}

/// Waits until the mirror has got to `last`.
async fn caught_up(mirror: &dyn Pipeline, last: u64) -> LogState {
    within("the mirror catches up", async {
        loop {
            let state = mirror.state().await.expect("the state");
            if state.last_sequence >= last {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Both halves of a replica that reads from a mirror: what it reads is what was published, and what it publishes,
/// appends and leads with is what the others see.
async fn a_mirror_is_read_and_the_origin_written(origin: &NatsPipeline, relayed: &NatsPipeline) {
    let id = origin.open().await.expect("opening").id;
    publish_all(origin, 0..50).await;
    let opened = relayed.open().await.expect("opening the mirror");
    assert_eq!(opened.id.name, format!("{STREAM}_mirror_near"));
    assert_eq!(relayed.open().await.expect("opening it again").id, opened.id);
    let mut subscription = within("a subscription", async {
        loop {
            match relayed.subscribe(20).await {
                Ok(subscription) => return subscription,
                // It may not have got there yet.
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    expect_numbers(&mut *subscription, 20..21).await;
    let incoming = within("the next message", subscription.next()).await.expect("a message");
    assert_eq!((incoming.sequence, number(&incoming), &*incoming.origin), (22, 21, "paris"));
    expect_numbers(&mut *subscription, 22..50).await;
    // Through the mirror's handle, into the log.
    publish_all(relayed, 50..60).await;
    let payload = relayed.payload_bytes_good().expect("known once connected") * 5;
    let large = Outgoing { payload: vec![7; payload].into(), ..message(60) };
    let ack = relayed.publish(large).await.expect("publishing").await.expect("an acknowledgement");
    let appending =
        relayed.append("tokyo", "61".into(), ExpectedEnd::At(ack.sequence)).await.expect("handed over");
    let last = appending.ack.await.expect("the log ends there").sequence;
    let refused =
        relayed.append("tokyo", "x".into(), ExpectedEnd::At(3)).await.expect("handed over").ack.await;
    assert!(matches!(refused, Err(PipelineError::WrongLastSequence { .. })), "{refused:?}");
    let state = origin.state().await.expect("the state");
    assert_eq!((&state.id, state.last_sequence, state.mirror_lag), (&id, last, None));
    expect_numbers(&mut *subscription, 50..60).await;
    loop {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        match incoming.payload {
            None => {}
            Some(whole) if whole.len() == payload => assert_eq!(incoming.sequence, ack.sequence),
            Some(next) => {
                assert_eq!((&*next, incoming.sequence, &*incoming.origin), (&b"61"[..], last, "tokyo"));
                break;
            }
        }
    }
    assert_eq!(caught_up(relayed, last).await.mirror_lag, Some(0));
    // One lease for all.
    let ttl = Duration::from_secs(60);
    let (here, there) =
        (origin.lease(ttl).await.expect("a lease"), relayed.lease(ttl).await.expect("a lease"));
    let mut watch = there.watch().await.expect("a watch");
    assert_eq!(within("a state", watch.next()).await.expect("a watch"), None);
    let first = here.acquire("here".into(), None).await.expect("an answer").expect("it is free");
    let entry = within("a change", watch.next()).await.expect("a watch").expect("it is held");
    assert_eq!((entry.revision, &*entry.value), (first, &b"here"[..]));
    assert_eq!(there.acquire("there".into(), None).await.expect("an answer"), None);
    here.release(first).await.expect("an answer");
    assert_eq!(within("a change", watch.next()).await.expect("a watch"), None);
    let second = there.acquire("there".into(), None).await.expect("an answer").expect("it is free");
    let third = there.renew(second, "there".into()).await.expect("an answer").expect("it is his");
    assert_eq!(here.look().await.expect("an answer").map(|entry| entry.revision), Some(third));
    // Trimming is the log's affair.
    relayed.trim(10).await.expect("trimming");
    assert_eq!(origin.state().await.expect("the state").first_sequence, 11);
    assert_eq!(relayed.state().await.expect("the state").first_sequence, 1);
}

#[tokio::test]
async fn a_mirror_beside_its_log_is_read() {
    let server = server().await;
    let relayed = connect(config(&server).read_from(mirror(None))).await;
    a_mirror_is_read_and_the_origin_written(&*pipeline(&server).await, &relayed).await;
}

/// A server with JetStream in a domain of its own.
async fn member(home: &Path, domain: &str, port: u16, leaf: &str) -> BareServer {
    let path = home.join(format!("{domain}.conf"));
    let store = home.join(domain);
    let config = format!(
        "server_name: {domain}\njetstream {{ store_dir: {store:?}, domain: {domain} }}\nleafnodes {{ {leaf} }}\n"
    );
    std::fs::write(&path, config).expect("writing the configuration");
    BareServer::start(port, &["-c", path.to_str().expect("a path of text")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_in_another_domain_is_read_and_survives_a_cut() {
    let home = tempfile::tempdir().expect("a folder");
    let (hub_port, leaf_port, join_port) = (free_port(), free_port(), free_port());
    let listen = format!("host: \"127.0.0.1\", port: {join_port}");
    let hub = member(home.path(), "hub", hub_port, &listen).await;
    let remote = format!("remotes: [{{ url: \"nats://127.0.0.1:{join_port}\" }}], reconnect: \"100ms\"");
    let leaf = member(home.path(), "leaf", leaf_port, &remote).await;
    let url = |port: u16| format!("nats://127.0.0.1:{port}");
    let origin = connect(NatsConfig::new(url(hub_port), NAMESPACE)).await;
    let near = NatsConfig::new(url(leaf_port), NAMESPACE).read_from(mirror(Some("hub")));
    let relayed = connect(near.clone()).await;
    origin.open().await.expect("opening");
    within("the leaf node has joined", async {
        while let Err(error) = relayed.open().await {
            assert!(error.is_retryable(), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    a_mirror_is_read_and_the_origin_written(&origin, &relayed).await;

    // The hub is lost: what the mirror has can be read on.
    let last = origin.state().await.expect("the state").last_sequence;
    drop(hub);
    let mut subscription = relayed.subscribe(0).await.expect("subscribing");
    for expected in 1..=last {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        assert_eq!(incoming.sequence, expected);
    }
    let lost = within("an answer", async { relayed.publish(message(100)).await?.await }).await;
    assert!(lost.as_ref().is_err_and(PipelineError::is_retryable), "{lost:?}");
    let ahead = within("an answer", relayed.subscribe(last + 1)).await.err();
    assert!(ahead.as_ref().is_some_and(PipelineError::is_retryable), "nobody knows: {ahead:?}");
    let _hub = member(home.path(), "hub", hub_port, &listen).await;
    until_up(&*origin).await;
    publish_all(&*origin, 101..110).await;
    expect_numbers(&mut *subscription, 101..110).await;
    drop(leaf);
}

#[tokio::test]
async fn a_mirror_of_what_the_log_was_is_refused_until_it_is_deleted() {
    let server = server().await;
    let (origin, relayed) = (pipeline(&server).await, connect(config(&server).read_from(mirror(None))).await);
    origin.open().await.expect("opening");
    publish_all(&*origin, 0..10).await;
    relayed.open().await.expect("opening the mirror");
    let name = caught_up(&*relayed, 10).await.id.name;
    let jetstream = jetstream(&server).await;
    jetstream.delete_stream(STREAM).await.expect("deleting the log");
    let missing = relayed.open().await;
    assert!(matches!(missing, Err(PipelineError::LogMissing { .. })), "{missing:?}");
    origin.open().await.expect("opening anew");
    publish_all(&*origin, 0..3).await;
    for refused in [relayed.open().await.err(), relayed.subscribe(3).await.err()] {
        let regressed = matches!(refused, Some(PipelineError::LogRegressed { last_sequence: 3, .. }));
        assert!(regressed, "{refused:?}");
    }
    jetstream.delete_stream(&name).await.expect("deleting the mirror");
    relayed.open().await.expect("opening the mirror anew");
    caught_up(&*relayed, 3).await;
    let mut subscription = relayed.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..3).await;
    let beyond = relayed.subscribe(4).await.err();
    assert!(matches!(beyond, Some(PipelineError::LogRegressed { .. })), "{beyond:?}");
}

#[tokio::test]
async fn a_mirror_goes_on_with_a_log_that_was_made_again_above_the_one_before() {
    const ABOVE: u64 = 1_000_010;
    let server = server().await;
    let (origin, relayed) = (pipeline(&server).await, connect(config(&server).read_from(mirror(None))).await);
    origin.open().await.expect("opening");
    publish_all(&*origin, 0..10).await;
    relayed.open().await.expect("opening the mirror");
    caught_up(&*relayed, 10).await;
    jetstream(&server).await.delete_stream(STREAM).await.expect("deleting the log");
    origin.open_above(ABOVE).await.expect("opening anew");
    publish_all(&*origin, 10..13).await;
    let state = caught_up(&*relayed, ABOVE + 3).await;
    assert_eq!(state, relayed.open_above(2 * ABOVE).await.expect("opening the mirror again"));
    let mut subscription = relayed.subscribe(0).await.expect("subscribing");
    expect_numbers(&mut *subscription, 0..13).await;
    let mut subscription = relayed.subscribe(ABOVE + 1).await.expect("subscribing");
    expect_numbers(&mut *subscription, 11..13).await;
}

#[tokio::test]
async fn a_stream_that_mirrors_something_else_is_refused() {
    let server = server().await;
    let stream = async_nats::jetstream::stream::Config {
        name: format!("{STREAM}_mirror_near"),
        subjects: vec!["something.else".to_owned()],
        ..Default::default()
    };
    jetstream(&server).await.create_stream(stream).await.expect("a stream");
    pipeline(&server).await.open().await.expect("opening");
    let refused = connect(config(&server).read_from(mirror(None))).await.open().await;
    let told =
        matches!(&refused, Err(PipelineError::Misconfigured { reason }) if reason.contains("mirror of"));
    assert!(told, "{refused:?}");
    let invalid = ReadFrom::Mirror { name: "no.token".to_owned(), origin_domain: None };
    let refused = NatsPipeline::connect(config(&server).read_from(invalid)).await.err();
    assert!(matches!(refused, Some(PipelineError::InvalidName { .. })), "{refused:?}");
}
