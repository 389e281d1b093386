//! The log of a namespace: how its stream is set.

use std::time::Duration;

use archipelago::pipeline_nats::{Examination, Storage, StreamSettings};
use archipelago_server::Config;

use super::{broker::is_nearly_full, bytes, finding::Finding};

/// A window that is shorter does not outlast the retries of a write.
const DUPLICATE_WINDOW_MIN: Duration = Duration::from_secs(10);

/// What is wrong with the stream, if anything.
pub(super) async fn check(
    examination: &Examination,
    config: &Config,
) -> (Vec<Finding>, Option<StreamSettings>) {
    match examination.stream().await {
        Ok(None) => {
            let found = "there is none yet; the first node that is started makes it";
            (vec![Finding::ok("stream", found)], None)
        }
        Ok(Some(stream)) => {
            let mut findings = wrong(&stream, config);
            if findings.is_empty() {
                let (replicas, size) = (stream.replicas, bytes::shown(stream.bytes));
                findings.push(Finding::ok("stream", format!("{}, replicas {replicas}, {size}", stream.name)));
            }
            (findings, Some(stream))
        }
        Err(error) => {
            let advice = "look at the log of the server, and at the permission to use $JS.API.>";
            (vec![Finding::fail("stream", error.to_string(), advice)], None)
        }
    }
}

fn wrong(stream: &StreamSettings, config: &Config) -> Vec<Finding> {
    let edit = |change: &str| format!("nats stream edit {} {change}", stream.name);
    let mut findings = Vec::new();
    if !stream.unusable.is_empty() {
        findings.push(Finding::fail(
            "stream",
            format!("{} cannot be used: {}", stream.name, stream.unusable.join(", ")),
            "mend that, or remove it (nats stream rm) when all nodes run, and one of them makes it anew",
        ));
    }
    if !stream.refuses_when_full {
        findings.push(Finding::fail(
            "stream-discard",
            format!("{} forgets what is old when it is full, without anyone noticing", stream.name),
            edit("--discard new"),
        ));
    }
    if let Some(age) = stream.max_age {
        findings.push(Finding::warn(
            "stream-retention",
            format!(
                "{} forgets messages after {age:?}: a node that is away for longer needs a repair",
                stream.name
            ),
            edit("--max-age 0"),
        ));
    }
    if let Some(messages) = stream.messages_max {
        findings.push(Finding::warn(
            "stream-retention",
            format!("{} holds {messages} messages at most", stream.name),
            edit("--max-msgs=-1 --max-msgs-per-subject=-1"),
        ));
    }
    if let Some(max) = stream.bytes_max.filter(|max| is_nearly_full(stream.bytes, *max)) {
        let (used, max) = (bytes::shown(stream.bytes), bytes::shown(max));
        findings.push(Finding::warn(
            "stream-retention",
            format!("{} holds {used} of {max}; full, it takes no more writes", stream.name),
            "trim it below a snapshot, or raise the limit",
        ));
    }
    if stream.replicas < config.nats.replicas {
        let wanted = config.nats.replicas;
        findings.push(Finding::warn(
            "stream-replicas",
            format!("{} is on {} servers, and nats.replicas is {wanted}", stream.name, stream.replicas),
            edit(&format!("--replicas {wanted}")),
        ));
    }
    if stream.storage == Storage::Memory {
        findings.push(Finding::warn(
            "stream-storage",
            format!("{} is in memory: it is gone with its servers, and repairs take its place", stream.name),
            "set nats.storage to \"file\", and have the log made anew",
        ));
    }
    if stream.duplicate_window < DUPLICATE_WINDOW_MIN {
        findings.push(Finding::warn(
            "stream-duplicates",
            format!("{} remembers the ids of messages for {:?} only", stream.name, stream.duplicate_window),
            edit("--dupe-window 2m"),
        ));
    }
    findings
}
