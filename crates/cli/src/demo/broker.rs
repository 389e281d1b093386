use archipelago::{
    NatsPipeline,
    pipeline::{LogState, Pipeline},
};

use super::DemoError;
use crate::server::Server;

/// The smallest message limit of a server that the demo works with, in bytes.
const PAYLOAD_BYTES_LEAST: usize = 16 * 1024;

/// The NATS server as the demo itself sees it, beside the masters: it makes the log.
#[derive(Debug)]
pub(crate) struct Broker {
    pipeline: NatsPipeline,
    log: LogState,
}

impl Broker {
    /// Connects and makes the log: a wrong URL and wrong credentials are found here.
    pub(crate) async fn connect(server: &Server, namespace: &str) -> Result<Broker, DemoError> {
        let failed = |source| DemoError::Broker { url: "cannot use the server after --nats".into(), source };
        let pipeline = NatsPipeline::connect(server.config(namespace)).await.map_err(failed)?;
        let log = pipeline.open().await.map_err(failed)?;
        if let Some(bytes_max) = pipeline.payload_bytes_good().filter(|bytes| *bytes < PAYLOAD_BYTES_LEAST) {
            return Err(DemoError::PayloadTooSmall { bytes_max, least: PAYLOAD_BYTES_LEAST + 1_024 });
        }
        Ok(Broker { pipeline, log })
    }

    /// The name of the log on the server.
    pub(crate) fn stream(&self) -> &str {
        &self.log.id.name
    }

    /// The largest payload that travels as one message.
    pub(crate) fn payload_bytes_max(&self) -> Option<usize> {
        self.pipeline.payload_bytes_good()
    }
}
