//! What somebody does who means harm: each is refused or bounded, told in the log once, and harms nobody else. What a node needs
//! of memory and file descriptors meanwhile is measured on the program, in `crates/cli/tests/hostile.rs`.

mod bodies;
mod certificates;
mod connections;
mod forgeries;
mod log;
mod streams;
mod tokens;

use std::sync::OnceLock;

use reqwest::{Client, StatusCode};

use crate::support::{DEADLINE, Served};

/// The line of the log that tells of clients that were refused for this reason.
fn refused(reason: &str) -> String {
    format!("reason=\"{reason}\"")
}

/// A client that makes a connection for each request, as somebody does who comes while others do harm.
fn newcomer() -> &'static Client {
    static NEWCOMER: OnceLock<Client> = OnceLock::new();
    NEWCOMER.get_or_init(|| {
        Client::builder().timeout(DEADLINE).pool_max_idle_per_host(0).build().expect("a client")
    })
}

/// Others are answered as ever.
async fn is_unharmed(served: &Served) {
    for _ in 0..20 {
        let live = newcomer().get(served.url("/health/live")).send().await.expect("an answer");
        assert_eq!(live.status(), StatusCode::OK);
    }
}

/// How often clients were refused for this reason, as `/metrics` tells.
async fn refusals(served: &Served, reason: &str) -> u64 {
    let answer = newcomer().get(served.url("/metrics")).send().await.expect("an answer");
    let text = answer.text().await.expect("text");
    let name = format!("archipelago_clients_refused_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("the measure");
    line.parse().expect("a number")
}
