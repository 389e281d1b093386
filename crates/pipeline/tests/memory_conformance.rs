//! The memory broker keeps the contract of a pipeline, bare and behind its decorators.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    FaultRates, Faulty, MemoryBroker, MemoryConfig, Pipeline, Switch, conformance::Harness,
};

/// The same broker, reached in one of three ways.
struct Memory {
    broker: MemoryBroker,
    decorate: fn(Arc<dyn Pipeline>) -> Arc<dyn Pipeline>,
}

impl Memory {
    fn new(decorate: fn(Arc<dyn Pipeline>) -> Arc<dyn Pipeline>) -> Memory {
        Memory { broker: MemoryBroker::default(), decorate }
    }

    /// One whose messages are small, so that much travels in parts.
    fn of_small_messages(decorate: fn(Arc<dyn Pipeline>) -> Arc<dyn Pipeline>) -> Memory {
        let config = MemoryConfig {
            message_bytes_max: 64 * 1024,
            payload_bytes_max: 4_000_000,
            ..MemoryConfig::default()
        };
        Memory { broker: MemoryBroker::new(config), decorate }
    }
}

#[async_trait::async_trait]
impl Harness for Memory {
    async fn pipeline(&self) -> Arc<dyn Pipeline> {
        (self.decorate)(Arc::new(self.broker.pipeline("conformance")))
    }
    async fn stop_broker(&self) {
        self.broker.stop();
    }
    async fn start_broker(&self) {
        self.broker.start();
    }
    async fn delete_log(&self) {
        self.broker.delete_log("conformance");
    }
    fn in_flight_max(&self) -> usize {
        256
    }
}

mod bare {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::new(|pipeline| pipeline));
}

mod with_small_messages {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::of_small_messages(|pipeline| pipeline));
}

mod behind_a_whole_switch {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::of_small_messages(|pipeline| Arc::new(Switch::new(
        pipeline
    ))));
}

mod behind_faults_that_never_strike {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::of_small_messages(|pipeline| {
        Arc::new(Faulty::new(pipeline, FaultRates::default(), 0, Duration::from_millis(10)))
    }));
}
