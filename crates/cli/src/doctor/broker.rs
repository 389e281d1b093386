//! The broker: whether it is there, new enough, and lets this node do what it must.

use archipelago::{
    NatsConfig,
    pipeline::PipelineError,
    pipeline_nats::{Examination, MissingPermission},
};

use super::{bytes, finding::Finding};

/// Above how many percent of a limit a warning is due.
const FULL_PERCENT: u64 = 90;

/// Connects, and looks at the version. Without a broker that can be used there is nothing else to look at.
pub(super) async fn connect(config: NatsConfig) -> (Vec<Finding>, Option<Examination>) {
    let examination = match Examination::connect(config).await {
        Ok(examination) => examination,
        Err(error) => {
            let advice = match &error {
                PipelineError::Unavailable { .. } => {
                    "start a server there (nats-server -js), or mend nats.servers, or what is between"
                }
                PipelineError::Unauthorized { .. } => {
                    "mend nats.user and nats.password, or nats.token, nats.nkey_seed or nats.credentials_file"
                }
                _ => "mend the section nats of the configuration",
            };
            return (vec![Finding::fail("broker", error.to_string(), advice)], None);
        }
    };
    let version = examination.server_version();
    let size = u64::try_from(examination.message_bytes_max()).unwrap_or(u64::MAX);
    let reached = Finding::ok("broker", format!("it answers, and takes messages of {}", bytes::shown(size)));
    if !examination.is_new_enough() {
        let old = Finding::fail(
            "broker-version",
            format!("nats-server {version} is too old"),
            "install nats-server 2.10 or newer",
        );
        return (vec![reached, old], None);
    }
    let version = Finding::ok("broker-version", format!("nats-server {version}"));
    (vec![reached, version], Some(examination))
}

/// Whether there is JetStream, and room in it.
pub(super) async fn jetstream(examination: &Examination) -> Finding {
    let account = match examination.account().await {
        Ok(account) => account,
        Err(error) => {
            return Finding::fail(
                "jetstream",
                error.to_string(),
                "start nats-server with -js, and give the account access to JetStream",
            );
        }
    };
    let uses = [
        ("files", account.file_bytes, account.file_bytes_max),
        ("memory", account.memory_bytes, account.memory_bytes_max),
    ];
    for (what, used, max) in uses {
        let Some(max) = max.filter(|max| is_nearly_full(used, *max)) else { continue };
        return Finding::warn(
            "jetstream",
            format!("{} of {} in {what} are in use", bytes::shown(used), bytes::shown(max)),
            "raise the limit of the account, or trim logs: writes wait in the nodes while the broker is full",
        );
    }
    Finding::ok("jetstream", format!("it is on; {} in files are in use", bytes::shown(account.file_bytes)))
}

pub(super) fn is_nearly_full(used: u64, max: u64) -> bool {
    used >= max / 100 * FULL_PERCENT
}

/// Whether this node may do what it must. The second is whether the broker can be asked for more.
pub(super) async fn permissions(examination: &mut Examination, node: &str) -> (Vec<Finding>, bool) {
    let missing = match examination.missing_permissions(node).await {
        Ok(missing) => missing,
        Err(error) => {
            let advice = "try again: the connection may have been lost just now";
            return (vec![Finding::warn("permissions", error.to_string(), advice)], true);
        }
    };
    if missing.is_empty() {
        return (vec![Finding::ok("permissions", "all that a node needs are there")], true);
    }
    let can_ask = !missing.iter().any(|missing| match missing {
        MissingPermission::Publish { subject, .. } => subject.contains(".API."),
        MissingPermission::Subscribe { subject, .. } => subject.starts_with("_INBOX"),
        _ => false,
    });
    let findings = missing.iter().map(|missing| {
        let (subject, list) = match missing {
            MissingPermission::Publish { subject, .. } => (subject.as_str(), "publish"),
            MissingPermission::Subscribe { subject, .. } => (subject.as_str(), "subscribe"),
            _ => ("it", "permissions"),
        };
        let advice = format!("add {subject:?} to `{list}` of the user's permissions in the server");
        Finding::fail("permissions", missing.to_string(), advice)
    });
    (findings.collect(), can_ask)
}
