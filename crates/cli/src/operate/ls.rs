use clap::Args;

use super::{
    client::Client,
    error::OperateError,
    output,
    pages::{Detail, Listed, Pages},
    store::AtRest,
    target::{FormArgs, NamespaceArgs, NodeArgs, StoreArgs},
};

/// List the entities whose id begins with a prefix, in the order of their ids.
///
/// One a line: with --values its value as JSON behind a tab, with --json all as JSON.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What their ids begin with.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// With their values.
    #[arg(long)]
    values: bool,
    /// So many at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
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
    let detail = if options.values { Detail::Values } else { Detail::Ids };
    let mut left = options.limit.unwrap_or(u64::MAX);
    let mut show = |page: Vec<Listed>| {
        for entity in page {
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            match (&entity.value, options.form.json) {
                (_, true) => output::json(&entity)?,
                (None, false) => output::line(&entity.id)?,
                (Some(value), false) => output::line(format!("{}\t{value}", entity.id))?,
            }
        }
        Ok::<_, OperateError>(left > 0)
    };
    if let Some(folder) = &options.store.store {
        let mut rows = AtRest::open(folder).await?.rows(&options.prefix, detail);
        while let Some(page) = rows.next().await? {
            if !show(page)? {
                return Ok(());
            }
        }
        return rows.end();
    }
    let client = Client::new(&options.node)?;
    let mut pages = Pages::new(&client, &options.namespace.namespace, &options.prefix, detail);
    while let Some(page) = pages.next().await? {
        if !show(page)? {
            break;
        }
    }
    Ok(())
}
