//! What a test may rely on when it breaks a server.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use archipelago_testkit::nats::{NatsCluster, NatsServer, NatsServerError};
use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions};
use futures::StreamExt;

type TestResult = Result<(), Box<dyn std::error::Error>>;

async fn connect(server: &NatsServer) -> Result<Client, async_nats::ConnectError> {
    async_nats::connect(server.url()).await
}

async fn publish_one(server: &NatsServer) -> TestResult {
    let jetstream = jetstream::new(connect(server).await?);
    let config =
        stream::Config { name: "EVENTS".into(), subjects: vec!["events.>".into()], ..Default::default() };
    jetstream.get_or_create_stream(config).await?;
    jetstream.publish("events.one", "payload".into()).await?.await?;
    Ok(())
}

async fn messages_stored(server: &NatsServer) -> Result<u64, Box<dyn std::error::Error>> {
    let jetstream = jetstream::new(connect(server).await?);
    Ok(jetstream.get_stream("EVENTS").await?.cached_info().state.messages)
}

async fn has_stream(server: &NatsServer) -> Result<bool, Box<dyn std::error::Error>> {
    let jetstream = jetstream::new(connect(server).await?);
    Ok(jetstream.get_stream("EVENTS").await.is_ok())
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test]
async fn a_restart_keeps_the_address_and_what_was_stored() -> TestResult {
    let mut server = NatsServer::start().await?;
    let url = server.url();
    publish_one(&server).await?;
    server.restart().await?;
    assert_eq!(server.url(), url);
    assert_eq!(messages_stored(&server).await?, 1);
    publish_one(&server).await?;
    assert_eq!(messages_stored(&server).await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_killed_server_keeps_what_it_acknowledged() -> TestResult {
    let mut server = NatsServer::start().await?;
    publish_one(&server).await?;
    server.kill().await?;
    assert!(!accepts(server.port()));
    server.restart().await?;
    assert_eq!(messages_stored(&server).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_wiped_server_has_lost_everything() -> TestResult {
    let mut server = NatsServer::start().await?;
    publish_one(&server).await?;
    assert!(matches!(server.wipe(), Err(NatsServerError::Running)));
    server.stop().await?;
    server.wipe()?;
    server.restart().await?;
    assert!(!has_stream(&server).await?);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_refused() -> TestResult {
    let server = NatsServer::builder().credentials("island", "pass \"word\" \\").start().await?;
    let with = |password: &str| ConnectOptions::with_user_and_password("island".into(), password.into());
    assert!(connect(&server).await.is_err());
    assert!(with("wrong").connect(server.url()).await.is_err());
    with("pass \"word\" \\").connect(server.url()).await?.flush().await?;
    Ok(())
}

#[tokio::test]
async fn max_payload_is_announced() -> TestResult {
    let server = NatsServer::builder().max_payload_bytes(4096).start().await?;
    assert_eq!(connect(&server).await?.server_info().max_payload, 4096);
    Ok(())
}

#[tokio::test]
async fn a_refused_setting_is_explained_by_the_log() {
    let error = NatsServer::builder().max_payload_bytes(u32::MAX).start().await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, NatsServerError::Ended { .. }), "{message}");
    assert!(message.contains("max_payload"), "{message}");
}

#[tokio::test]
async fn a_paused_server_answers_only_when_resumed() -> TestResult {
    let server = NatsServer::start().await?;
    let client = connect(&server).await?;
    let jetstream = jetstream::new(client);
    server.pause()?;
    server.pause()?; // twice is once
    let mut query = Box::pin(jetstream.query_account());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut query).await.is_err());
    server.resume()?;
    query.await?;
    Ok(())
}

#[tokio::test]
async fn a_paused_server_can_be_stopped() -> TestResult {
    let mut server = NatsServer::start().await?;
    server.pause()?;
    server.stop().await?;
    assert!(!accepts(server.port()));
    assert!(matches!(server.pause(), Err(NatsServerError::NotRunning)));
    Ok(())
}

#[tokio::test]
async fn a_store_folder_of_the_callers_outlives_the_server() -> TestResult {
    let home = tempfile::tempdir()?;
    let server = NatsServer::builder().store_dir(home.path()).start().await?;
    publish_one(&server).await?;
    let port = server.port();
    drop(server);
    assert!(!accepts(port));
    let heir = NatsServer::builder().store_dir(home.path()).start().await?;
    assert_eq!(messages_stored(&heir).await?, 1);
    Ok(())
}

/// Runs itself in a second process, which starts a server and is then killed.
#[tokio::test]
async fn no_server_outlives_a_killed_test_process() -> TestResult {
    const ROLE: &str = "ARCHIPELAGO_TESTKIT_VICTIM";
    if std::env::var_os(ROLE).is_some() {
        let server = NatsServer::start().await?;
        println!("\nport {}", server.port());
        return std::future::pending().await;
    }

    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "no_server_outlives_a_killed_test_process", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(victim.stdout.take().expect("asked to be piped"));
    let port = output.lines().find_map(|line| line.ok()?.strip_prefix("port ")?.parse().ok());
    victim.kill()?;
    victim.wait()?;

    let port: u16 = port.expect("the victim names its server's port");
    let deadline = Instant::now() + Duration::from_secs(10);
    while accepts(port) {
        assert!(Instant::now() < deadline, "the server on port {port} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether what answers at one server is heard at the other.
async fn is_heard(from: &NatsServer, at: &NatsServer) -> Result<bool, Box<dyn std::error::Error>> {
    let (asks, answers) = (connect(at).await?, connect(from).await?);
    let mut asked = answers.subscribe("question").await?;
    answers.flush().await?;
    let answering = async {
        while let Some(question) = asked.next().await {
            let reply = question.reply.expect("a request has a reply subject");
            let _ = answers.publish(reply, "answer".into()).await;
        }
    };
    let asking = tokio::time::timeout(Duration::from_secs(1), asks.request("question", "".into()));
    tokio::select! {
        answer = asking => Ok(matches!(answer, Ok(Ok(_)))),
        () = answering => Ok(false),
    }
}

async fn until_heard(cluster: &NatsCluster, from: usize, at: usize, wanted: bool) -> TestResult {
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_heard(&cluster.servers()[from], &cluster.servers()[at]).await? != wanted {
        assert!(Instant::now() < deadline, "{from} is heard at {at}: {}", !wanted);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_parted_from_its_cluster_is_heard_by_its_own_clients_only_until_it_is_healed() -> TestResult
{
    let cluster = NatsCluster::start_divisible(3).await?;
    for way in [NatsCluster::cut, NatsCluster::stall] {
        until_heard(&cluster, 2, 0, true).await?;
        until_heard(&cluster, 1, 2, true).await?;
        way(&cluster, 2);
        until_heard(&cluster, 2, 0, false).await?;
        until_heard(&cluster, 1, 2, false).await?;
        until_heard(&cluster, 2, 2, true).await?;
        until_heard(&cluster, 1, 0, true).await?;
        cluster.heal();
    }
    until_heard(&cluster, 2, 0, true).await
}
