//! What replicas say to one another beside the log: core NATS, at most once.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Answer, Heard, Listener, PipelineError, check_name, parts::Assembler};
use async_nats::{Client, HeaderMap, Message, Request, StatusCode, Subject, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::Select};

use crate::{
    link::{Links, Role},
    parts::{PARTS_IN_FLIGHT_MAX, Sizes, headers_of, part_of},
};

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
        sizes: Sizes,
    ) -> Result<(), PipelineError> {
        check_name(from)?;
        sizes.check(&payload)?;
        // Over a connection that is down, async-nats would queue it: too late to be of use.
        self.links.check(Role::Publish)?;
        let subject = format!("{}{from}", self.said_by);
        for message in messages(&self.out, payload, sizes) {
            let said = match message {
                (None, payload) => self.out.publish(subject.clone(), payload).await,
                (Some(headers), payload) => {
                    self.out.publish_with_headers(subject.clone(), headers, payload).await
                }
            };
            said.map_err(|error| self.links.unavailable(&error.to_string()))?;
        }
        Ok(())
    }

    pub(crate) async fn ask(
        &self,
        to: &str,
        payload: Bytes,
        deadline: Duration,
        sizes: Sizes,
    ) -> Result<Bytes, PipelineError> {
        check_name(to)?;
        sizes.check(&payload)?;
        let mut loss = self.links.link(Role::Publish).next_loss();
        self.links.check(Role::Publish)?;
        let unanswered = || PipelineError::NoAnswer { name: to.to_owned(), deadline };
        let asking = async {
            let mut answers = self.put(to, payload, sizes).await?;
            let mut parts = Assembler::new(sizes.payload_bytes_max(), sizes.assembly_bytes_max);
            while let Some(answer) = answers.next().await {
                if answer.status == Some(StatusCode::NO_RESPONDERS) {
                    break;
                }
                if let Some(confirm) = confirmation(&answer) {
                    let _ = self.out.publish(confirm, Bytes::new()).await;
                }
                if let Some(payload) = join(&mut parts, to, answer) {
                    return Ok(payload);
                }
            }
            Err(unanswered())
        };
        tokio::select! {
            biased;
            answer = tokio::time::timeout(deadline, asking) => answer.unwrap_or_else(|_| Err(unanswered())),
            () = loss.wait() => Err(self.links.unavailable("the connection was lost")),
        }
    }

    /// Sends a question, and tells where its answers come.
    async fn put(&self, to: &str, payload: Bytes, sizes: Sizes) -> Result<Subscriber, PipelineError> {
        let unavailable = |error: String| self.links.unavailable(&error);
        let (subject, inbox) = (format!("{}{to}", self.asked_of), self.out.new_inbox());
        let answers = self.out.subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| unavailable(error.to_string()))?;
        for (headers, payload) in messages(&self.out, payload, sizes) {
            let (subject, inbox) = (subject.clone(), inbox.clone());
            let sent = match headers {
                None => self.out.publish_with_reply(subject, inbox, payload).await,
                Some(headers) => {
                    self.out.publish_with_reply_and_headers(subject, inbox, headers, payload).await
                }
            };
            sent.map_err(|error| unavailable(error.to_string()))?;
        }
        Ok(answers)
    }

    pub(crate) async fn listen(&self, name: &str, sizes: Sizes) -> Result<Box<dyn Listener>, PipelineError> {
        check_name(name)?;
        let subscribe = |subject: String| async move {
            let subscriber = self.consume.subscribe(subject).await;
            subscriber.map_err(|error| self.links.unavailable(&error.to_string()))
        };
        let said = subscribe(format!("{}*", self.said_by)).await?;
        let asked = subscribe(format!("{}{name}", self.asked_of)).await?;
        Ok(Box::new(NatsListener {
            // A server that limits on what we may publish lets an answer pass where its question came.
            client: self.consume.clone(),
            said_by: self.said_by.clone(),
            sizes,
            parts: Assembler::new(sizes.payload_bytes_max, sizes.assembly_bytes_max),
            messages: futures::stream::select(said, asked),
        }))
    }
}

/// Where the sender of many parts wants to hear that this one arrived. An inbox only: nobody can have us say anything
/// elsewhere.
fn confirmation(answer: &Message) -> Option<Subject> {
    part_of(answer.headers.as_ref())?;
    answer.reply.clone().filter(|reply| reply.starts_with("_INBOX."))
}

/// A payload as the messages that it takes, parts with their headers.
fn messages(
    client: &Client,
    payload: Bytes,
    sizes: Sizes,
) -> impl Iterator<Item = (Option<HeaderMap>, Bytes)> + Send + use<> {
    let (one, many) = match sizes.splits(payload.len()) {
        false => (Some((None, payload)), Vec::new()),
        // The name of an inbox is unique, and so are those of payloads made from it.
        true => (None, sizes.split(&client.new_inbox(), &payload).collect()),
    };
    one.into_iter().chain(many.into_iter().map(|(part, payload)| (Some(headers_of(&part)), payload)))
}

/// The payload that a message is, or completes.
fn join(parts: &mut Assembler, from: &str, message: Message) -> Option<Bytes> {
    let Some(part) = part_of(message.headers.as_ref()) else { return Some(message.payload) };
    match parts.add(from, &part, message.payload) {
        Ok(added) => {
            for id in added.given_up {
                tracing::warn!(%from, %id, "what was said in parts was given up: too many wait for the rest");
            }
            added.whole
        }
        Err(reason) => {
            tracing::warn!(%from, %reason, "a part of what was said is not usable and was skipped");
            None
        }
    }
}

/// Both subscriptions; async-nats renews them with each new connection.
struct NatsListener {
    client: Client,
    said_by: Arc<str>,
    sizes: Sizes,
    parts: Assembler,
    messages: Select<Subscriber, Subscriber>,
}

impl NatsListener {
    fn heard(&mut self, message: Message) -> Option<Heard> {
        if let Some(from) = message.subject.strip_prefix(&*self.said_by) {
            let from = from.to_owned();
            let payload = join(&mut self.parts, &from, message)?;
            return Some(Heard::Announcement { from, payload });
        }
        // A question without a way back is none.
        let reply = message.reply.clone()?;
        let payload = join(&mut self.parts, reply.as_str(), message)?;
        Some(Heard::Question { payload, answer: self.answer(reply) })
    }

    fn answer(&self, reply: Subject) -> Answer {
        let (client, sizes) = (self.client.clone(), self.sizes);
        Answer::new(move |payload| {
            async move {
                if let Err(error) = answer(&client, &reply, payload, sizes).await {
                    tracing::debug!(%error, "an answer cannot be sent");
                }
            }
            .boxed()
        })
    }
}

/// Sends an answer. Of many parts, every few one is to be confirmed before more are sent: a server that cannot pass
/// them on as fast closes the connection of whoever asked.
async fn answer(
    client: &Client,
    reply: &Subject,
    payload: Bytes,
    sizes: Sizes,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // The server may be another one by now.
    let message_bytes_max = client.try_server_info().map(|info| info.max_payload);
    let sizes = Sizes { message_bytes_max, ..sizes };
    sizes.check(&payload)?;
    for (at, (headers, payload)) in (1..).zip(messages(client, payload, sizes)) {
        let reply = reply.clone();
        match headers {
            None => client.publish(reply, payload).await?,
            Some(headers) if at % PARTS_IN_FLIGHT_MAX == 0 => {
                let request = Request::new().headers(headers).payload(payload);
                client.send_request(reply, request).await?;
            }
            Some(headers) => client.publish_with_headers(reply, headers, payload).await?,
        }
    }
    Ok(())
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
