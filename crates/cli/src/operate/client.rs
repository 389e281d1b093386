//! One node, spoken to over HTTP.

use std::{error::Error, time::Duration};

use reqwest::{Certificate, Method, RequestBuilder, Response, Url, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    error::OperateError,
    target::{AccessArgs, NodeArgs},
};

/// How long a node may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may say nothing. It is longer than the pauses within streams, and than a request may wait.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How much of what is no problem is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// What the type of each problem begins with.
const PROBLEM_TYPE_PREFIX: &str = archipelago_server::PROBLEM_TYPE_PREFIX;

/// A client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

impl Client {
    /// A client of the node that the arguments name. Nothing is sent yet.
    pub(crate) fn new(args: &NodeArgs) -> Result<Client, OperateError> {
        Client::of(&args.node, &args.access)
    }

    /// A client of the node at this address.
    pub(crate) fn of(node: &str, args: &AccessArgs) -> Result<Client, OperateError> {
        let wrong = || OperateError::Address { url: shown(node) };
        let base = Url::parse(node).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(wrong());
        }
        // Another one may have been set already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            // A token goes to nobody but the node.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("archipelago/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "https" {
            for certificate in trusted(args)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some(token) = token(args)? {
            let mut value =
                header::HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| OperateError::Token)?;
            value.set_sensitive(true);
            builder = builder.default_headers(header::HeaderMap::from_iter([(header::AUTHORIZATION, value)]));
        }
        let http = builder.build().map_err(|error| OperateError::Unreachable {
            url: shown(node),
            reason: innermost(&error).to_string(),
        })?;
        Ok(Client { http, base })
    }

    /// The node, for people.
    pub(crate) fn url(&self) -> String {
        shown(self.base.as_str())
    }

    /// A request to the path of these segments, which may hold slashes.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, OperateError> {
        let mut url = self.base.clone();
        let wrong = || OperateError::Address { url: self.url() };
        {
            let mut segments = url.path_segments_mut().map_err(|()| wrong())?;
            segments.pop_if_empty();
            for segment in path {
                if matches!(*segment, "" | "." | "..") {
                    return Err(OperateError::Id { id: (*segment).to_owned() });
                }
                segments.push(segment);
            }
        }
        Ok(self.http.request(method, url))
    }

    /// A request about a namespace.
    pub(crate) fn within(
        &self,
        method: Method,
        namespace: &str,
        path: &[&str],
    ) -> Result<RequestBuilder, OperateError> {
        self.request(method, &[&["v1", "namespaces", namespace][..], path].concat())
    }

    /// Sends a request; what is no success is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, OperateError> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        match serde_json::from_slice::<ProblemBody>(&body) {
            Ok(problem) if problem.kind.starts_with(PROBLEM_TYPE_PREFIX) => Err(OperateError::Problem {
                status: status.as_u16(),
                name: problem.kind[PROBLEM_TYPE_PREFIX.len()..].to_owned(),
                detail: problem.detail,
            }),
            _ => {
                let text = String::from_utf8_lossy(&body);
                let start: String = text.trim().chars().take(SHOWN_CHARS_MAX).collect();
                Err(OperateError::Foreign { url: self.url(), reason: format!("{status} {start:?}") })
            }
        }
    }

    /// Sends a request that is answered with data.
    pub(crate) async fn data<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, OperateError> {
        let response = self.send(request).await?;
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        self.parse(&body)
    }

    /// What a path shows.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, OperateError> {
        self.data(self.request(Method::GET, path)?).await
    }

    /// What an answer says.
    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, OperateError> {
        serde_json::from_slice(body).map_err(|error| self.strange(&error))
    }

    /// What an answer says, of which this program reads a part.
    pub(crate) fn read<T: DeserializeOwned>(&self, body: &Value) -> Result<T, OperateError> {
        T::deserialize(body).map_err(|error| self.strange(&error))
    }

    fn strange(&self, error: &serde_json::Error) -> OperateError {
        OperateError::Foreign { url: self.url(), reason: format!("its answer is not understood: {error}") }
    }

    pub(crate) fn failed(&self, error: &reqwest::Error) -> OperateError {
        let (url, reason) = (self.url(), innermost(error).to_string());
        if reason.contains("certificate") {
            return OperateError::Untrusted { url, reason };
        }
        let reason = if error.is_timeout() { "it takes too long".to_owned() } else { reason };
        OperateError::Unreachable { url, reason }
    }
}

/// A body of JSON.
pub(crate) fn body(request: RequestBuilder, value: &impl Serialize) -> RequestBuilder {
    request.json(value)
}

fn token(args: &AccessArgs) -> Result<Option<String>, OperateError> {
    let Some(path) = &args.token_file else { return Ok(args.token.clone()) };
    let text =
        std::fs::read_to_string(path).map_err(|source| OperateError::Read { path: path.clone(), source })?;
    Ok(Some(text.trim().to_owned()))
}

/// The authorities that may vouch for a node: the named one, or else those of the system.
fn trusted(args: &AccessArgs) -> Result<Vec<Certificate>, OperateError> {
    let Some(path) = &args.ca else {
        let found = rustls_native_certs::load_native_certs();
        return Ok(found.certs.iter().filter_map(|cert| Certificate::from_der(cert).ok()).collect());
    };
    let pem = std::fs::read(path).map_err(|source| OperateError::Read { path: path.clone(), source })?;
    let certificates = Certificate::from_pem_bundle(&pem);
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| OperateError::File {
        path: path.clone(),
        reason: "there is no certificate in it; --ca is a PEM file".into(),
    })
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.as_str().trim_end_matches('/').to_owned()
        }
        Err(_) => url.to_owned(),
    }
}

/// What lies beneath an error: reqwest's own says hardly more than that there is one.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
