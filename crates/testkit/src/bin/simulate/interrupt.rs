use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// The exit status of a run that was interrupted.
pub(crate) const EXIT_STATUS: u8 = 130;

/// Ctrl-C: what is under way ends, and no more begins.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    is_wanted: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on. The second interrupt ends the program at once.
    pub(crate) fn listen() -> Interrupt {
        let is_wanted = Arc::new(AtomicBool::new(false));
        let wanted = is_wanted.clone();
        // Simulations are not async, and only this is: it has a thread and a runtime of its own.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    wanted.store(true, Ordering::Relaxed);
                    if tokio::signal::ctrl_c().await.is_ok() {
                        process::exit(i32::from(EXIT_STATUS));
                    }
                }
            });
        });
        Interrupt { is_wanted }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }
}
