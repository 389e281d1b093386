use std::process;

use tokio::sync::watch;

use super::DemoError;

/// Ctrl-C, or the system's wish that the program ends.
#[derive(Debug)]
pub(crate) struct Interrupt {
    wanted: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on. The second interrupt ends the program at once.
    pub(crate) fn listen() -> Interrupt {
        let (want, wanted) = watch::channel(false);
        tokio::spawn(async move {
            signal().await;
            want.send_replace(true);
            signal().await;
            process::exit(i32::from(DemoError::Interrupted.exit_status()));
        });
        Interrupt { wanted }
    }

    /// Does the work, unless there is or was an interrupt.
    pub(crate) async fn unless<T>(
        &self,
        work: impl Future<Output = Result<T, DemoError>>,
    ) -> Result<T, DemoError> {
        let mut wanted = self.wanted.clone();
        tokio::select! {
            biased;
            Ok(_) = wanted.wait_for(|wanted| *wanted) => Err(DemoError::Interrupted),
            done = work => done,
        }
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
