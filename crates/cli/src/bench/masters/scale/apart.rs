use std::time::Duration;

use tokio::{runtime, task::JoinError};

use crate::bench::{BenchError, masters::cost::cpu_of_threads};

/// As the system calls the threads: 15 bytes at most.
const THREADS: &str = "measured-master";
/// Longer than any run: what a thread used is forgotten when it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(86_400);

/// Threads of their own for one master and its callers, so that what they use can be told from what all others do.
#[derive(Debug)]
pub(super) struct Apart(Option<runtime::Runtime>);

impl Apart {
    pub(super) fn new() -> Result<Apart, BenchError> {
        let mut builder = runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(1).thread_name(THREADS).thread_keep_alive(KEEP_ALIVE);
        let failed =
            |error: std::io::Error| BenchError::Start { node: "master".into(), reason: error.to_string() };
        Ok(Apart(Some(builder.enable_all().build().map_err(failed)?)))
    }

    /// Does it there.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.0.as_ref().expect("it is there until it is dropped").spawn(work).await
    }

    /// How long these threads have used processors so far; `None` where the system does not tell.
    pub(super) fn cpu() -> Option<Duration> {
        cpu_of_threads(THREADS)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // To wait for threads is not allowed where tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
