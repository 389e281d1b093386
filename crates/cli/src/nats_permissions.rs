//! `archipelago nats-permissions`: what the user of a node must be allowed at the broker, and nothing more.

use std::process::ExitCode;

use archipelago::{
    pipeline::PipelineError,
    pipeline_nats::{LogPermissions, NatsPermissions, Permission},
};
use clap::{Args, ValueEnum};
use serde_json::json;

/// Print what the NATS user of a node must be allowed, and nothing more.
///
/// Give each node a user of its own with these, and none can write in the name of another one. It is the section
/// `permissions` of a user in the configuration of nats-server:
///
/// authorization { users: [ { user: paris, password: ..., permissions: { ... } } ] }
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The name of the node, as in its configuration.
    #[arg(long, value_name = "NAME")]
    node: String,

    /// A namespace; give it again for more.
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: Vec<String>,

    /// The namespaces are of the mode leader-follower: also the lease.
    #[arg(long)]
    leader_follower: bool,

    /// Snapshots are kept in this bucket of the object store.
    #[arg(long, value_name = "BUCKET")]
    snapshots: Option<String>,

    /// What the node may do to the log beside reading and writing it.
    #[arg(long, value_enum, default_value_t = Log::MakeAndTrim)]
    log: Log,

    /// The domain of JetStream, if the servers have one.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// Print JSON: the lists `publish` and `subscribe`, each of subjects and what they are for.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    /// Nothing: somebody else makes the streams and trims them.
    Use,
    /// Make the streams that are not there.
    Make,
    /// Make them, and remove what snapshots cover.
    MakeAndTrim,
}

impl From<Log> for LogPermissions {
    fn from(log: Log) -> Self {
        match log {
            Log::Use => LogPermissions::Use,
            Log::Make => LogPermissions::Make,
            Log::MakeAndTrim => LogPermissions::MakeAndTrim,
        }
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match permissions(options) {
        Ok(permissions) if options.json => {
            let list = |permissions: Vec<Permission>| -> Vec<_> {
                let shown = permissions.into_iter();
                shown.map(|may| json!({ "subject": may.subject, "purpose": may.purpose })).collect()
            };
            println!(
                "{}",
                json!({
                    "publish": list(permissions.publish()),
                    "subscribe": list(permissions.subscribe()),
                    "allow_responses": true,
                })
            );
            ExitCode::SUCCESS
        }
        Ok(permissions) => {
            print!("{}", permissions.to_server_config());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn permissions(options: &Options) -> Result<NatsPermissions, PipelineError> {
    let mut namespaces = options.namespace.iter();
    let first = namespaces.next().map_or("default", String::as_str);
    let mut permissions = NatsPermissions::new(first, &options.node)?.log(options.log.into());
    for namespace in namespaces {
        permissions = permissions.and(namespace)?;
    }
    if options.leader_follower {
        permissions = permissions.may_lead();
    }
    if let Some(bucket) = &options.snapshots {
        permissions = permissions.snapshots(bucket);
    }
    if let Some(domain) = &options.domain {
        permissions = permissions.domain(domain);
    }
    Ok(permissions)
}
