//! A node with a folder of its own, and a client of it.

use std::time::Duration;

use archipelago_server::{
    ApiToken, Config, Node, Role,
    config::{ConflictStrategyName, DurabilityName, NamespaceSection, TokenSection},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes, so that only a hang runs into it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The namespace of most tests.
pub(crate) const NAMESPACE: &str = "shop";

pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

/// A node that works for itself, on any free port.
pub(crate) fn config(folder: &TempDir, strategy: ConflictStrategyName) -> Config {
    let mut config = Config::default();
    config.node.name = Some("us-east".to_owned());
    config.node.data = folder.path().to_owned();
    config.node.durability = DurabilityName::Os;
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    let mut namespace = NamespaceSection::default();
    namespace.strategy = strategy;
    namespace.heartbeat_interval_ms = 50;
    config.namespaces.insert(NAMESPACE.to_owned(), namespace);
    config
}

/// A token of that role, which the node knows.
pub(crate) fn admit(config: &mut Config, name: &str, role: Role) -> ApiToken {
    let token = ApiToken::mint();
    let mut section = TokenSection::default();
    (section.role, section.sha256) = (role, Some(token.hash()));
    config.tokens.insert(name.to_owned(), section);
    token
}

impl Served {
    pub(crate) async fn alone() -> Served {
        Self::with(ConflictStrategyName::Lww, |_| {}).await
    }

    pub(crate) async fn with(strategy: ConflictStrategyName, change: impl FnOnce(&mut Config)) -> Served {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&folder, strategy);
        change(&mut config);
        let node = Node::start(config).await.expect("a node");
        // Another test of this program may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(DEADLINE).build().expect("a client");
        Served { node, client, folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.node.address())
    }

    pub(crate) fn entity(&self, id: &str) -> String {
        self.url(&format!("/v1/namespaces/{NAMESPACE}/entities/{id}"))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn put(&self, id: &str, value: &Value) -> Response {
        self.client.put(self.entity(id)).json(value).send().await.expect("an answer")
    }

    pub(crate) async fn get(&self, id: &str) -> Response {
        self.client.get(self.entity(id)).send().await.expect("an answer")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }
}

/// Looks again and again until there is something to be seen.
pub(crate) async fn until<T>(what: &str, mut looked: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = looked().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) async fn json(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// A header as text.
pub(crate) fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).expect("the header").to_str().expect("text").to_owned()
}

/// Holds the response against the type of a problem.
pub(crate) async fn is_problem(response: Response, status: StatusCode, name: &str) {
    let (found, kind) = (response.status(), header(&response, "content-type"));
    let body = json(response).await;
    assert_eq!((found, &*kind), (status, "application/problem+json"), "{body}");
    assert_eq!(body["type"], format!("urn:archipelago:problem:{name}"), "{body}");
    assert_eq!(body["status"], status.as_u16());
}
