use std::process;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::failure::{Failure, Outcome};

/// The exit status of a run that was interrupted.
pub(crate) const EXIT_STATUS: u8 = 130;

/// Ctrl-C, or the system's wish that the program ends.
#[derive(Debug)]
pub(crate) struct Interrupt {
    wanted: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on. The second interrupt ends the program at once, and its children with it.
    pub(crate) fn listen() -> Interrupt {
        let (want, wanted) = watch::channel(false);
        tokio::spawn(async move {
            wait().await;
            want.send_replace(true);
            wait().await;
            process::exit(i32::from(EXIT_STATUS));
        });
        Interrupt { wanted }
    }

    /// Does the work, unless there is or was an interrupt.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let mut wanted = self.wanted.clone();
        tokio::select! {
            biased;
            Ok(_) = wanted.wait_for(|wanted| *wanted) => Err(Failure::Interrupted),
            done = work => done,
        }
    }
}

async fn wait() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
