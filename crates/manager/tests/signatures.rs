//! Masters that sign believe those whose keys they know, and nobody else, whatever is said in whose name.

mod support;

use std::time::Duration;

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_manager::{
    EventSubscriber, KeyError, MultiMasterBuilder, MultiMasterManager, Signatures, SigningKey, StartError,
    snapshot::verify_snapshot,
};
use archipelago_pipeline::{
    Heard, MemoryBroker, Outgoing, Pipeline, PipelineError,
    snapshots::{MemorySnapshots, SnapshotStore},
};
use archipelago_proto::{
    BatchEncoder, DeltaRequest, Event, Floor, Heartbeat, Limits, Op, Said, Signature, encode_value,
};
use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use bytes::Bytes;
use support::{DEADLINE, NAMESPACE, TestClock, broker, converge, options};

const INTERVAL: Duration = Duration::from_millis(20);

fn signing(name: &str, signatures: Signatures) -> MultiMasterBuilder {
    options(name, Strategy::Lww).heartbeat_interval(INTERVAL).signatures(signatures)
}

async fn start(broker: &MemoryBroker, builder: MultiMasterBuilder) -> MultiMasterManager {
    let builder = builder.store(MemoryStore::new()).pipeline(broker.pipeline(NAMESPACE));
    builder.start().await.expect("a sound store")
}

async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("did not happen: {what}"));
}

fn trusts(master: &MultiMasterManager, name: &str) -> bool {
    let keys = master.trusted_keys().expect("it signs").list();
    keys.iter().any(|key| key.name == name && key.is_trusted)
}

/// Paris and Tokyo, each set up with the key of the other.
async fn paris_and_tokyo(broker: &MemoryBroker) -> ([MultiMasterManager; 2], [SigningKey; 2]) {
    let keys = [SigningKey::generate(), SigningKey::generate()];
    let paris = Signatures::new(keys[0].clone()).trust("tokyo", keys[1].public());
    let tokyo = Signatures::new(keys[1].clone()).trust("paris", keys[0].public());
    ([start(broker, signing("paris", paris)).await, start(broker, signing("tokyo", tokyo)).await], keys)
}

/// A write of the entity `forged` that a stranger made up in the name of a master.
fn forged_batch(replica: &ReplicaId, sequence: u64) -> Bytes {
    let limits = Limits::default();
    let mut encoder = BatchEncoder::new(NAMESPACE, &limits);
    encoder.push(&Event {
        dot: Dot::new(replica.clone(), sequence),
        hlc: Hlc::new(1, 0),
        deps: std::sync::Arc::new(VersionVector::new()),
        context: None,
        entity: "forged".into(),
        op: Op::Put(encode_value("a lie", &limits).expect("text")),
        trace: None,
    });
    encoder.finish().expect("within the limits").expect("an event")
}

/// Signs as whoever has the key would.
fn signed(key: &SigningKey, by: &str, said: Said<'_>, message: &Bytes, at_unix_ms: u64) -> Bytes {
    use ed25519_dalek::Signer;
    let secret = key.to_secret_text();
    let digits = secret.rsplit(':').next().expect("digits");
    let bytes = std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex"));
    let key = ed25519_dalek::SigningKey::from_bytes(&bytes);
    let mut signature = Signature {
        by: by.into(),
        key: key.verifying_key().to_bytes(),
        at_unix_ms,
        keys: Vec::new(),
        proof: [0; 64],
    };
    let statement = signature.statement(said, message).expect("an envelope");
    signature.proof = key.sign(&statement).to_bytes();
    signature.attach(message).expect("an envelope")
}

fn now() -> u64 {
    use archipelago_manager::WallClock;
    archipelago_manager::SystemClock.now_unix_ms()
}

async fn publish(pipeline: &impl Pipeline, origin: &str, message_id: &str, payload: Bytes) {
    let message = Outgoing { origin: origin.into(), message_id: message_id.into(), payload };
    pipeline.publish(message).await.expect("a broker").await.expect("an acknowledgement");
}

#[tokio::test]
async fn masters_that_know_each_other_converge_and_whom_one_lets_in_all_believe() {
    let broker = broker();
    let ([paris, tokyo], _) = paris_and_tokyo(&broker).await;
    converge(&[&paris, &tokyo]).await;
    // Lima is set up to believe Paris alone, and nobody knows Lima.
    let (lima_key, paris_key) = (SigningKey::generate(), paris.trusted_keys().expect("it signs").own().1);
    let lima = Signatures::new(lima_key.clone()).trust("paris", paris_key);
    let lima = start(&broker, signing("lima", lima)).await;
    let unheard = lima.write("greeting", "hello from lima").await.expect("a write").token;
    until("lima is refused by both", async || {
        [&paris, &tokyo].iter().all(|master| master.trusted_keys().expect("it signs").refused() > 0)
    })
    .await;
    assert!(!paris.session_token().vector().dominates(unheard.vector()));

    paris.trusted_keys().expect("it signs").trust("lima", lima_key.public()).await.expect("room");
    until("tokyo hears of lima, and lima of tokyo", async || {
        trusts(&tokyo, "lima") && trusts(&lima, "tokyo")
    })
    .await;
    // What was skipped in the log before comes by repair.
    for master in [&paris, &tokyo] {
        assert!(master.wait_for(&unheard, DEADLINE).await, "{} has the write", master.master_id());
    }
    converge(&[&paris, &tokyo, &lima]).await;
}

#[tokio::test]
async fn whoever_was_let_in_cannot_let_in_others() {
    let broker = broker();
    let ([paris, tokyo], _) = paris_and_tokyo(&broker).await;
    let (lima_key, accomplice) = (SigningKey::generate(), SigningKey::generate());
    let paris_key = paris.trusted_keys().expect("it signs").own().1;
    let lima = Signatures::new(lima_key.clone()).trust("paris", paris_key);
    let lima = start(&broker, signing("lima", lima)).await;
    paris.trusted_keys().expect("it signs").trust("lima", lima_key.public()).await.expect("room");
    lima.trusted_keys().expect("it signs").trust("paris", accomplice.public()).await.expect("room");
    until("lima is believed", async || trusts(&tokyo, "lima")).await;
    let token = lima.write("x", &1).await.expect("a write").token;
    assert!(tokyo.wait_for(&token, DEADLINE).await);
    for master in [&paris, &tokyo] {
        let keys = master.trusted_keys().expect("it signs").list();
        assert!(keys.iter().all(|key| key.key != accomplice.public()), "{}: {keys:?}", master.master_id());
    }
}

#[tokio::test]
async fn what_is_said_in_the_name_of_another_is_refused_and_the_others_go_on() {
    let broker = broker();
    let ([paris, tokyo], [paris_key, tokyo_key]) = paris_and_tokyo(&broker).await;
    converge(&[&paris, &tokyo]).await;
    let road = broker.pipeline(NAMESPACE);
    let (next, stranger) = (paris.vector_clock().get(&paris.master_id()) + 1, SigningKey::generate());
    let batch = forged_batch(&paris.master_id(), next);
    let floor =
        Floor { namespace: NAMESPACE.into(), replica: paris.master_id(), vector: VersionVector::new() };
    let before = tokyo.trusted_keys().expect("it signs").refused();
    let lies = [
        batch.clone(),
        floor.encode(),
        signed(&stranger, "paris", Said::InLog, &batch, now()),
        // A master in the name of another one.
        signed(&tokyo_key, "paris", Said::InLog, &batch, now()),
        signed(&tokyo_key, "tokyo", Said::InLog, &batch, now()),
        // What was signed was said in another way.
        signed(&paris_key, "paris", Said::Aloud, &batch, now()),
        // A signature that was taken from another message.
        Signature::of(&signed(&paris_key, "paris", Said::InLog, &floor.encode(), now()))
            .expect("readable")
            .expect("signed")
            .attach(&batch)
            .expect("an envelope"),
    ];
    for (number, lie) in lies.iter().enumerate() {
        publish(&road, "paris", &format!("lie-{number}"), lie.clone()).await;
    }
    let refused = || [&paris, &tokyo].map(|master| master.trusted_keys().expect("it signs").refused());
    until("all are refused by both", async || {
        refused().iter().all(|refused| *refused >= before + lies.len() as u64)
    })
    .await;
    converge(&[&paris, &tokyo]).await;
    assert!(paris.read::<String>("forged").await.expect("open").is_none());
    // With the key of Paris it is Paris.
    let next = paris.vector_clock().get(&paris.master_id()) + 1;
    let batch = forged_batch(&paris.master_id(), next);
    publish(&road, "paris", "stolen", signed(&paris_key, "paris", Said::InLog, &batch, now())).await;
    until("it is applied", async || tokyo.read::<String>("forged").await.expect("open").is_some()).await;
}

#[tokio::test]
async fn a_batch_that_is_repeated_is_applied_once_and_under_another_name_never() {
    let broker = broker();
    let ([paris, tokyo], _) = paris_and_tokyo(&broker).await;
    converge(&[&paris, &tokyo]).await;
    let road = broker.pipeline(NAMESPACE);
    let mut log = road.subscribe(0).await.expect("a log");
    let first = log.next().await.expect("a message");
    let applied = tokyo.vector_clock();
    let refused = tokyo.trusted_keys().expect("it signs").refused();
    publish(&road, &first.origin, "again", first.payload.clone().expect("a batch")).await;
    let other = if first.origin == "paris" { "tokyo" } else { "paris" };
    publish(&road, other, "renamed", first.payload.expect("a batch")).await;
    until("the renamed one is refused", async || tokyo.trusted_keys().expect("it signs").refused() > refused)
        .await;
    assert_eq!(tokyo.vector_clock(), applied);
    converge(&[&paris, &tokyo]).await;
}

#[tokio::test]
async fn announcements_and_questions_of_strangers_and_late_ones_are_not_heard() {
    let broker = broker();
    let ([paris, tokyo], [paris_key, _]) = paris_and_tokyo(&broker).await;
    converge(&[&paris, &tokyo]).await;
    until("both hear each other", async || !tokyo.peers().await.expect("open").is_empty()).await;
    let road = broker.pipeline(NAMESPACE);
    let mut listener = road.listen("stranger").await.expect("a broker");
    let heard = loop {
        match listener.next().await.expect("open") {
            Heard::Announcement { from, payload } if from == "paris" => break payload,
            _ => {}
        }
    };
    let heartbeat = Heartbeat::decode(heard, &Limits::default()).expect("a heartbeat");
    let lie = Heartbeat { session: heartbeat.session + 1, beat: 1, ..heartbeat.clone() }.encode();
    let refused = tokyo.trusted_keys().expect("it signs").refused();
    road.announce("paris", lie.clone()).await.expect("a broker");
    let late = signed(&paris_key, "paris", Said::Aloud, &lie, now() - 120_000);
    road.announce("paris", late).await.expect("a broker");
    until("both are refused", async || tokyo.trusted_keys().expect("it signs").refused() >= refused + 2)
        .await;
    assert_eq!(tokyo.peers().await.expect("open").len(), 1, "there is one Paris");

    let request = DeltaRequest {
        namespace: NAMESPACE.into(),
        replica: ReplicaId::new("stranger", Incarnation::from_bits(1)).expect("a name"),
        since: VersionVector::new(),
        from: None,
        bytes_max: 1_000,
    };
    let address = format!("{:016x}", heartbeat.session);
    let deadline = Duration::from_millis(300);
    let asked = road.ask(&address, request.encode(), deadline).await;
    assert!(matches!(asked, Err(PipelineError::NoAnswer { .. })), "{asked:?}");
    // The same question of one who may ask is answered, once.
    let question = signed(&paris_key, "paris", Said::Asked { whom: &address }, &request.encode(), now());
    let asked = road.ask(&address, question.clone(), DEADLINE).await.expect("an answer");
    assert_eq!(&*Signature::of(&asked).expect("readable").expect("signed").by, "paris");
    let asked = road.ask(&address, question, deadline).await;
    assert!(matches!(asked, Err(PipelineError::NoAnswer { .. })), "{asked:?}");
}

#[tokio::test]
async fn a_key_that_was_withdrawn_is_believed_nowhere_and_that_survives_a_restart() {
    let broker = broker();
    let ([paris, tokyo], [paris_key, tokyo_key]) = paris_and_tokyo(&broker).await;
    let lima_key = SigningKey::generate();
    let set_up = || Signatures::new(lima_key.clone()).trust("paris", paris_key.public());
    let store = MemoryStore::new();
    let on_store = |store| signing("lima", set_up()).store(store).pipeline(broker.pipeline(NAMESPACE));
    let lima = on_store(store.clone()).start().await.expect("a sound store");
    paris.trusted_keys().expect("it signs").trust("lima", lima_key.public()).await.expect("room");
    until("all know each other", async || trusts(&lima, "tokyo") && trusts(&tokyo, "lima")).await;
    converge(&[&paris, &tokyo, &lima]).await;
    paris.trusted_keys().expect("it signs").withdraw("tokyo", tokyo_key.public()).await.expect("known");
    until("lima hears of it", async || !trusts(&lima, "tokyo")).await;
    // Tokyo hears that it is not believed any more from Paris, whom it believes.
    until("tokyo hears of it", async || !trusts(&tokyo, "tokyo")).await;
    let token = tokyo.write("x", "of tokyo").await.expect("a write").token;
    let fence = paris.write("x", "of paris").await.expect("a write").token;
    assert!(lima.wait_for(&fence, DEADLINE).await);
    let refused = || lima.trusted_keys().expect("it signs").refused();
    let before = refused();
    until("more of tokyo is refused", async || refused() > before).await;
    assert!(!lima.session_token().vector().dominates(token.vector()));

    lima.close().await.expect("a sound store");
    let lima = on_store(store.reopen()).start().await.expect("a sound store");
    assert!(!trusts(&lima, "tokyo"), "it remembers");
    let own = paris.trusted_keys().expect("it signs").withdraw("paris", paris_key.public()).await;
    assert!(matches!(own, Err(KeyError::Own)), "{own:?}");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_before_this_master_knew_it_stays_out() {
    let broker = broker();
    let ([paris, tokyo], _) = paris_and_tokyo(&broker).await;
    let lima = SigningKey::generate().public();
    let keys = paris.trusted_keys().expect("it signs");
    keys.withdraw("lima", lima).await.expect("room");
    let is_known = |master: &MultiMasterManager| {
        let keys = master.trusted_keys().expect("it signs").list();
        keys.iter().any(|key| key.key == lima && !key.is_trusted)
    };
    assert!(is_known(&paris));
    until("tokyo hears of it", async || is_known(&tokyo)).await;
    keys.trust("lima", lima).await.expect("room");
    until("the later decision holds", async || trusts(&tokyo, "lima")).await;
}

#[tokio::test]
async fn while_not_all_sign_what_is_unsigned_passes_and_what_is_signed_wrongly_does_not() {
    let broker = broker();
    let keys = [SigningKey::generate(), SigningKey::generate()];
    let paris = Signatures::new(keys[0].clone()).required(false);
    let paris = start(&broker, signing("paris", paris)).await;
    let plain = start(&broker, options("tokyo", Strategy::Lww).heartbeat_interval(INTERVAL)).await;
    converge(&[&paris, &plain]).await;
    let batch = forged_batch(&ReplicaId::new("lima", Incarnation::from_bits(1)).expect("a name"), 1);
    let road = broker.pipeline(NAMESPACE);
    publish(&road, "lima", "lie", signed(&keys[1], "lima", Said::InLog, &batch, now())).await;
    until("it is refused", async || paris.trusted_keys().expect("it signs").refused() > 0).await;
    converge(&[&paris, &plain]).await;
    assert!(
        plain.read::<String>("forged").await.expect("open").is_some(),
        "who does not sign believes everyone"
    );
}

#[tokio::test]
async fn a_master_whose_clock_is_wrong_by_minutes_is_not_heard_and_its_writes_are_read() {
    let broker = broker();
    let keys = [SigningKey::generate(), SigningKey::generate()];
    let paris = Signatures::new(keys[0].clone()).trust("tokyo", keys[1].public());
    let tokyo = Signatures::new(keys[1].clone()).trust("paris", keys[0].public());
    let paris = start(&broker, signing("paris", paris)).await;
    let slow = TestClock::at(now() - 300_000);
    let tokyo = start(&broker, signing("tokyo", tokyo).clock(slow)).await;
    let token = tokyo.write("x", &1).await.expect("a write").token;
    assert!(paris.wait_for(&token, DEADLINE).await);
    until("its heartbeats are refused", async || paris.trusted_keys().expect("it signs").refused() > 0).await;
    assert!(paris.peers().await.expect("open").is_empty());
}

#[tokio::test]
async fn bad_names_and_bad_rows_are_errors_at_the_start() {
    let key = SigningKey::generate();
    let builder = signing("paris", Signatures::new(key.clone()).trust("no name", key.public()));
    let started = builder.store(MemoryStore::new()).start().await;
    assert!(matches!(started, Err(StartError::Option { option: "signatures", .. })), "{started:?}");
    let store = MemoryStore::new();
    let on_store = |store| signing("paris", Signatures::new(key.clone())).store(store).start();
    on_store(store.clone()).await.expect("an empty store").close().await.expect("a sound store");
    let (store, mut batch) = (store.reopen(), Batch::new());
    batch.put(Table::Meta, "keys", "nonsense");
    store.commit(batch, Durability::Memory).expect("a store");
    let started = on_store(store).await;
    assert!(matches!(&started, Err(StartError::Row { row, .. }) if row == "keys"), "{started:?}");
}

#[tokio::test]
async fn a_snapshot_is_joined_by_only_if_it_is_signed_by_who_is_believed() {
    let broker = broker();
    let keys = [SigningKey::generate(), SigningKey::generate()];
    let of_paris = Signatures::new(keys[0].clone()).trust("tokyo", keys[1].public());
    let paris = start(&broker, signing("paris", of_paris)).await;
    let token = paris.write("x", &1).await.expect("a write").token;
    let (signed, plain) = (MemorySnapshots::default(), MemorySnapshots::default());
    paris.create_snapshot(&signed).await.expect("a snapshot");
    // Whoever has no keys can read it all the same.
    let names = signed.list().await.expect("a list");
    verify_snapshot(&signed, &names[0], &Limits::default()).await.expect("it is whole");
    // Somebody who is no member makes one that is newer, of a state that is not true.
    let liar = signing("paris", Signatures::new(SigningKey::generate())).store(MemoryStore::new());
    let liar = liar.start().await.expect("a sound store");
    liar.write("forged", &1).await.expect("a write");
    liar.create_snapshot(&plain).await.expect("a snapshot");
    until("the log has all", async || paris.metrics().outbox_len == 0).await;
    let road = broker.pipeline(NAMESPACE);
    road.trim(road.state().await.expect("a log").last_sequence).await.expect("a log");
    paris.close().await.expect("a sound store");

    let of_tokyo = Signatures::new(keys[1].clone()).trust("paris", keys[0].public());
    let tokyo = signing("tokyo", of_tokyo).snapshots(plain).snapshots(signed);
    let tokyo = start(&broker, tokyo).await;
    assert!(tokyo.wait_for(&token, DEADLINE).await);
    until("it is told", async || tokyo.metrics().snapshots_taken == 1).await;
    assert!(tokyo.read::<u8>("forged").await.expect("open").is_none());
    assert!(tokyo.trusted_keys().expect("it signs").refused() > 0);
}

#[tokio::test]
async fn a_subscriber_that_reads_what_a_master_believes_hears_no_lies() {
    let broker = broker();
    let ([paris, tokyo], _) = paris_and_tokyo(&broker).await;
    let road = broker.pipeline(NAMESPACE);
    let lie = forged_batch(&ReplicaId::new("lima", Incarnation::from_bits(1)).expect("a name"), 1);
    until("there is a log", async || road.state().await.is_ok()).await;
    publish(&road, "lima", "lie", lie).await;
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let believing = paris.trusted_keys().expect("it signs").believing(broker.pipeline(NAMESPACE));
    let subscriber = EventSubscriber::builder()
        .namespace(NAMESPACE)
        .checkpoint_store(MemoryStore::new())
        .pipeline(believing)
        .on_event(move |event| {
            let _ = heard.send(event.event.event.entity.to_string());
            async { Ok(()) }
        });
    let subscriber = subscriber.start().await.expect("sound options");
    tokyo.write("true", &1).await.expect("a write");
    let first = tokio::time::timeout(DEADLINE, hears.recv()).await.expect("it hears").expect("open");
    assert_eq!(first, "true");
    subscriber.close().await.expect("a sound store");
}
