use std::sync::Arc;

use archipelago::{
    MemoryBroker, NatsPipeline, OnStart,
    manager::MultiMasterBuilder,
    pipeline::{Pipeline, PipelineError},
};

use crate::server::Server;

/// What carries the log.
#[derive(Clone, Debug)]
pub(crate) enum Broker {
    /// Inside this process.
    Embedded(MemoryBroker),
    Nats {
        server: Server,
        replicas: usize,
    },
}

impl Broker {
    pub(crate) fn new(server: Option<Server>, replicas: u8) -> Broker {
        match server {
            Some(server) => Broker::Nats { server, replicas: replicas.into() },
            None => Broker::Embedded(MemoryBroker::default()),
        }
    }

    /// A way to it, with connections of its own.
    pub(crate) async fn pipeline(
        &self,
        namespace: &str,
        on_start: OnStart,
    ) -> Result<Arc<dyn Pipeline>, PipelineError> {
        match self {
            Broker::Embedded(broker) => Ok(Arc::new(broker.pipeline(namespace))),
            Broker::Nats { server, replicas } => {
                let config = server.config(namespace).replicas(*replicas).on_start(on_start);
                Ok(Arc::new(NatsPipeline::connect(config).await?))
            }
        }
    }

    /// The master, with connections of its own.
    pub(crate) async fn master(
        &self,
        builder: MultiMasterBuilder,
        namespace: &str,
    ) -> Result<MultiMasterBuilder, PipelineError> {
        match self {
            Broker::Embedded(broker) => Ok(builder.pipeline(broker.pipeline(namespace))),
            Broker::Nats { server, replicas } => {
                let config = server.config(namespace).replicas(*replicas);
                Ok(builder.pipeline(NatsPipeline::connect(config).await?))
            }
        }
    }

    /// Removes what the namespace has there.
    pub(crate) async fn remove(&self, namespace: &str) -> Result<(), PipelineError> {
        match self {
            // It goes with this process.
            Broker::Embedded(_) => Ok(()),
            Broker::Nats { server, .. } => {
                NatsPipeline::connect(server.config(namespace)).await?.remove().await
            }
        }
    }
}
