//! How often the broker brings to its disk what it acknowledged. Only the monitoring of a server tells.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::finding::Finding;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

const ADVICE: &str =
    "put `sync_interval: always` into the section jetstream of the server, or keep the log on 3 servers";

#[derive(Deserialize)]
struct Monitored {
    config: Option<JetStream>,
}

#[derive(Deserialize)]
struct JetStream {
    #[serde(default)]
    sync_interval: i64,
    #[serde(default)]
    sync_always: bool,
}

/// `replicas` is on how many servers the log is, as far as is known.
pub(super) async fn check(monitor: Option<&str>, replicas: usize) -> Finding {
    let Some(monitor) = monitor else {
        return match replicas {
            0..=2 => Finding::warn(
                "sync",
                "whether the server syncs what it acknowledges is not known",
                "name its monitoring with --monitor http://host:8222; unless it does, a loss of power costs what it \
                 acknowledged last, which then comes by repair from the nodes",
            ),
            _ => Finding::ok("sync", format!("not known, and the log is on {replicas} servers")),
        };
    };
    let jetstream = match ask(monitor).await {
        Ok(jetstream) => jetstream,
        Err(reason) => {
            let advice = "mend --monitor, or start nats-server with -m 8222";
            return Finding::warn("sync", format!("{monitor} cannot be asked: {reason}"), advice);
        }
    };
    let interval = Duration::from_nanos(u64::try_from(jetstream.sync_interval).unwrap_or_default());
    if jetstream.sync_always {
        return Finding::ok("sync", "the server syncs before it acknowledges");
    }
    let found = format!(
        "the server syncs every {interval:?} only: a loss of power costs what it acknowledged since, which then comes by \
         repair from the nodes"
    );
    if replicas >= 3 {
        return Finding::ok(
            "sync",
            format!("the server syncs every {interval:?}, and the log is on {replicas} servers"),
        );
    }
    Finding::warn("sync", found, ADVICE)
}

async fn ask(monitor: &str) -> Result<JetStream, String> {
    let url =
        Url::parse(monitor).and_then(|url| url.join("/jsz?config=1")).map_err(|error| error.to_string())?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
    let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
    let monitored: Monitored = answer.json().await.map_err(|error| error.to_string())?;
    monitored.config.ok_or_else(|| "JetStream is off there".to_owned())
}
