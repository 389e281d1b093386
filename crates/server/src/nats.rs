//! The broker of a node, as its configuration names it.

use archipelago::{NatsConfig, NatsPipeline, OnStart, pipeline::PipelineError, pipeline_nats::Storage};

use crate::config::{NatsSection, StorageName};

/// The pipeline of a namespace; `None` if the node works for itself. The broker need not be there.
pub(crate) async fn pipeline(
    nats: &NatsSection,
    namespace: &str,
) -> Result<Option<NatsPipeline>, PipelineError> {
    if nats.servers.is_empty() {
        return Ok(None);
    }
    NatsPipeline::connect(config(nats, namespace)).await.map(Some)
}

fn config(nats: &NatsSection, namespace: &str) -> NatsConfig {
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
    config
}
