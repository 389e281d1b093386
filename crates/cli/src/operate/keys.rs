use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use archipelago::{PublicKey, SigningKey};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{self, Client},
    confirm::confirm,
    error::OperateError,
    output,
    target::{At, FormArgs},
};

/// Make the keys with which nodes sign what they say, and say which of them are believed.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a new key into a file that only its owner can read, and print the public key by which others know it.
    New {
        /// The file, which must not exist: `signatures.key_file` of the node.
        file: PathBuf,
        #[command(flatten)]
        form: FormArgs,
    },
    /// Print the public key of the key in a file.
    Show {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        form: FormArgs,
    },
    /// List the keys that a node knows, also those that were withdrawn.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Let in a node with a key: what is signed with it is believed from now on.
    ///
    /// All nodes that are set up to believe the one that is told so, or one that does, hear of it within seconds.
    Trust {
        /// The name of the node that has the key.
        name: String,
        /// Its public key, ed25519:...
        key: PublicKey,
        #[command(flatten)]
        at: At,
    },
    /// Withdraw a key: what is signed with it is believed no more, also what it signed before.
    Withdraw {
        /// The name of the node that has the key.
        name: String,
        /// Its public key, ed25519:...
        key: PublicKey,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
    refused: u64,
}

#[derive(Deserialize)]
struct Key {
    name: String,
    key: String,
    is_trusted: bool,
    is_own: bool,
}

impl Options {
    pub(super) fn form(&self) -> FormArgs {
        match &self.action {
            Action::New { form, .. } | Action::Show { form, .. } => *form,
            Action::List { at } | Action::Trust { at, .. } | Action::Withdraw { at, .. } => at.form,
        }
    }
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    match options.action {
        Action::New { file, form } => show(&make(&file)?, form),
        Action::Show { file, form } => show(&read(&file)?, form),
        Action::List { at } => list(&at).await,
        Action::Trust { name, key, at } => {
            change(&at, "trust", &name, key, &format!("{key} is believed to be {name}'s")).await
        }
        Action::Withdraw { name, key, yes, at } => {
            if !yes {
                let namespace = &at.namespace.namespace;
                confirm(&format!(
                    "Believe nothing more that {name} signs with {key} in the namespace {namespace}?"
                ))
                .await?;
            }
            change(&at, "withdraw", &name, key, &format!("{key} is withdrawn")).await
        }
    }
}

fn make(path: &Path) -> Result<SigningKey, OperateError> {
    let key = SigningKey::generate();
    let write = || -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "{}", key.to_secret_text())?;
        file.sync_all()
    };
    write().map_err(|source| OperateError::Write { path: path.to_owned(), source })?;
    Ok(key)
}

fn read(path: &Path) -> Result<SigningKey, OperateError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OperateError::Read { path: path.to_owned(), source })?;
    SigningKey::from_secret_text(&text)
        .map_err(|error| OperateError::File { path: path.to_owned(), reason: error.to_string() })
}

fn show(key: &SigningKey, form: FormArgs) -> Result<(), OperateError> {
    let public = key.public().to_string();
    match form.json {
        true => output::json(&json!({ "public": public })),
        false => output::line(public),
    }
}

async fn list(at: &At) -> Result<(), OperateError> {
    let client = Client::new(&at.node)?;
    let body: Value = client.data(client.within(Method::GET, &at.namespace.namespace, &["keys"])?).await?;
    if at.form.json {
        return output::json(&body);
    }
    let Keys { keys, refused } = client.read(&body)?;
    let mut table = output::table(["name", "key", "state"]);
    for key in keys {
        let state = match (key.is_trusted, key.is_own) {
            (true, true) => "its own",
            (true, false) => "trusted",
            (false, _) => "withdrawn",
        };
        table.add_row([&*key.name, &key.key, state]);
    }
    output::line(table.to_string())?;
    output::line(format!("{refused} messages were not believed since the node was started"))
}

async fn change(at: &At, how: &str, name: &str, key: PublicKey, done: &str) -> Result<(), OperateError> {
    let client = Client::new(&at.node)?;
    let request = client.within(Method::POST, &at.namespace.namespace, &["keys", how])?;
    let body: Value =
        client.data(client::body(request, &json!({ "name": name, "key": key.to_string() }))).await?;
    if at.form.json { output::json(&body) } else { output::line(done) }
}
