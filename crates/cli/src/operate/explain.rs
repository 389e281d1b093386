use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    conflicts::{Past, show_past},
    error::OperateError,
    output,
    siblings::Siblings,
    target::{FormArgs, NamespaceArgs, NodeArgs},
};

/// Show why an entity has the value that it has: what is live of it, the rule, and what lost.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The id of the entity.
    id: String,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Why {
    entity: Siblings,
    strategy: String,
    rule: String,
    conflicts: Vec<Past>,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let path = ["entities", &*options.id, "explain"];
    let body: Value = client.data(client.within(Method::GET, &options.namespace.namespace, &path)?).await?;
    if options.form.json {
        return output::json(&body);
    }
    let why: Why = client.read(&body)?;
    why.entity.show()?;
    output::line(format!("\nstrategy {}: {}\n", why.strategy, why.rule))?;
    show_past(&why.conflicts)
}
