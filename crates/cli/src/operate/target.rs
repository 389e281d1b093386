use std::path::PathBuf;

use clap::Args;

/// Which node is spoken to, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The node")]
pub(crate) struct NodeArgs {
    /// The node.
    #[arg(
        long,
        value_name = "URL",
        env = "ARCHIPELAGO_NODE",
        default_value = "http://127.0.0.1:7070",
        hide_env_values = true
    )]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// How any node is spoken to.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The node")]
pub(crate) struct AccessArgs {
    /// The token to show it. A flag can be seen by everyone on this machine: better use the variable, or a file.
    #[arg(long, value_name = "TOKEN", env = "ARCHIPELAGO_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The file that holds the token; it goes before --token.
    #[arg(long, value_name = "FILE", env = "ARCHIPELAGO_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificate of the authority that signed that of the node, PEM, if it is not a public one.
    #[arg(long, value_name = "FILE", env = "ARCHIPELAGO_CA", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
}

/// Which namespace.
#[derive(Clone, Debug, Args)]
pub(crate) struct NamespaceArgs {
    /// The namespace.
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "ARCHIPELAGO_NAMESPACE",
        default_value = "default",
        hide_env_values = true
    )]
    pub(crate) namespace: String,
}

/// How the outcome is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FormArgs {
    /// Print JSON: one document, or one on each line of what streams.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A namespace of a node, and how the outcome is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct At {
    #[command(flatten)]
    pub(crate) form: FormArgs,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// A folder instead of a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// Read the folder of a store instead, on which no node runs; nothing in it is changed.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) store: Option<PathBuf>,
}
