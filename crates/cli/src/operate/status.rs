use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use super::{
    client::Client,
    error::OperateError,
    leadership::Leadership,
    output,
    store::AtRest,
    target::{FormArgs, NodeArgs, StoreArgs},
};

/// Show how a node is, namespace by namespace.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Status {
    node: String,
    version: String,
    is_ready: bool,
    #[serde(default)]
    reasons: Vec<String>,
    namespaces: BTreeMap<String, NamespaceStatus>,
}

#[derive(Deserialize)]
struct NamespaceStatus {
    mode: String,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    leadership: Option<Leadership>,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    link_reason: Option<String>,
    #[serde(default)]
    is_caught_up: bool,
    #[serde(default)]
    metrics: BTreeMap<String, serde_json::Value>,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    if let Some(folder) = &options.store.store {
        return at_rest(AtRest::open(folder).await?, options.form).await;
    }
    let client = Client::new(&options.node)?;
    let body = client.get(&["cluster", "status"]).await?;
    if options.form.json {
        return output::json(&body);
    }
    let status: Status = client.read(&body)?;
    let state = if status.is_ready { "ready" } else { "not ready" };
    output::line(format!("node {} at {}, version {}: {state}", status.node, client.url(), status.version))?;
    for reason in &status.reasons {
        output::line(format!("  {reason}"))?;
    }
    let mut table = output::table([
        "namespace",
        "mode",
        "master or role",
        "broker",
        "caught up",
        "peers",
        "outbox",
        "quarantine",
    ]);
    for (name, namespace) in &status.namespaces {
        let count = |name: &str| namespace.metrics.get(name).map_or("-".to_owned(), ToString::to_string);
        let who = namespace.master.clone();
        let who = who.or_else(|| namespace.leadership.as_ref().map(Leadership::shown));
        table.add_row([
            name.clone(),
            namespace.mode.clone(),
            who.unwrap_or_else(|| "-".into()),
            namespace.link.clone().unwrap_or_else(|| "-".into()),
            if namespace.is_caught_up { "yes" } else { "no" }.to_owned(),
            count("active_peers"),
            count("outbox_len"),
            count("quarantined"),
        ]);
    }
    output::line(table.to_string())?;
    for (name, namespace) in &status.namespaces {
        if let Some(reason) = &namespace.link_reason {
            output::line(format!("the broker of {name}: {reason}"))?;
        }
    }
    Ok(())
}

async fn at_rest(store: AtRest, form: FormArgs) -> Result<(), OperateError> {
    let summary = store.summary().await?;
    if form.json {
        return output::json(&summary);
    }
    let mut table = output::table(["", "in this store"]);
    table.add_row(["master", &summary.master]);
    table.add_row(["namespace", &summary.namespace]);
    let counts = [
        ("entities", summary.entities),
        ("removed, of which a tombstone is left", summary.tombstones),
        ("conflicted", summary.conflicted),
        ("writes that wait for the broker", summary.outbox),
        ("rows that cannot be read", summary.damaged.len() as u64),
    ];
    for (what, count) in counts {
        table.add_row([what, &count.to_string()]);
    }
    for (replica, sequence) in &summary.vector {
        table.add_row([format!("has of {replica}"), sequence.to_string()]);
    }
    output::line(table.to_string())?;
    for entity in &summary.damaged {
        output::line(format!("cannot be read: {entity}"))?;
    }
    Ok(())
}
