//! What a user meets who configured something wrong, and a broker that comes later.

mod support;

use std::time::{Duration, Instant};

use archipelago_pipeline::{Pipeline, PipelineError, PipelineStatus};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline, OnStart};
use archipelago_testkit::nats::NatsServer;
use async_nats::jetstream::stream::Config;
use support::*;

async fn connect_error(config: NatsConfig) -> PipelineError {
    within("an answer", NatsPipeline::connect(config)).await.expect_err("connecting must fail")
}

#[tokio::test]
async fn an_unreachable_broker_is_named_without_the_password() {
    let url = format!("nats://app:hunter2@127.0.0.1:{}", free_port());
    let error = connect_error(NatsConfig::new(url, NAMESPACE)).await;
    assert!(matches!(error, PipelineError::Unavailable { .. }), "{error:?}");
    let (shown, debug) = (error.to_string(), format!("{error:?}"));
    assert!(shown.contains("nats://***@127.0.0.1:"), "{shown}");
    assert!(!shown.contains("hunter2") && !debug.contains("hunter2"));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let server = NatsServer::builder().credentials("app", "right").start().await.expect("a server");
    for config in [
        config(&server),
        config(&server).user_and_password("app", "hunter2"),
        config(&server).token("hunter2"),
        NatsConfig::new(server.url().replace("nats://", "nats://app:hunter2@"), NAMESPACE),
    ] {
        let error = connect_error(config).await;
        assert!(matches!(error, PipelineError::Unauthorized { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let pipeline = NatsPipeline::connect(config(&server).user_and_password("app", "right")).await;
    let shown = format!("{:?}", pipeline.expect("the right password"));
    assert!(!shown.contains("right"), "{shown}");
    let url = server.url().replace("nats://", "nats://app:right@");
    NatsPipeline::connect(NatsConfig::new(url, NAMESPACE)).await.expect("credentials in the URL");
}

#[tokio::test]
async fn a_namespace_that_is_no_token_is_refused() {
    let error = connect_error(NatsConfig::new("nats://127.0.0.1:4222", "a.b")).await;
    assert!(matches!(error, PipelineError::InvalidName { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_without_jetstream_says_what_to_change() {
    let port = free_port();
    let _server = BareServer::start(port, &[]).await;
    let error = connect_error(NatsConfig::new(format!("nats://127.0.0.1:{port}"), NAMESPACE)).await;
    assert!(matches!(error, PipelineError::Misconfigured { .. }), "{error:?}");
    assert!(error.to_string().contains("-js"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_something_else_is_left_alone() {
    let server = server().await;
    let found = Config {
        name: STREAM.to_owned(),
        subjects: vec!["archipelago.test.events.*".to_owned()],
        no_ack: true,
        ..Config::default()
    };
    jetstream(&server).await.create_stream(found).await.expect("a stream");
    let error = pipeline(&server).await.open().await.expect_err("incompatible");
    assert!(matches!(error, PipelineError::Misconfigured { .. }), "{error:?}");
    assert!(error.to_string().contains("no_ack"), "{error}");
}

#[tokio::test]
async fn a_smaller_limit_of_the_server_is_known() {
    let server = NatsServer::builder().max_payload_bytes(64 * 1024).start().await.expect("a server");
    let pipeline = pipeline(&server).await;
    pipeline.open().await.expect("opening");
    let bytes_max = pipeline.payload_bytes_good().expect("connected");
    assert!((60_000..64 * 1024).contains(&bytes_max), "{bytes_max}");
}

#[tokio::test]
async fn a_broker_that_comes_later_is_found() {
    let port = free_port();
    let config = NatsConfig::new(format!("nats://127.0.0.1:{port}"), NAMESPACE).on_start(OnStart::Background);
    let started = Instant::now();
    let pipeline = NatsPipeline::connect(config).await.expect("returns without a broker");
    assert!(started.elapsed() < Duration::from_secs(4), "at once");
    assert!(matches!(*pipeline.status().borrow(), PipelineStatus::Down { .. }));
    assert_eq!(pipeline.payload_bytes_good(), None);
    let refused = pipeline.publish(message(0)).await.err();
    assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");
    let refused = pipeline.open().await.err();
    assert!(matches!(refused, Some(PipelineError::Unavailable { .. })), "{refused:?}");

    let store = tempfile::tempdir().expect("a folder");
    let folder = store.path().to_str().expect("a path of text");
    let _server = BareServer::start(port, &["-js", "-sd", folder]).await;
    until_up(&pipeline).await;
    pipeline.open().await.expect("opening");
    publish_all(&pipeline, 0..3).await;
}

#[tokio::test]
async fn a_password_that_changes_meanwhile_shows_in_the_status() {
    let port = free_port();
    let store = tempfile::tempdir().expect("a folder");
    let folder = store.path().to_str().expect("a path of text");
    let run = |password: &'static str| async move {
        BareServer::start(port, &["-js", "-sd", folder, "--user", "app", "--pass", password]).await
    };
    let server = run("old").await;
    let config = NatsConfig::new(format!("nats://app:old@127.0.0.1:{port}"), NAMESPACE);
    let pipeline = NatsPipeline::connect(config).await.expect("connecting");
    drop(server);
    until_down(&pipeline).await;
    let server = run("new").await;
    let mut status = pipeline.status();
    let refused = status.wait_for(|status| match status {
        PipelineStatus::Down { reason } => reason.contains("refuses access") && !reason.contains("old"),
        PipelineStatus::Up => false,
    });
    within("the refusal shows", refused).await.expect("a status");
    drop(server);
    let _server = run("old").await;
    until_up(&pipeline).await;
}

#[tokio::test]
async fn a_missing_permission_is_told_at_once() {
    let home = tempfile::tempdir().expect("a folder");
    let (port, conf) = (free_port(), home.path().join("nats.conf"));
    let user = |name: &str, publish: &str| {
        format!("{{ user: {name}, password: p, permissions: {{ publish: [{publish}], subscribe: \">\" }} }}")
    };
    let users = [user("reader", "\"$JS.API.>\""), user("nobody", "\"other\"")].join(", ");
    let settings =
        format!("jetstream {{ store_dir: {:?} }}\nauthorization {{ users: [{users}] }}", home.path());
    std::fs::write(&conf, settings).expect("writing");
    let _server = BareServer::start(port, &["-c", conf.to_str().expect("a path of text")]).await;
    let config = |user: &str| {
        NatsConfig::new(format!("nats://127.0.0.1:{port}"), NAMESPACE).user_and_password(user, "p")
    };
    let error = connect_error(config("nobody")).await;
    assert!(matches!(error, PipelineError::Unauthorized { .. }), "{error:?}");

    let reader = NatsPipeline::connect(config("reader")).await.expect("connecting");
    reader.open().await.expect("opening");
    let started = Instant::now();
    let answer = reader.publish(message(0)).await.expect("handed to the connection").await;
    assert!(matches!(answer, Err(PipelineError::Unauthorized { .. })), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "before the deadline of the acknowledgement");
    assert_eq!(*reader.status().borrow(), PipelineStatus::Up);
}
