use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    confirm::confirm,
    error::OperateError,
    output,
    target::{At, FormArgs},
};

/// List the members of a namespace, or give one up.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the members that a node knows, also those that left or were retired.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Give up a member that does not come back, so that nothing waits for it any more, above all no removal.
    ///
    /// Should it come back, it joins again.
    Retire {
        /// The name of the member, without its incarnation.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    master: String,
    state: String,
    /// Not of those of the leader-follower mode.
    #[serde(default)]
    since: Option<String>,
}

impl Options {
    pub(super) fn form(&self) -> FormArgs {
        match &self.action {
            Action::List { at } | Action::Retire { at, .. } => at.form,
        }
    }
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    match options.action {
        Action::List { at } => {
            let client = Client::new(&at.node)?;
            let body: Value =
                client.data(client.within(Method::GET, &at.namespace.namespace, &["members"])?).await?;
            if at.form.json {
                return output::json(&body);
            }
            let Members { members } = client.read(&body)?;
            let mut table = output::table(["member", "state", "since"]);
            for member in members {
                table.add_row([member.master, member.state, member.since.unwrap_or_default()]);
            }
            output::line(table.to_string())
        }
        Action::Retire { name, yes, at } => {
            let client = Client::new(&at.node)?;
            if !yes {
                confirm(&format!("Give up {name} in the namespace {} for good?", at.namespace.namespace))
                    .await?;
            }
            let path = ["members", &*name, "retire"];
            let body: Value =
                client.data(client.within(Method::POST, &at.namespace.namespace, &path)?).await?;
            if at.form.json {
                return output::json(&body);
            }
            output::line(format!("{} is retired", body["retired"].as_str().unwrap_or(&name)))
        }
    }
}
