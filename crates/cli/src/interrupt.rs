use std::process;

use tokio::sync::watch;

/// The exit status of a program that was interrupted.
const STATUS: i32 = 130;

/// The work was interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted;

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
            process::exit(STATUS);
        });
        Interrupt { wanted }
    }

    /// Resolves once there is or was an interrupt.
    pub(crate) async fn interrupted(&self) {
        // Whoever listens for signals does so as long as the program runs.
        let _ = self.wanted.clone().wait_for(|wanted| *wanted).await;
    }

    /// Does the work, unless there is or was an interrupt.
    pub(crate) async fn unless<T, E: From<Interrupted>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut wanted = self.wanted.clone();
        tokio::select! {
            biased;
            Ok(_) = wanted.wait_for(|wanted| *wanted) => Err(Interrupted.into()),
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
