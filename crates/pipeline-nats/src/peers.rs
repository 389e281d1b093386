//! What replicas say to one another beside the log: core NATS, at most once.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Answer, Heard, Listener, PipelineError, check_name};
use async_nats::{Client, Message, Request, RequestErrorKind, Subject, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::Select};

use crate::link::{Links, Role};

/// The subjects and the connection for speaking; what is heard comes over the one for reading.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    out: Client,
    consume: Client,
    links: Arc<Links>,
    /// The common part of the subjects of announcements, up to and with the dot before who makes them.
    said_by: Arc<str>,
    /// The common part of the subjects of questions, up to and with the dot before whom they are for.
    asked_of: Arc<str>,
}

impl Peers {
    pub(crate) fn new(out: Client, consume: Client, links: Arc<Links>, namespace: &str) -> Peers {
        Peers {
            out,
            consume,
            links,
            said_by: format!("archipelago.{namespace}.said.").into(),
            asked_of: format!("archipelago.{namespace}.asked.").into(),
        }
    }

    pub(crate) async fn announce(
        &self,
        from: &str,
        payload: Bytes,
        bytes_max: Option<usize>,
    ) -> Result<(), PipelineError> {
        check_name(from)?;
        check_size(&payload, bytes_max)?;
        // Over a connection that is down, async-nats would queue it: too late to be of use.
        self.links.check(Role::Publish)?;
        let said = self.out.publish(format!("{}{from}", self.said_by), payload).await;
        said.map_err(|error| self.links.unavailable(&error.to_string()))
    }

    pub(crate) async fn ask(
        &self,
        to: &str,
        payload: Bytes,
        deadline: Duration,
        bytes_max: Option<usize>,
    ) -> Result<Bytes, PipelineError> {
        check_name(to)?;
        check_size(&payload, bytes_max)?;
        let mut loss = self.links.link(Role::Publish).next_loss();
        self.links.check(Role::Publish)?;
        let request = Request::new().payload(payload).timeout(Some(deadline));
        let asking = self.out.send_request(format!("{}{to}", self.asked_of), request);
        let answer = tokio::select! {
            biased;
            answer = asking => answer,
            () = loss.wait() => return Err(self.links.unavailable("the connection was lost")),
        };
        match answer {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::TimedOut | RequestErrorKind::NoResponders => {
                    PipelineError::NoAnswer { name: to.to_owned(), deadline }
                }
                _ => self.links.unavailable(&error.to_string()),
            }),
        }
    }

    pub(crate) async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        check_name(name)?;
        let subscribe = |subject: String| async move {
            let subscriber = self.consume.subscribe(subject).await;
            subscriber.map_err(|error| self.links.unavailable(&error.to_string()))
        };
        let said = subscribe(format!("{}*", self.said_by)).await?;
        let asked = subscribe(format!("{}{name}", self.asked_of)).await?;
        let (client, said_by) = (self.out.clone(), self.said_by.clone());
        Ok(Box::new(NatsListener { client, said_by, messages: futures::stream::select(said, asked) }))
    }
}

fn check_size(payload: &Bytes, bytes_max: Option<usize>) -> Result<(), PipelineError> {
    match bytes_max {
        Some(bytes_max) if payload.len() > bytes_max => {
            Err(PipelineError::TooLarge { bytes: payload.len(), bytes_max })
        }
        _ => Ok(()),
    }
}

/// Both subscriptions; async-nats renews them with each new connection.
struct NatsListener {
    client: Client,
    said_by: Arc<str>,
    messages: Select<Subscriber, Subscriber>,
}

impl NatsListener {
    fn heard(&self, message: Message) -> Option<Heard> {
        if let Some(from) = message.subject.strip_prefix(&*self.said_by) {
            return Some(Heard::Announcement { from: from.to_owned(), payload: message.payload });
        }
        // A question without a way back is none.
        let answer = self.answer(message.reply?);
        Some(Heard::Question { payload: message.payload, answer })
    }

    fn answer(&self, reply: Subject) -> Answer {
        let client = self.client.clone();
        Answer::new(move |payload| {
            async move {
                if let Err(error) = client.publish(reply, payload).await {
                    tracing::debug!(%error, "an answer cannot be sent");
                }
            }
            .boxed()
        })
    }
}

#[async_trait]
impl Listener for NatsListener {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        loop {
            let message = self.messages.next().await.ok_or(PipelineError::Closed)?;
            if let Some(heard) = self.heard(message) {
                return Ok(heard);
            }
        }
    }
}
