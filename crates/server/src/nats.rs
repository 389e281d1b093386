//! The broker of a node, as its configuration names it.

use archipelago::{NatsConfig, NatsPipeline, OnStart, pipeline::PipelineError, pipeline_nats::Storage};

use crate::config::{Config, StorageName};

/// The pipeline of a namespace; `None` if the node works for itself. The broker need not be there.
pub(crate) async fn pipeline(
    config: &Config,
    namespace: &str,
) -> Result<Option<NatsPipeline>, PipelineError> {
    if config.nats.servers.is_empty() {
        return Ok(None);
    }
    NatsPipeline::connect(nats_config(config, namespace)).await.map(Some)
}

/// How a node connects to the broker of a namespace, for those who look at the broker as it does. The broker need not be there.
pub fn nats_config(config: &Config, namespace: &str) -> NatsConfig {
    let nats = &config.nats;
    let node = config.node.name.clone();
    let mut config = NatsConfig::new(nats.servers.join(","), namespace)
        .on_start(OnStart::Background)
        .replicas(nats.replicas)
        .storage(match nats.storage {
            StorageName::File => Storage::File,
            StorageName::Memory => Storage::Memory,
        });
    if let (Some(user), Some(password)) = (&nats.user, &nats.password) {
        config = config.user_and_password(user, password.reveal());
    }
    if let Some(token) = &nats.token {
        config = config.token(token.reveal());
    }
    if let Some(seed) = &nats.nkey_seed {
        config = config.nkey_seed(seed.reveal());
    }
    if let Some(file) = &nats.credentials_file {
        config = config.credentials_file(file);
    }
    if let Some(certificate) = &nats.tls_ca {
        config = config.tls_ca(certificate);
    }
    if let (Some(certificate), Some(key)) = (&nats.tls_certificate, &nats.tls_key) {
        config = config.tls_client(certificate, key);
    }
    if let Some(domain) = &nats.domain {
        config = config.domain(domain);
    }
    if let Some(bytes) = nats.log_bytes_max {
        config = config.log_bytes_max(bytes);
    }
    match node {
        // Nobody else is to hear what this node is answered.
        Some(node) => config.own_inbox(node),
        None => config,
    }
}
