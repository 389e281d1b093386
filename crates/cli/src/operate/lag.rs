use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    error::OperateError,
    output,
    target::{FormArgs, NodeArgs},
};

/// Clears a terminal, and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show how far the other nodes are from a node, as their latest heartbeats told.
///
/// With --watch until Ctrl-C, which is the way to end it: the exit status is 0 then.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Show it again and again.
    #[arg(long)]
    watch: bool,
    /// How often, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(50..))]
    interval_ms: u64,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Sync {
    namespaces: BTreeMap<String, Vec<PeerSync>>,
}

#[derive(Deserialize)]
struct PeerSync {
    peer: String,
    health: String,
    silent_ms: u64,
    ahead_events: u64,
    behind_events: u64,
    clock_ahead_ms: Option<i64>,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let mut sync = client.get(&["cluster", "sync"]).await?;
    if !options.watch {
        return show(&client, &sync, options.form);
    }
    let mut beat = tokio::time::interval(Duration::from_millis(options.interval_ms));
    beat.tick().await;
    let clears = !options.form.json && io::stdout().is_terminal();
    loop {
        if clears {
            output::line(CLEAR)?;
        }
        show(&client, &sync, options.form)?;
        beat.tick().await;
        sync = match client.get(&["cluster", "sync"]).await {
            Ok(sync) => sync,
            // A node that is started again is watched further.
            Err(error) if error.may_pass() => {
                eprintln!("{error}");
                continue;
            }
            Err(error) => return Err(error),
        };
    }
}

fn show(client: &Client, body: &Value, form: FormArgs) -> Result<(), OperateError> {
    if form.json {
        return output::json(body);
    }
    let Sync { namespaces } = client.read(body)?;
    if namespaces.values().all(Vec::is_empty) {
        return output::line("no other node was heard yet");
    }
    let mut table =
        output::table(["namespace", "peer", "health", "heard", "lacking here", "lacking there", "its clock"]);
    for (namespace, peers) in namespaces {
        for peer in peers {
            table.add_row([
                namespace.clone(),
                peer.peer,
                peer.health,
                format!("{} ago", output::span(peer.silent_ms)),
                peer.ahead_events.to_string(),
                peer.behind_events.to_string(),
                peer.clock_ahead_ms.map_or("-".to_owned(), output::offset),
            ]);
        }
    }
    output::line(table.to_string())
}
