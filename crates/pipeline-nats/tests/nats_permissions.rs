//! Replicas that may do what [`NatsPermissions`] says, each as a user of its own.

mod support;

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    Heard, Outgoing, Pipeline, PipelineError, Subscription, snapshots::SnapshotStore,
};
use archipelago_pipeline_nats::{LogPermissions, NatsConfig, NatsPermissions, NatsPipeline, NatsSnapshots};
use archipelago_testkit::nats::NatsServer;
use bytes::Bytes;
use support::{DEADLINE, NAMESPACE, within};

const BUCKET: &str = "archipelago_test_snapshots";
/// More than one message of the broker holds.
const LARGE: usize = 3_000_000;
const TTL: Duration = Duration::from_secs(60);

fn permissions(node: &str) -> NatsPermissions {
    let permissions = NatsPermissions::new(NAMESPACE, node).expect("names");
    permissions.may_lead().snapshots(BUCKET)
}

/// With a user for each of these nodes, and one that may do everything.
async fn server(nodes: &[NatsPermissions]) -> NatsServer {
    let users = nodes.iter().zip(["paris", "tokyo"]).map(|(permissions, name)| {
        format!("{{ user: {name}, password: secret, {} }}\n", permissions.to_server_config())
    });
    let users: String = users.collect();
    let settings = format!("authorization {{ users: [\n{users}{{ user: admin, password: secret }}\n] }}\n");
    NatsServer::builder().settings(settings).start().await.expect("a nats-server that takes the permissions")
}

fn config(server: &NatsServer, node: &str) -> NatsConfig {
    let config = NatsConfig::new(server.url(), NAMESPACE).user_and_password(node, "secret");
    config.own_inbox(node).ack_timeout(Duration::from_secs(3))
}

async fn pipeline(server: &NatsServer, node: &str) -> Arc<NatsPipeline> {
    Arc::new(NatsPipeline::connect(config(server, node)).await.expect("connecting"))
}

fn message(origin: &str, number: usize, payload: Bytes) -> Outgoing {
    Outgoing { origin: origin.into(), message_id: format!("{origin}-{number}"), payload }
}

/// The next payload that is whole, and who it is of.
async fn next(incoming: &mut dyn Subscription) -> (String, Bytes) {
    loop {
        let message = within("a message", incoming.next()).await.expect("a message");
        if let Some(payload) = message.payload {
            return (message.origin, payload);
        }
    }
}

#[tokio::test]
async fn what_a_replica_is_allowed_is_all_that_it_needs() {
    let server = server(&[permissions("paris"), permissions("tokyo")]).await;
    let (paris, tokyo) = (pipeline(&server, "paris").await, pipeline(&server, "tokyo").await);

    // The log: made, written, read, also in parts, and trimmed.
    paris.open().await.expect("the log");
    tokyo.open().await.expect("the same log");
    let mut incoming = tokyo.subscribe(0).await.expect("reading");
    for (number, payload) in
        [Bytes::from_static(b"small"), Bytes::from(vec![7; LARGE])].into_iter().enumerate()
    {
        let ack = paris.publish(message("paris", number, payload.clone())).await.expect("publishing");
        within("an acknowledgement", ack).await.expect("an acknowledgement");
        assert_eq!(next(&mut *incoming).await, ("paris".to_owned(), payload));
    }
    let state = paris.state().await.expect("the state");
    paris.trim(1).await.expect("trimming");
    assert_eq!(tokyo.state().await.expect("the state").first_sequence, 2);
    assert!(state.last_sequence > 2, "the large one went in parts");

    // What is said beside it.
    let mut heard = tokyo.listen("tokyo").await.expect("listening");
    within("a heartbeat", async {
        loop {
            paris.announce("paris", Bytes::from_static(b"beat")).await.expect("saying");
            let next = tokio::time::timeout(Duration::from_millis(200), heard.next()).await;
            if let Ok(Ok(Heard::Announcement { from, .. })) = next {
                return assert_eq!(from, "paris");
            }
        }
    })
    .await;
    let answering = async {
        loop {
            if let Heard::Question { payload, answer } = heard.next().await.expect("hearing") {
                assert_eq!(payload.len(), LARGE);
                return answer.send(payload).await;
            }
        }
    };
    let asking = paris.ask("tokyo", Bytes::from(vec![1; LARGE]), DEADLINE);
    let (answer, ()) = within("an answer", futures::future::join(asking, answering)).await;
    assert_eq!(answer.expect("an answer").len(), LARGE);

    // The lease.
    let (of_paris, of_tokyo) =
        (paris.lease(TTL).await.expect("a lease"), tokyo.lease(TTL).await.expect("a lease"));
    let mut watch = of_tokyo.watch().await.expect("watching");
    let revision = of_paris.acquire("paris".into(), None).await.expect("acquiring").expect("nobody had it");
    within("the holder is seen", async { while watch.next().await.expect("watching").is_none() {} }).await;
    let revision = of_paris.renew(revision, "paris".into()).await.expect("renewing").expect("it is held");
    assert!(of_tokyo.look().await.expect("looking").is_some());
    of_paris.release(revision).await.expect("releasing");

    // Snapshots.
    let (here, there) = (
        NatsSnapshots::connect(config(&server, "paris")).await.expect("connecting"),
        NatsSnapshots::connect(config(&server, "tokyo")).await.expect("connecting"),
    );
    let mut writer = here.begin("one").await.expect("beginning");
    writer.chunk(Bytes::from(vec![7; LARGE])).await.expect("writing");
    writer.finish("manifest".into()).await.expect("finishing");
    assert_eq!(there.list().await.expect("listing"), ["one"]);
    there.remove("one").await.expect("removing");
    assert_eq!(here.list().await.expect("listing"), [""; 0]);
}

#[tokio::test]
async fn nobody_writes_or_speaks_in_the_name_of_another() {
    let server = server(&[permissions("paris"), permissions("tokyo")]).await;
    let (paris, tokyo) = (pipeline(&server, "paris").await, pipeline(&server, "tokyo").await);
    paris.open().await.expect("the log");
    let mut heard = tokyo.listen("tokyo").await.expect("listening");

    let forged = message("tokyo", 0, Bytes::from_static(b"not by tokyo"));
    let refused = match paris.publish(forged).await {
        Ok(ack) => within("a refusal", ack).await.err(),
        Err(error) => Some(error),
    };
    let refused = refused.expect("it is refused");
    assert!(matches!(refused, PipelineError::Unauthorized { .. }), "{refused}");
    let _ = paris.announce("tokyo", Bytes::from_static(b"not by tokyo")).await;

    // The service goes on, and neither reached anyone.
    let ack = paris.publish(message("paris", 1, Bytes::from_static(b"by paris"))).await.expect("publishing");
    assert_eq!(within("an acknowledgement", ack).await.expect("an acknowledgement").sequence, 1);
    within("a heartbeat", async {
        loop {
            paris.announce("paris", Bytes::from_static(b"by paris")).await.expect("saying");
            let next = tokio::time::timeout(Duration::from_millis(200), heard.next()).await;
            if let Ok(Ok(Heard::Announcement { from, payload })) = next {
                return assert_eq!((&*from, &payload[..]), ("paris", &b"by paris"[..]));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_may_make_nothing_uses_what_is_there() {
    let users = ["paris", "tokyo"].map(|node| permissions(node).log(LogPermissions::Use));
    let server = server(&users).await;
    let paris = pipeline(&server, "paris").await;
    let refused = paris.open().await.expect_err("it may not make a log");
    assert!(matches!(refused, PipelineError::Unauthorized { .. }), "{refused}");

    let admin = NatsConfig::new(server.url(), NAMESPACE).user_and_password("admin", "secret");
    NatsPipeline::connect(admin).await.expect("connecting").open().await.expect("the log");
    paris.open().await.expect("it is there now");
    let ack = paris.publish(message("paris", 0, Bytes::from_static(b"by paris"))).await.expect("publishing");
    within("an acknowledgement", ack).await.expect("an acknowledgement");
    let refused = paris.trim(1).await.expect_err("nor may it trim one");
    assert!(matches!(refused, PipelineError::Unauthorized { .. }), "{refused}");
}
