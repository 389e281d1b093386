//! `put`, `patch` and `delete`: one write each.

use clap::Args;
use reqwest::{
    Method, RequestBuilder,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::{Client, body},
    error::OperateError,
    given, output,
    target::{FormArgs, NamespaceArgs, NodeArgs},
};

/// Give an entity a value.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The id of the entity.
    id: String,
    /// The value, JSON; - reads it from standard input, and @FILE from a file.
    value: String,
    /// Only if there is no such entity yet.
    #[arg(long, conflicts_with = "if_match")]
    if_absent: bool,
    #[command(flatten)]
    pub(super) how: How,
}

/// Set some fields of an entity; the others stay.
#[derive(Debug, Args)]
pub(crate) struct Patch {
    /// The id of the entity.
    id: String,
    /// The fields and their values, a JSON object; - reads it from standard input, and @FILE from a file.
    fields: String,
    #[command(flatten)]
    pub(super) how: How,
}

/// Remove an entity. It is no error if there is none, unless --if-match asks for one.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The id of the entity.
    id: String,
    #[command(flatten)]
    pub(super) how: How,
}

/// What holds for each write.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Only if the entity is still in this state, as `get --json` shows it; * for any.
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// How far the write must have come: local, pipeline, majority, or peers: and a number. One that has not come so far in
    /// time goes on all the same, and the exit status is 1.
    #[arg(long, value_name = "ACK")]
    ack: Option<String>,
    /// How long that is waited for, in milliseconds.
    #[arg(long, value_name = "MS")]
    wait_ms: Option<u64>,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
    /// Of a master.
    dot: Option<String>,
    /// Of a leader.
    sequence: Option<u64>,
    queued: bool,
    reached: Reach,
}

#[derive(Deserialize)]
struct Reach {
    enough: bool,
}

pub(super) async fn put(options: Put) -> Result<(), OperateError> {
    let value = given::value(&options.value).await?;
    let (client, mut request) = options.how.request(Method::PUT, &options.id)?;
    if options.if_absent {
        request = request.header(IF_NONE_MATCH, "*");
    }
    told(&client, body(request, &value), options.how.form).await
}

pub(super) async fn patch(options: Patch) -> Result<(), OperateError> {
    let fields = given::value(&options.fields).await?;
    let (client, request) = options.how.request(Method::PATCH, &options.id)?;
    told(&client, body(request, &fields), options.how.form).await
}

pub(super) async fn delete(options: Delete) -> Result<(), OperateError> {
    let (client, request) = options.how.request(Method::DELETE, &options.id)?;
    told(&client, request, options.how.form).await
}

impl How {
    fn request(&self, method: Method, id: &str) -> Result<(Client, RequestBuilder), OperateError> {
        let client = Client::new(&self.node)?;
        let mut request = client.within(method, &self.namespace.namespace, &["entities", id])?;
        if let Some(etag) = &self.if_match {
            let etag = if etag == "*" { etag.clone() } else { format!("\"{}\"", etag.trim_matches('"')) };
            request = request.header(IF_MATCH, etag);
        }
        if let Some(ack) = &self.ack {
            request = request.query(&[("ack", ack)]);
        }
        if let Some(wait_ms) = self.wait_ms {
            request = request.query(&[("wait_ms", wait_ms)]);
        }
        Ok((client, request))
    }
}

/// Sends a write, and tells of its receipt.
pub(super) async fn told(
    client: &Client,
    request: RequestBuilder,
    form: FormArgs,
) -> Result<(), OperateError> {
    let receipt: Value = client.data(request).await?;
    let Receipt { id, dot, sequence, queued, reached } = client.read(&receipt)?;
    let name = dot.or_else(|| sequence.map(|sequence| format!("entry {sequence}"))).unwrap_or_default();
    if form.json {
        output::json(&receipt)?;
    } else {
        let queued = if queued { "; it waits for the broker" } else { "" };
        output::line(format!("{id}: written as {name}{queued}"))?;
    }
    if reached.enough {
        return Ok(());
    }
    eprintln!("error: it has not come as far as --ack asks in time; it goes on all the same");
    Err(OperateError::Told)
}
