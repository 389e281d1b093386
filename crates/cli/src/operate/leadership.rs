//! `promote` and `demote`: who leads a leader-follower namespace.

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{client::Client, error::OperateError, output, target::At};

/// Make a node lead a leader-follower namespace: whoever leads hands over, or is deposed if it does not answer.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(super) at: At,
}

/// Make a node follow in a leader-follower namespace: what is on its way is finished, and others are elected.
#[derive(Debug, Args)]
pub(crate) struct Demote {
    #[command(flatten)]
    pub(super) at: At,
}

/// How a node stands in a leader-follower namespace.
#[derive(Debug, Deserialize)]
pub(super) struct Leadership {
    role: String,
    term: u64,
    #[serde(default)]
    health: Option<String>,
    #[serde(default)]
    lag_entries: Option<u64>,
}

impl Leadership {
    pub(super) fn shown(&self) -> String {
        let Leadership { role, term, health, lag_entries } = self;
        let mut shown = format!("{role} in term {term}");
        if let Some(health) = health {
            shown += &format!(", {health}");
        }
        if let Some(lag) = lag_entries.filter(|lag| *lag > 0) {
            shown += &format!(", {lag} entries behind");
        }
        shown
    }
}

pub(super) async fn promote(options: Promote) -> Result<(), OperateError> {
    change(options.at, "promote").await
}

pub(super) async fn demote(options: Demote) -> Result<(), OperateError> {
    change(options.at, "demote").await
}

async fn change(at: At, how: &str) -> Result<(), OperateError> {
    let client = Client::new(&at.node)?;
    let body: Value = client.data(client.within(Method::POST, &at.namespace.namespace, &[how])?).await?;
    if at.form.json {
        return output::json(&body);
    }
    let leadership: Leadership = client.read(&body)?;
    output::line(format!("{}: it is the {}", client.url(), leadership.shown()))
}
