use std::{io::Write, process::ExitCode};

use archipelago_server::{Drained, Node};
use clap::Args;

use super::flags::NodeFlags;
use crate::interrupt::Interrupt;

/// Run a node: namespaces over HTTP.
///
/// It ends on Ctrl-C or SIGTERM, after it has finished what is under way; a second one ends it at once.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    node: NodeFlags,
}

pub(crate) async fn serve(options: ServeOptions) -> ExitCode {
    let interrupt = Interrupt::listen();
    let config = match options.node.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    let node = match Node::start(config).await {
        Ok(node) => node,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Nobody need to read it: a node goes on, and ends in order, if its output is closed.
    let _ = writeln!(std::io::stdout(), "listening at {scheme}://{}", node.address());
    interrupt.interrupted().await;
    let _ = writeln!(std::io::stdout(), "ending");
    match node.drain().await {
        Drained { store_failed: false, .. } => ExitCode::SUCCESS,
        _ => {
            eprintln!("error: a store was not closed cleanly; RUST_LOG=error says why");
            ExitCode::FAILURE
        }
    }
}
