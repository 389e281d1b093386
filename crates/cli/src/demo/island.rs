use std::sync::Arc;

use archipelago::MemoryBroker;

use super::{
    DemoError,
    master::Master,
    process::Process,
    protocol::{Answer, MasterOptions, Request, Status, Written},
};

/// One master as the demo sees it, here or in a process of its own.
#[derive(Debug)]
pub(crate) struct Island {
    pub(crate) name: &'static str,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Here(Arc<Master>),
    Process(Process),
}

/// Why a request was not answered as hoped.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The process was killed before it answered: whether it did what was asked is unknown.
    Killed,
    /// The process ended by itself.
    Ended,
    /// The master said no.
    Refused { reason: String, retryable: bool },
}

impl CallError {
    pub(crate) fn of(self, master: &'static str) -> DemoError {
        match self {
            CallError::Killed | CallError::Ended => DemoError::ProcessEnded { master },
            CallError::Refused { reason, .. } => DemoError::Refused { master, reason },
        }
    }
}

impl Island {
    /// Starts a master in this process.
    pub(crate) async fn start_here(
        name: &'static str,
        options: MasterOptions,
        embedded: Option<&MemoryBroker>,
    ) -> Result<Island, DemoError> {
        let master = Master::start(options, embedded).await;
        let master = master.map_err(|reason| DemoError::Start { master: name, reason })?;
        Ok(Island { name, place: Place::Here(Arc::new(master)) })
    }

    /// Starts a master in a process of its own.
    pub(crate) async fn start_process(
        name: &'static str,
        options: MasterOptions,
    ) -> Result<Island, DemoError> {
        let process = Process::start(options).await;
        let process = process.map_err(|reason| DemoError::Start { master: name, reason })?;
        Ok(Island { name, place: Place::Process(process) })
    }

    /// Asks the master. A process that was killed is waited for first, until it is back.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, CallError> {
        let answer = match &self.place {
            Place::Here(master) => master.answer(request).await,
            Place::Process(process) => process.call(request).await?,
        };
        match answer {
            Answer::Refused { reason, retryable } => Err(CallError::Refused { reason, retryable }),
            answer => Ok(answer),
        }
    }

    /// As [`call`](Self::call), where any failure ends the demo.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, DemoError> {
        self.call(request).await.map_err(|error| error.of(self.name))
    }

    pub(crate) async fn write(&self, request: Request) -> Result<Written, CallError> {
        match self.call(request).await? {
            Answer::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    /// How the master is doing; `None` while it is killed.
    pub(crate) async fn status(&self) -> Result<Option<Status>, DemoError> {
        if let Place::Process(process) = &self.place
            && !process.runs()
        {
            return Ok(None);
        }
        match self.call(Request::Status).await {
            Ok(Answer::Status(status)) => Ok(Some(status)),
            Ok(other) => Err(unexpected(&other).of(self.name)),
            Err(CallError::Killed) => Ok(None),
            Err(error) => Err(error.of(self.name)),
        }
    }

    /// SIGKILL. False if the master has no process of its own.
    pub(crate) async fn kill(&self) -> bool {
        match &self.place {
            Place::Here(_) => false,
            Place::Process(process) => {
                process.kill().await;
                true
            }
        }
    }

    /// Starts the killed process again on its store.
    pub(crate) async fn restart(&self) -> Result<(), DemoError> {
        match &self.place {
            Place::Here(_) => Ok(()),
            Place::Process(process) => {
                let started = process.restart().await;
                started.map_err(|reason| DemoError::Start { master: self.name, reason })
            }
        }
    }

    /// Ends the master in good order, if it still runs.
    pub(crate) async fn close(&self) {
        match &self.place {
            Place::Here(master) => drop(master.answer(Request::Close).await),
            Place::Process(process) => process.close().await,
        }
    }
}

/// An answer to another question: the two ends are of different builds.
pub(crate) fn unexpected(answer: &Answer) -> CallError {
    CallError::Refused { reason: format!("unexpected answer {answer:?}"), retryable: false }
}
