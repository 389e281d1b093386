use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Client, body},
    error::OperateError,
    given, output,
    siblings::Siblings,
    target::{At, FormArgs},
    write::told,
};

/// List, show and resolve conflicts.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the entities that wait for someone to resolve a conflict.
    ///
    /// Only those under the strategy `manual` do. --past lists the conflicts that were decided, under any strategy, as far as
    /// the node remembers them.
    List {
        /// Those that were decided.
        #[arg(long)]
        past: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show all versions of an entity that are live.
    Show {
        /// The id of the entity.
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Resolve a conflict: a value takes the place of all versions that `conflicts show` shows.
    ///
    /// What is written in between stays, and is a conflict again.
    Resolve {
        /// The id of the entity.
        id: String,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        at: At,
    },
}

/// What a conflict becomes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct By {
    /// The version of this name, as `conflicts show` shows it.
    #[arg(long, value_name = "VERSION")]
    take: Option<String>,
    /// This value, JSON; - reads it from standard input, and @FILE from a file.
    #[arg(long, value_name = "VALUE")]
    value: Option<String>,
    /// The entity is removed.
    #[arg(long)]
    remove: bool,
}

#[derive(Deserialize)]
struct Page {
    conflicts: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Past {
    id: String,
    strategy: String,
    clashes: Vec<Clash>,
}

#[derive(Deserialize)]
struct Clash {
    field: Option<String>,
    winner: Side,
    loser: Side,
    reason: String,
}

#[derive(Deserialize)]
struct Side {
    dot: String,
    value: Option<Value>,
}

impl Options {
    pub(super) fn form(&self) -> FormArgs {
        match &self.action {
            Action::List { at, .. } | Action::Show { at, .. } | Action::Resolve { at, .. } => at.form,
        }
    }
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    match options.action {
        Action::List { past: false, at } => list(&at).await,
        Action::List { past: true, at } => past(&at).await,
        Action::Show { id, at } => {
            let body = versions(&at, &id).await?;
            if at.form.json {
                output::json(&body)
            } else {
                Client::new(&at.node)?.read::<Siblings>(&body)?.show()
            }
        }
        Action::Resolve { id, by, at } => resolve(&at, &id, by).await,
    }
}

async fn versions(at: &At, id: &str) -> Result<Value, OperateError> {
    let client = Client::new(&at.node)?;
    let request = client.within(Method::GET, &at.namespace.namespace, &["entities", id, "versions"])?;
    client.data(request).await
}

async fn list(at: &At) -> Result<(), OperateError> {
    let client = Client::new(&at.node)?;
    let mut cursor: Option<String> = None;
    let mut table = output::table(["entity", "versions", "shown"]);
    let mut count = 0_u64;
    loop {
        let mut request = client.within(Method::GET, &at.namespace.namespace, &["conflicts"])?;
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let page: Page = client.data(request).await?;
        for conflict in page.conflicts {
            count += 1;
            if at.form.json {
                output::json(&conflict)?;
                continue;
            }
            let Siblings { id, versions, value, .. } = client.read(&conflict)?;
            let shown = value.map_or("removed".to_owned(), |value| value.to_string());
            table.add_row([id, versions.len().to_string(), shown]);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    match (at.form.json, count) {
        (true, _) => Ok(()),
        (false, 0) => output::line("no conflict waits for anyone"),
        (false, _) => output::line(table.to_string()),
    }
}

async fn past(at: &At) -> Result<(), OperateError> {
    let client = Client::new(&at.node)?;
    let request = client.within(Method::GET, &at.namespace.namespace, &["conflicts", "past"])?;
    let Page { conflicts, .. } = client.data(request).await?;
    if at.form.json {
        return conflicts.iter().try_for_each(output::json);
    }
    let mut decided = Vec::with_capacity(conflicts.len());
    for conflict in &conflicts {
        decided.push(client.read::<Past>(conflict)?);
    }
    show_past(&decided)
}

/// Conflicts that were decided, for people.
pub(super) fn show_past(conflicts: &[Past]) -> Result<(), OperateError> {
    if conflicts.is_empty() {
        return output::line("no conflict is remembered");
    }
    let mut table = output::table(["entity", "strategy", "won", "lost", "because"]);
    for Past { id, strategy, clashes } in conflicts {
        for Clash { field, winner, loser, reason } in clashes {
            let id = match field {
                Some(field) if !field.is_empty() => format!("{id} {field}"),
                _ => id.clone(),
            };
            table.add_row([id, strategy.clone(), side(winner), side(loser), reason.clone()]);
        }
    }
    output::line(table.to_string())
}

fn side(side: &Side) -> String {
    let value = side.value.as_ref().map_or("removed".to_owned(), Value::to_string);
    format!("{value}\n{}", side.dot)
}

async fn resolve(at: &At, id: &str, by: By) -> Result<(), OperateError> {
    let given = match &by.value {
        Some(value) => Some(given::value(value).await?),
        None => None,
    };
    let client = Client::new(&at.node)?;
    let found: Siblings = client.read(&versions(at, id).await?)?;
    if !found.is_conflicted {
        return Err(OperateError::Refused {
            reason: format!("{id:?} is not conflicted; nothing was written"),
        });
    }
    let value = match by.take {
        None => given,
        Some(dot) => {
            let taken = found.versions.iter().find(|version| version.dot == dot);
            let taken = taken.ok_or_else(|| OperateError::Refused {
                reason: format!(
                    "{id:?} has no live version {dot:?}; `archipelago conflicts show` shows them"
                ),
            })?;
            if taken.is_removal { None } else { taken.value.clone() }
        }
    };
    let mut resolution = json!({ "context": found.context });
    if let Some(value) = value {
        resolution["value"] = value;
    }
    let request = client.within(Method::POST, &at.namespace.namespace, &["entities", id, "resolve"])?;
    told(&client, body(request, &resolution), at.form).await
}
