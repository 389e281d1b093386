use std::process::ExitCode;

use archipelago_server::{ApiToken, Role};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

/// Make tokens for those who use a node.
#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new token, which is kept nowhere, and the lines by which a node knows it.
    New {
        /// What its holder may do.
        #[arg(long, value_enum)]
        role: RoleName,
        /// What it is for, for people: 1 to 64 of A-Z a-z 0-9 _ -.
        #[arg(long, default_value = "new", value_parser = parse_name)]
        name: String,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Look.
    Read,
    /// Write data, too.
    Write,
    /// All else, too.
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Read => Role::Read,
            RoleName::Write => Role::Write,
            RoleName::Admin => Role::Admin,
        }
    }
}

/// A name that stands in TOML without quotes.
fn parse_name(name: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_allowed) {
        return Err("it is not 1 to 64 of A-Z a-z 0-9 _ -".to_owned());
    }
    Ok(name.to_owned())
}

pub(crate) fn token(options: TokenOptions) -> ExitCode {
    let Command::New { role, name, json } = options.command;
    let token = ApiToken::mint();
    if json {
        let (role, sha256) = (Role::from(role).to_string(), token.hash().to_string());
        println!("{}", json!({ "token": token.reveal(), "name": name, "role": role, "sha256": sha256 }));
        return ExitCode::SUCCESS;
    }
    println!("{}", token.reveal());
    println!();
    println!("# for the configuration of the node:");
    println!("[tokens.{name}]");
    println!("role = \"{}\"", Role::from(role));
    println!("sha256 = \"{}\"", token.hash());
    ExitCode::SUCCESS
}
