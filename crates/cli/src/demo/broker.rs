use std::time::Duration;

use archipelago::{
    NatsConfig, NatsPipeline,
    pipeline::{LogState, Pipeline},
};

use super::{DemoError, protocol::Server};

/// The smallest message limit of a server that the demo works with, in bytes.
const PAYLOAD_BYTES_LEAST: usize = 16 * 1024;

/// How long the last look at the log waits for a server that is away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// The NATS server as the demo itself sees it, beside the masters: it makes the log, and looks at the end whether
/// that is still the same one.
#[derive(Debug)]
pub(crate) struct Broker {
    pipeline: NatsPipeline,
    log: LogState,
}

/// How to connect to the server.
pub(crate) fn config(server: &Server, namespace: &str) -> NatsConfig {
    let config = NatsConfig::new(server.url.as_str(), namespace);
    match &server.credentials_file {
        Some(file) => config.credentials_file(file),
        None => config,
    }
}

impl Broker {
    /// Connects and makes the log: a wrong URL and wrong credentials are found here.
    pub(crate) async fn connect(server: &Server, namespace: &str) -> Result<Broker, DemoError> {
        let failed = |source| DemoError::Broker { url: "cannot use the server after --nats".into(), source };
        let pipeline = NatsPipeline::connect(config(server, namespace)).await.map_err(failed)?;
        let log = pipeline.open().await.map_err(failed)?;
        if let Some(bytes_max) = pipeline.payload_bytes_max().filter(|bytes| *bytes < PAYLOAD_BYTES_LEAST) {
            return Err(DemoError::PayloadTooSmall { bytes_max, least: PAYLOAD_BYTES_LEAST + 1_024 });
        }
        Ok(Broker { pipeline, log })
    }

    /// The name of the log on the server.
    pub(crate) fn stream(&self) -> &str {
        &self.log.id.name
    }

    pub(crate) fn payload_bytes_max(&self) -> Option<usize> {
        self.pipeline.payload_bytes_max()
    }

    /// Whether the log is still the one of the start, whole. A server that is away is waited for; false if it stays
    /// away.
    pub(crate) async fn check(&self) -> Result<bool, DemoError> {
        let lost = |reason: String| DemoError::LogLost { noticed_by: "the last check".into(), reason };
        let asked = async {
            loop {
                match self.pipeline.state().await {
                    Err(error) if error.is_retryable() => {
                        tokio::time::sleep(Duration::from_millis(200)).await
                    }
                    answer => return answer,
                }
            }
        };
        let Ok(state) = tokio::time::timeout(CHECK_TIMEOUT, asked).await else { return Ok(false) };
        let state = state.map_err(|error| lost(error.to_string()))?;
        let name = &state.id.name;
        if state.id != self.log.id {
            return Err(lost(format!("the log {name:?} was deleted and made again")));
        }
        if state.first_sequence > self.log.first_sequence {
            let to = state.first_sequence - 1;
            return Err(lost(format!("the log {name:?} no longer holds its messages up to {to}")));
        }
        Ok(true)
    }
}
