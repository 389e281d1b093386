//! `archipelago doctor`: what is wrong with a node, its machine and its broker, and what to change.
//!
//! | module | noun |
//! |---|---|
//! | `finding` | what a check found |
//! | `machine` | room on the disk, open files |
//! | `broker` | whether the broker is there, new enough, and lets the node do what it must |
//! | `log`, `sync` | how the stream of a namespace is set; how often the broker syncs |
//! | `peers` | the other nodes: their clocks, how they resolve conflicts, who leads |
//! | `bytes` | bytes, as people read and write them |

mod broker;
mod bytes;
mod finding;
mod log;
mod machine;
mod peers;
mod sync;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use archipelago_server::{
    Config,
    config::{Mode, NamespaceSection},
    nats_config,
};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use self::finding::{Finding, Status};
use crate::{
    interrupt::{Interrupt, Interrupted},
    node::NodeFlags,
};

/// Say what is wrong with a node, its machine and its broker, and what to change.
///
/// It takes the configuration of the node, as `serve` does. The node may run or not; nothing is changed. The exit status is 1
/// if a check fails; warnings are none.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// How much room the disk of the data must have: bytes, or with K, M, G or T behind it.
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = bytes::parse)]
    disk_free_min: u64,
    /// How long the other nodes are listened to, in milliseconds: longer than their heartbeat interval.
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    listen_ms: u64,
    /// The monitoring of the NATS server, http://host:8222, to see how often it syncs.
    #[arg(long, value_name = "URL")]
    monitor: Option<String>,
    /// By how much the clock of this machine is taken for ahead.
    #[arg(long, value_name = "MS", default_value_t = 0, allow_negative_numbers = true, hide = true)]
    clock_offset_ms: i64,
    #[command(flatten)]
    node: NodeFlags,
}

/// The namespace of a node that was given none.
const NAMESPACE_DEFAULT: &str = "default";

pub(crate) async fn run(options: Options) -> ExitCode {
    let interrupt = Interrupt::listen();
    let findings = interrupt.unless(async { Ok::<_, Interrupted>(examine(&options).await) }).await;
    let Ok(findings) = findings else {
        eprintln!("error: interrupted");
        return ExitCode::from(130);
    };
    let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
    if options.json {
        println!("{}", json!({ "is_ok": worst != Status::Fail, "checks": findings }));
    } else {
        print(&findings);
    }
    if worst == Status::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn examine(options: &Options) -> Vec<Finding> {
    let config = match options.node.clone().load() {
        Ok(config) => config,
        Err(error) => {
            let advice = "`archipelago config example` shows every option";
            return vec![Finding::fail("configuration", error.to_string(), advice)];
        }
    };
    let mut findings = vec![Finding::ok("configuration", "it is fine")];
    findings.extend(machine::data(&config, options.disk_free_min));
    findings.push(machine::limits(&config));
    if config.nats.servers.is_empty() {
        findings.push(Finding::ok("broker", "nats.servers is empty: the node works for itself alone"));
        return findings;
    }
    findings.extend(broker_and_namespaces(&config, options).await);
    findings
}

async fn broker_and_namespaces(config: &Config, options: &Options) -> Vec<Finding> {
    let alone = BTreeMap::from([(NAMESPACE_DEFAULT.to_owned(), NamespaceSection::default())]);
    let namespaces = if config.namespaces.is_empty() { &alone } else { &config.namespaces };
    let mut findings = Vec::new();
    let mut is_first = true;
    for (name, section) in namespaces {
        let (found, examination) = broker::connect(nats_config(config, name)).await;
        if is_first || examination.is_none() {
            findings.extend(found);
        }
        let Some(mut examination) = examination else { return findings };
        let node = config.node.name.as_deref().unwrap_or_default();
        let (permissions, can_ask) = broker::permissions(&mut examination, node).await;
        findings.extend(permissions.into_iter().map(|finding| finding.of(name)));
        if can_ask {
            if is_first {
                findings.push(broker::jetstream(&examination).await);
            }
            let (found, stream) = log::check(&examination, config).await;
            findings.extend(found.into_iter().map(|finding| finding.of(name)));
            if is_first {
                let replicas = stream.as_ref().map_or(config.nats.replicas, |stream| stream.replicas);
                findings.push(sync::check(options.monitor.as_deref(), replicas).await);
            }
            let broker_ahead_ms = stream.as_ref().and_then(|stream| stream.clock_ahead_ms);
            let broker_ahead_ms = broker_ahead_ms.map(|ahead| ahead.saturating_sub(options.clock_offset_ms));
            let found = others(config, name, section, broker_ahead_ms, options).await;
            findings.extend(found.into_iter().map(|finding| finding.of(name)));
        }
        is_first = false;
    }
    findings
}

async fn others(
    config: &Config,
    namespace: &str,
    section: &NamespaceSection,
    broker_ahead_ms: Option<i64>,
    options: &Options,
) -> Vec<Finding> {
    let node = config.node.name.as_deref().unwrap_or_default();
    let duration = Duration::from_millis(options.listen_ms);
    let heard = peers::listen(nats_config(config, namespace), node, duration, options.clock_offset_ms);
    match heard.await {
        Ok(peers) => {
            let mut findings = peers::clock(&peers, broker_ahead_ms, section);
            findings.extend(peers::mode(&peers, section));
            match section.mode {
                Mode::MultiMaster => findings.extend(peers::strategies(&peers, section)),
                Mode::LeaderFollower => findings.push(peers::leader(&peers)),
                _ => {}
            }
            findings
        }
        Err(error) => {
            vec![Finding::warn(
                "strategies",
                error.to_string(),
                "try again: the other nodes could not be heard",
            )]
        }
    }
}

fn print(findings: &[Finding]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["check", "", "found", "what to change"]);
    for finding in findings {
        let check = match &finding.namespace {
            Some(namespace) => format!("{} ({namespace})", finding.check),
            None => finding.check.to_owned(),
        };
        let advice = finding.advice.clone().unwrap_or_default();
        table.add_row([check, finding.status.name().to_owned(), finding.found.clone(), advice]);
    }
    println!("{table}");
}
