use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    error::OperateError,
    output,
    target::{FormArgs, NamespaceArgs, NodeArgs},
};

/// Show what a node did not take in: events stamped too far ahead, messages that nobody can read, entries that the log lost.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Deserialize)]
struct Quarantine {
    events: Vec<Event>,
    messages_unreadable: u64,
    orphans: Vec<Orphan>,
    is_truncated: bool,
}

#[derive(Deserialize)]
struct Event {
    dot: String,
    ahead_ms: u64,
}

#[derive(Deserialize)]
struct Orphan {
    sequence: u64,
    term: u64,
    operation: String,
    id: String,
    value: Option<Value>,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let request = client.within(Method::GET, &options.namespace.namespace, &["quarantine"])?;
    let body: Value = client.data(request).await?;
    if options.form.json {
        return output::json(&body);
    }
    let Quarantine { events, messages_unreadable, orphans, is_truncated } = client.read(&body)?;
    if events.is_empty() && orphans.is_empty() && messages_unreadable == 0 {
        return output::line("nothing is in quarantine");
    }
    if !events.is_empty() {
        let mut table = output::table(["write", "ahead of this node's clock"]);
        for Event { dot, ahead_ms } in events {
            table.add_row([dot, output::span(ahead_ms)]);
        }
        output::line(format!("They are applied by themselves once their time has come:\n{table}"))?;
    }
    if messages_unreadable > 0 {
        output::line(format!("{messages_unreadable} messages of the log could not be read since the start"))?;
    }
    if !orphans.is_empty() {
        let mut table = output::table(["entry", "term", "what", "entity", "value"]);
        for Orphan { sequence, term, operation, id, value } in orphans {
            let value = value.map_or_else(String::new, |value| value.to_string());
            table.add_row([sequence.to_string(), term.to_string(), operation, id, value]);
        }
        output::line(format!("The log lost these; write again what should count:\n{table}"))?;
    }
    if is_truncated { output::line("there are more") } else { Ok(()) }
}
