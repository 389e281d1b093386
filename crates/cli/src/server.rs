use std::path::PathBuf;

use archipelago::NatsConfig;
use serde::{Deserialize, Serialize};

/// Where the NATS server is, and who we are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) credentials_file: Option<PathBuf>,
}

impl Server {
    /// How to connect to it.
    pub(crate) fn config(&self, namespace: &str) -> NatsConfig {
        let config = NatsConfig::new(self.url.as_str(), namespace);
        match &self.credentials_file {
            Some(file) => config.credentials_file(file),
            None => config,
        }
    }
}
