use clap::Args;
use serde::Deserialize;

use super::{
    client::Client,
    error::OperateError,
    output,
    target::{FormArgs, NodeArgs},
};

/// List the nodes that a node hears, itself included.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<NodeView>,
}

#[derive(Deserialize)]
struct NodeView {
    node: String,
    is_self: bool,
    namespaces: Vec<String>,
    silent_ms: u64,
    /// Where clients reach it, if it told.
    address: Option<String>,
    /// The namespaces that it leads.
    #[serde(default)]
    leads: Vec<String>,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let body = client.get(&["cluster", "nodes"]).await?;
    if options.form.json {
        return output::json(&body);
    }
    let Nodes { nodes } = client.read(&body)?;
    let mut table = output::table(["node", "heard", "namespaces", "leads", "address"]);
    for node in nodes {
        let heard = match node.is_self {
            true => "is the one asked".to_owned(),
            false => format!("{} ago", output::span(node.silent_ms)),
        };
        let address = node.address.unwrap_or_default();
        table.add_row([node.node, heard, node.namespaces.join(", "), node.leads.join(", "), address]);
    }
    output::line(table.to_string())
}
