//! Certificates whose time is over: of a node, and of a node at its broker. They are made here, by an authority of their own.

use std::path::{Path, PathBuf};

use archipelago_server::config::ConflictStrategyName;
use archipelago_testkit::nats::NatsServer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, StatusCode};
use serde_json::json as value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{log::Log, newcomer, refused};
use crate::{
    health::until_ready,
    support::{DEADLINE, NAMESPACE, Served, json},
};

/// Until when a certificate holds.
#[derive(Clone, Copy)]
enum Valid {
    Still,
    NoMore,
}

/// An authority, and what it has certified, as files.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Certified {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().expect("what the test stands on");
        let (key, mut params) =
            (KeyPair::generate().expect("what the test stands on"), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(
            folder.path().join("ca.pem"),
            params.self_signed(&key).expect("what the test stands on").pem(),
        )
        .expect("what the test stands on");
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn certify(&self, name: &str, valid: Valid) -> Certified {
        let key = KeyPair::generate().expect("what the test stands on");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .expect("what the test stands on");
        if let Valid::NoMore = valid {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let file = |suffix: &str| self.folder.path().join(format!("{name}.{suffix}"));
        let certified = Certified { certificate: file("pem"), key: file("key") };
        let signed = params.signed_by(&key, &self.issuer).expect("what the test stands on");
        std::fs::write(&certified.certificate, signed.pem()).expect("what the test stands on");
        std::fs::write(&certified.key, key.serialize_pem()).expect("what the test stands on");
        certified
    }
}

async fn node(certified: &Certified) -> Served {
    Served::with(ConflictStrategyName::Lww, |config| {
        config.http.tls_certificate = Some(certified.certificate.clone());
        config.http.tls_key = Some(certified.key.clone());
    })
    .await
}

#[tokio::test]
async fn a_client_does_not_speak_to_a_node_whose_certificate_has_expired() {
    let log = Log::begin();
    let authority = Authority::new();
    let (good, expired) = (authority.certify("good", Valid::Still), authority.certify("old", Valid::NoMore));
    let (served, stale) = (node(&good).await, node(&expired).await);
    let trusted =
        Certificate::from_pem(&std::fs::read(authority.certificate()).expect("what the test stands on"))
            .expect("what the test stands on");
    let client = Client::builder()
        .add_root_certificate(trusted)
        .timeout(DEADLINE)
        .build()
        .expect("what the test stands on");
    let live = |served: &Served| format!("https://{}/health/live", served.node.address());
    assert_eq!(
        client.get(live(&served)).send().await.expect("what the test stands on").status(),
        StatusCode::OK
    );
    for _ in 0..20 {
        let refused = client.get(live(&stale)).send().await.unwrap_err();
        assert!(format!("{refused:?}").contains("Expired"), "{refused:?}");
    }
    // The node is told why, once.
    assert_eq!(log.count(&refused("handshake")), 1, "{}", log.text());
    assert_eq!(
        client.get(live(&served)).send().await.expect("what the test stands on").status(),
        StatusCode::OK
    );
}

/// A server that lets in whoever has a certificate of this authority.
async fn broker(authority: &Authority, certified: &Certified) -> NatsServer {
    let quoted = |path: &Path| format!("{:?}", path.to_str().expect("what the test stands on"));
    let settings = format!(
        "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: true }}",
        quoted(&certified.certificate),
        quoted(&certified.key),
        quoted(&authority.certificate()),
    );
    NatsServer::builder()
        .settings(format!("{settings}\nhttp: \"127.0.0.1:-1\""))
        .start()
        .await
        .expect("a NATS server")
}

/// How many clients the server has let in.
async fn nats_clients(nats: &NatsServer) -> u64 {
    let url = format!("{}/connz", nats.monitor_url().expect("monitoring"));
    let answer = newcomer().get(url).send().await.expect("an answer");
    json(answer).await["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|client| client["name"].is_string())
        .count() as u64
}

async fn at_broker(nats: &NatsServer, authority: &Authority, certified: &Certified) -> Served {
    Served::with(ConflictStrategyName::Lww, |config| {
        config.nats.servers = vec![nats.url().replace("nats://", "tls://")];
        config.nats.tls_ca = Some(authority.certificate());
        config.nats.tls_certificate = Some(certified.certificate.clone());
        config.nats.tls_key = Some(certified.key.clone());
    })
    .await
}

#[tokio::test]
async fn a_broker_does_not_let_in_a_node_whose_certificate_has_expired_and_the_node_goes_on() {
    let authority = Authority::new();
    let nats = broker(&authority, &authority.certify("nats", Valid::Still)).await;
    let good = at_broker(&nats, &authority, &authority.certify("good", Valid::Still)).await;
    until_ready(&good).await;
    assert_eq!(good.put("a", &value!(1)).await.status(), StatusCode::OK);
    let stale = at_broker(&nats, &authority, &authority.certify("old", Valid::NoMore)).await;
    let link = async |served: &Served| served.json("/cluster/status").await["namespaces"][NAMESPACE].clone();
    let told = async {
        while link(&stale).await["link_reason"].is_null() {
            tokio::task::yield_now().await;
        }
        link(&stale).await
    };
    let told = timeout(DEADLINE, told).await.expect("a reason");
    assert_eq!(told["link"], "down", "{told}");
    // It takes writes, which wait, and the others notice nothing.
    assert_eq!(stale.put("b", &value!(1)).await.status(), StatusCode::OK);
    assert_eq!(stale.get("a").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(good.get("a").await.status(), StatusCode::OK);
    assert_eq!(link(&good).await["link"], "up");
}

#[tokio::test]
async fn a_node_does_not_speak_to_a_broker_whose_certificate_has_expired() {
    let authority = Authority::new();
    let nats = broker(&authority, &authority.certify("nats", Valid::NoMore)).await;
    let served = at_broker(&nats, &authority, &authority.certify("good", Valid::Still)).await;
    let link = async || served.json("/cluster/status").await["namespaces"][NAMESPACE].clone();
    let told = async {
        loop {
            let link = link().await;
            assert_eq!(link["link"], "down");
            if link["link_reason"].as_str().is_some_and(|reason| reason.contains("certificate")) {
                return link;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = timeout(DEADLINE, told).await.expect("the reason names the certificate");
    assert!(told["link_reason"].to_string().contains("expired"), "{told}");
    assert_eq!(nats_clients(&nats).await, 0);
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
}
