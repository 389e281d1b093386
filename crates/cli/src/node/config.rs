use std::process::ExitCode;

use archipelago_server::config::example;
use clap::{Args, Subcommand};
use serde_json::json;

use super::flags::NodeFlags;

/// Check the configuration of a node, or print an example of one.
#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a node would take the configuration, and which option is wrong if not.
    Check {
        /// Print one JSON document, with the configuration that flags, variables and file give; secrets are masked.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        node: NodeFlags,
    },
    /// Print a file with every option, its default and what it does.
    Example,
}

pub(crate) fn config(options: ConfigOptions) -> ExitCode {
    match options.command {
        Command::Check { json, node } => match node.load() {
            Ok(config) => {
                match json {
                    true => println!("{}", json!({ "is_ok": true, "config": config })),
                    false => println!("the configuration is fine"),
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                if json {
                    println!("{}", json!({ "is_ok": false, "error": error.to_string() }));
                }
                ExitCode::FAILURE
            }
        },
        Command::Example => {
            print!("{}", example());
            ExitCode::SUCCESS
        }
    }
}
