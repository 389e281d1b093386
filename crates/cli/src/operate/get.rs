use clap::Args;
use reqwest::{Method, header::ETAG};
use serde_json::{Value, json};

use super::{
    client::Client,
    error::OperateError,
    output,
    store::AtRest,
    target::{FormArgs, NamespaceArgs, NodeArgs, StoreArgs},
};

/// Print the value of an entity, as JSON.
///
/// --json prints its id and its ETag beside it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The id of the entity.
    id: String,
    /// Show CRDTs as they are stored, and not as what they amount to.
    #[arg(long)]
    stored: bool,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let Options { id, stored, form, .. } = &options;
    let (value, etag) = match &options.store.store {
        Some(folder) => AtRest::open(folder).await?.entity(id, *stored).await?,
        None => of_node(&options).await?,
    };
    if form.json {
        return output::json(&json!({ "id": id, "value": value, "etag": etag }));
    }
    let text = serde_json::to_string_pretty(&value);
    output::line(text.map_err(|error| OperateError::Output(error.into()))?)
}

async fn of_node(options: &Options) -> Result<(Value, String), OperateError> {
    let client = Client::new(&options.node)?;
    let mut request = client.within(Method::GET, &options.namespace.namespace, &["entities", &options.id])?;
    if options.stored {
        request = request.query(&[("form", "stored")]);
    }
    let response = client.send(request).await?;
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let etag = etag.trim_matches('"').to_owned();
    let body = response.bytes().await.map_err(|error| client.failed(&error))?;
    Ok((client.parse(&body)?, etag))
}
