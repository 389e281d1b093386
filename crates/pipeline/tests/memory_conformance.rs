//! The memory broker keeps the contract of a pipeline, bare and behind its decorators.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{FaultRates, Faulty, MemoryBroker, Pipeline, Switch, conformance::Harness};

/// The same broker, reached in one of three ways.
struct Memory {
    broker: MemoryBroker,
    decorate: fn(Arc<dyn Pipeline>) -> Arc<dyn Pipeline>,
}

impl Memory {
    fn new(decorate: fn(Arc<dyn Pipeline>) -> Arc<dyn Pipeline>) -> Memory {
        Memory { broker: MemoryBroker::default(), decorate }
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

mod behind_a_whole_switch {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::new(|pipeline| Arc::new(Switch::new(pipeline))));
}

mod behind_faults_that_never_strike {
    use super::*;
    archipelago_pipeline::conformance_tests!(Memory::new(|pipeline| {
        Arc::new(Faulty::new(pipeline, FaultRates::default(), 0, Duration::from_millis(10)))
    }));
}
