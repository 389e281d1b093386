use std::sync::{Mutex, PoisonError};

use archipelago_pipeline::{PipelineError, PipelineStatus};
use async_nats::{ConnectErrorKind, Event, ServerError};
use tokio::{sync::watch, time::Instant};

/// Which of the two connections. Each has one socket task in async-nats, so that what is read does not wait for what
/// is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publish,
    Consume,
}

/// What is known of the two connections.
#[derive(Debug)]
pub(crate) struct Links {
    /// The servers as a person may read them.
    pub(crate) urls: String,
    publish: Link,
    consume: Link,
    status: watch::Sender<PipelineStatus>,
    /// Keeps the status that is shown from falling behind the two states that it is made of.
    showing: Mutex<()>,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Link(watch::Sender<LinkState>);

#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    pub(crate) up: bool,
    /// Why it is not up.
    reason: String,
    /// Why the last attempt to connect failed, if it is known more exactly than the reason says.
    failure: Option<String>,
    /// How often it was lost. Whoever waits for an answer over a lost connection waits in vain.
    pub(crate) losses: u64,
    /// The last permission that the server said is missing. It says so only here, and answers nothing.
    denied: Option<(Instant, String)>,
}

impl Links {
    pub(crate) fn new(urls: String) -> Links {
        let link = || {
            let reason = "connecting".to_owned();
            Link(watch::Sender::new(LinkState { up: false, reason, failure: None, losses: 0, denied: None }))
        };
        let links = Links {
            urls,
            publish: link(),
            consume: link(),
            status: watch::Sender::new(PipelineStatus::Up),
            showing: Mutex::new(()),
        };
        links.show();
        links
    }

    pub(crate) fn link(&self, role: Role) -> &Link {
        match role {
            Role::Publish => &self.publish,
            Role::Consume => &self.consume,
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.status.subscribe()
    }

    /// Takes in what async-nats reports of a connection.
    pub(crate) fn handle_event(&self, role: Role, event: Event) {
        self.link(role).0.send_modify(|state| state.handle_event(role, event));
        self.show();
    }

    /// Takes in why attempts to connect failed, in full; events name only the kind of it.
    pub(crate) fn handle_attempts(&self, role: Role, failures: impl Iterator<Item = String>) {
        let Some(failure) = failures.last() else { return };
        self.link(role).0.send_modify(|state| state.failure = Some(failure));
        self.show();
    }

    /// Fails unless the connection is up.
    pub(crate) fn check(&self, role: Role) -> Result<(), PipelineError> {
        match &*self.link(role).0.borrow() {
            LinkState { up: true, .. } => Ok(()),
            down => Err(self.unavailable(down.reason())),
        }
    }

    /// Runs a request to the JetStream API over a connection that is up, and gives it up if the connection is lost
    /// meanwhile or the server denies access.
    pub(crate) async fn request<T>(
        &self,
        role: Role,
        call: impl Future<Output = Result<T, PipelineError>>,
    ) -> Result<T, PipelineError> {
        let mut loss = self.link(role).next_loss();
        self.check(role)?;
        tokio::select! {
            biased;
            answer = call => answer,
            denial = self.denial(role, "$JS.API.", Instant::now()) => Err(denial),
            () = loss.wait() => Err(self.unavailable("the connection was lost")),
        }
    }

    pub(crate) fn unavailable(&self, reason: &str) -> PipelineError {
        PipelineError::Unavailable { reason: format!("{}: {reason}", self.urls) }
    }

    /// Waits until the server denies access to `subject`, which it does without an answer to the request.
    pub(crate) async fn denial(&self, role: Role, subject: &str, sent: Instant) -> PipelineError {
        let mut state = self.link(role).0.subscribe();
        let denies = |state: &LinkState| {
            state.denied.as_ref().is_some_and(|(at, said)| *at >= sent && said.contains(subject))
        };
        let state = state.wait_for(denies).await.expect("the sender is part of self");
        let said = state.denied.as_ref().map_or("", |(_, said)| said);
        PipelineError::Unauthorized { reason: format!("{}: {said}", self.urls) }
    }

    fn show(&self) {
        let _showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        let down = [&self.publish, &self.consume]
            .map(|link| link.0.borrow().clone())
            .into_iter()
            .find(|state| !state.up)
            .map(|state| PipelineStatus::Down { reason: format!("{}: {}", self.urls, state.reason()) });
        let status = down.unwrap_or(PipelineStatus::Up);
        self.status.send_if_modified(|shown| {
            let modified = *shown != status;
            *shown = status;
            modified
        });
    }
}

impl Link {
    /// The next loss of the connection, counted from now.
    pub(crate) fn next_loss(&self) -> Loss {
        let state = self.0.subscribe();
        let losses = state.borrow().losses;
        Loss { state, losses }
    }

    /// Waits until the connection is up.
    pub(crate) async fn wait_until_up(&self) {
        // Fails only without a sender, and `self` is one.
        let _ = self.0.subscribe().wait_for(|state| state.up).await;
    }
}

/// A loss of a connection that may happen.
pub(crate) struct Loss {
    state: watch::Receiver<LinkState>,
    losses: u64,
}

impl Loss {
    /// Waits for it. Also ready if the pipeline is gone, and its connections with it.
    pub(crate) async fn wait(&mut self) {
        let losses = self.losses;
        let _ = self.state.wait_for(|state| state.losses > losses).await;
    }
}

impl LinkState {
    fn reason(&self) -> &str {
        let kind = self.reason.trim_start_matches("nats: ");
        match &self.failure {
            Some(failure) if failure.starts_with(kind) => failure,
            _ => &self.reason,
        }
    }

    fn handle_event(&mut self, role: Role, event: Event) {
        match event {
            Event::Connected => (self.up, self.failure) = (true, None),
            Event::Disconnected | Event::Closed => {
                if self.up {
                    self.losses += 1;
                    // A complaint of the server just before it hung up is the better reason.
                    if self.reason.is_empty() {
                        self.reason = "the connection was lost".to_owned();
                    }
                }
                self.up = false;
                return;
            }
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.reason = REFUSED.to_owned();
                return;
            }
            Event::ServerError(error) => {
                tracing::warn!(?role, %error, "the NATS server complains");
                let said = error.to_string();
                // The protocol has no other sign of it than this text.
                if said.to_ascii_lowercase().contains("permissions violation") {
                    self.denied = Some((Instant::now(), said));
                } else {
                    self.reason = said;
                }
                return;
            }
            // Attempts to connect that failed.
            Event::ClientError(error) if !self.up => {
                let refused =
                    async_nats::ClientError::Other(ConnectErrorKind::AuthorizationViolation.to_string());
                self.reason = if error == refused { REFUSED.to_owned() } else { error.to_string() };
                return;
            }
            event => tracing::warn!(?role, %event, "the NATS connection reports"),
        }
        if self.up {
            self.reason.clear();
        }
    }
}

const REFUSED: &str = "the server refuses access; check user, password, token or credentials file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_up_only_if_both_connections_are() {
        let links = Links::new("nats://host".into());
        let status = links.status();
        let up = |status: &watch::Receiver<PipelineStatus>| *status.borrow() == PipelineStatus::Up;
        assert!(!up(&status));
        links.handle_event(Role::Publish, Event::Connected);
        assert!(!up(&status));
        links.handle_event(Role::Consume, Event::Connected);
        assert!(up(&status));
        links.handle_event(Role::Consume, Event::Disconnected);
        assert!(!up(&status));
    }

    #[test]
    fn why_attempts_failed_is_told_in_full_until_there_is_another_reason() {
        let links = Links::new("nats://host".into());
        let reason = || match links.status().borrow().clone() {
            PipelineStatus::Down { reason } => reason,
            PipelineStatus::Up => String::new(),
        };
        let attempt = |kind: &str| {
            let error = async_nats::ClientError::Other(kind.to_owned());
            links.handle_event(Role::Publish, Event::ClientError(error));
        };
        attempt("IO error");
        assert!(reason().ends_with("IO error"), "{}", reason());
        links
            .handle_attempts(Role::Publish, ["IO error: the certificate has expired".to_owned()].into_iter());
        attempt("IO error");
        assert!(reason().ends_with("IO error: the certificate has expired"), "{}", reason());
        attempt(&ConnectErrorKind::AuthorizationViolation.to_string());
        assert!(reason().contains("refuses access"), "{}", reason());
        links.handle_event(Role::Publish, Event::Connected);
        links.handle_event(Role::Consume, Event::Connected);
        links.handle_event(Role::Publish, Event::Disconnected);
        assert!(reason().ends_with("the connection was lost"), "{}", reason());
    }

    #[test]
    fn what_the_server_said_before_it_hung_up_is_the_reason() {
        let links = Links::new("nats://host".into());
        links.handle_event(Role::Publish, Event::Connected);
        links.handle_event(Role::Consume, Event::Connected);
        links.handle_event(Role::Publish, Event::ServerError(ServerError::AuthorizationViolation));
        assert_eq!(*links.status().borrow(), PipelineStatus::Up);
        links.handle_event(Role::Publish, Event::Disconnected);
        let PipelineStatus::Down { reason } = links.status().borrow().clone() else { panic!("down") };
        assert!(reason.contains("refuses access"), "{reason}");
    }
}
