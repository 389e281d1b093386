//! `repair` and `resync`: taking anew what another node has.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Client, body},
    error::OperateError,
    output,
    target::{FormArgs, NamespaceArgs, NodeArgs},
};

/// The path of both.
const PATH: [&str; 2] = ["cluster", "resync"];

/// Have a master take from another one whatever differs.
///
/// Ask the one that is wrong: docs/OPERATIONS.md says how to find out which that is. No write is made, and nothing is taken
/// away that only this master has.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The master that is right, by the name that `nodes` shows.
    #[arg(long, value_name = "NAME")]
    from: String,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Have a follower take the whole state of another node anew, or show how often nodes did.
///
/// For leader-follower namespaces; `repair` is for masters. It goes on behind the answer.
#[derive(Debug, Args)]
pub(crate) struct Resync {
    /// Who is to take it, by the name that `nodes` shows [default: the node that is asked].
    #[arg(long, value_name = "NAME", conflicts_with = "count")]
    target: Option<String>,
    /// Begin nothing, and show how often the node took what the log did not bring, in all its namespaces.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Mended {
    from: String,
    joined: Vec<String>,
    replaced: Vec<String>,
    left: Vec<LeftAlone>,
    is_truncated: bool,
}

#[derive(Deserialize)]
struct LeftAlone {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct Begun {
    node: String,
}

#[derive(Deserialize)]
struct Counts {
    namespaces: BTreeMap<String, BTreeMap<String, Value>>,
}

pub(super) async fn repair(options: Repair) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let order = json!({ "namespace": options.namespace.namespace, "from": options.from });
    let done: Value = client.data(body(client.request(Method::POST, &PATH)?, &order)).await?;
    if options.form.json {
        return output::json(&done);
    }
    let Mended { from, joined, replaced, left, is_truncated } = client.read(&done)?;
    let taken = joined.len() + replaced.len();
    output::line(format!("{taken} entities were taken from {from}, {} were left as they are", left.len()))?;
    if !left.is_empty() {
        let mut table = output::table(["left", "because"]);
        for LeftAlone { id, reason } in left {
            table.add_row([id, reason]);
        }
        output::line(table.to_string())?;
    }
    if is_truncated { output::line("there is more: repair again") } else { Ok(()) }
}

pub(super) async fn resync(options: Resync) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    if options.count {
        return counts(&client, options.form).await;
    }
    let mut order = json!({ "namespace": options.namespace.namespace });
    if let Some(target) = options.target {
        order["node"] = target.into();
    }
    let begun: Value = client.data(body(client.request(Method::POST, &PATH)?, &order)).await?;
    if options.form.json {
        return output::json(&begun);
    }
    let Begun { node } = client.read(&begun)?;
    output::line(format!(
        "{node} takes the state of another node anew; `archipelago resync --count` shows how it goes"
    ))
}

async fn counts(client: &Client, form: FormArgs) -> Result<(), OperateError> {
    let body = client.get(&PATH).await?;
    if form.json {
        return output::json(&body);
    }
    let Counts { namespaces } = client.read(&body)?;
    let mut table = output::table(["namespace", "what", "so far"]);
    for (namespace, counts) in namespaces {
        for (what, count) in counts {
            table.add_row([namespace.clone(), what.replace('_', " "), count.to_string()]);
        }
    }
    output::line(table.to_string())
}
