//! The plain way: a message a write, published by async-nats with pipelined acknowledgements, and read by ordered consumers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use archipelago::NatsPipeline;
use async_nats::jetstream::{self, consumer::push, stream};
use bytes::Bytes;
use futures::StreamExt;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use super::{group::Noise, options::Writing};
use crate::{bench::BenchError, server::Server};

/// How many acknowledgements each client waits for at a time: more do not make it faster.
pub(crate) const ACKS_MAX: usize = 1_024;

/// A stream for the baseline, of the same kind as that of a namespace.
#[derive(Debug)]
pub(crate) struct Plain {
    server: Server,
    stream: String,
    subject: String,
    writing: Writing,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Baseline { reason: error.to_string() }
}

async fn connect(server: &Server) -> Result<async_nats::Client, BenchError> {
    let options = async_nats::ConnectOptions::new();
    let options = match &server.credentials_file {
        Some(file) => options.credentials_file(file).await.map_err(failed)?,
        None => options,
    };
    options.connect(&*server.url).await.map_err(failed)
}

impl Plain {
    /// Makes the stream.
    pub(crate) async fn open(
        server: &Server,
        replicas: u8,
        namespace: &str,
        writing: Writing,
    ) -> Result<Plain, BenchError> {
        let plain = Plain {
            server: server.clone(),
            stream: format!("PLAIN_{namespace}"),
            subject: format!("plain.{namespace}"),
            writing,
        };
        // It says better what is wrong with a server, and what to do about it.
        NatsPipeline::connect(server.config(namespace)).await?;
        let context = jetstream::new(connect(server).await?);
        let made = context.create_stream(stream::Config {
            name: plain.stream.clone(),
            subjects: vec![format!("{}.*", plain.subject)],
            num_replicas: replicas.into(),
            storage: stream::StorageType::File,
            ..stream::Config::default()
        });
        made.await.map_err(failed)?;
        Ok(plain)
    }

    /// Publishes so many messages by so many clients, while as many read. How long until all readers have all of them.
    pub(crate) async fn run(&self, clients: u16, messages: u64, seed: u64) -> Result<Duration, BenchError> {
        let mut readers = JoinSet::new();
        for _ in 0..clients {
            let reading = self.reader().await?;
            readers.spawn(read(reading, messages));
        }
        let (noise, started) = (Arc::new(Noise::new(seed, self.writing)), Instant::now());
        self.publish(clients, messages, seed, &noise).await?;
        while let Some(read) = readers.join_next().await {
            read.map_err(failed)?.map_err(failed)?;
        }
        Ok(started.elapsed())
    }

    /// Only the publishing.
    pub(crate) async fn fill(&self, messages: u64, seed: u64) -> Result<(), BenchError> {
        self.publish(1, messages, seed, &Arc::new(Noise::new(seed, self.writing))).await
    }

    /// Only the reading, by one: how long it took.
    pub(crate) async fn read_all(&self, messages: u64) -> Result<Duration, BenchError> {
        let started = Instant::now();
        read(self.reader().await?, messages).await.map_err(failed)?;
        Ok(started.elapsed())
    }

    async fn publish(
        &self,
        clients: u16,
        messages: u64,
        seed: u64,
        noise: &Arc<Noise>,
    ) -> Result<(), BenchError> {
        let mut publishers = JoinSet::new();
        for client in 0..u64::from(clients) {
            let context = jetstream::new(connect(&self.server).await?);
            let (noise, subject) = (noise.clone(), format!("{}.{client}", self.subject));
            let share = messages / u64::from(clients) + u64::from(client < messages % u64::from(clients));
            publishers.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed ^ (client << 32));
                let mut acks = VecDeque::with_capacity(ACKS_MAX);
                for _ in 0..share {
                    let (key, value) = noise.next(&mut random);
                    // A key and a value, as whoever writes a message a write would put them.
                    let payload = Bytes::from([key.as_bytes(), value.as_bytes()].concat());
                    if acks.len() == ACKS_MAX {
                        let oldest: jetstream::context::PublishAckFuture =
                            acks.pop_front().expect("it is full");
                        oldest.await?;
                    }
                    acks.push_back(context.publish(subject.clone(), payload).await?);
                }
                for ack in acks {
                    ack.await?;
                }
                Ok::<_, AnyError>(())
            });
        }
        while let Some(published) = publishers.join_next().await {
            published.map_err(failed)?.map_err(failed)?;
        }
        Ok(())
    }

    /// Of the consumers that async-nats has, the ordered one to which the server pushes reads fastest.
    async fn reader(&self) -> Result<push::Ordered, BenchError> {
        let client = connect(&self.server).await?;
        let config = push::OrderedConfig { deliver_subject: client.new_inbox(), ..Default::default() };
        let stream = jetstream::new(client).get_stream(&self.stream).await.map_err(failed)?;
        let consumer = stream.create_consumer(config);
        consumer.await.map_err(failed)?.messages().await.map_err(failed)
    }

    /// A connection of its own.
    pub(crate) async fn context(&self) -> Result<jetstream::Context, BenchError> {
        Ok(jetstream::new(connect(&self.server).await?))
    }

    /// Of the first client.
    pub(crate) fn subject(&self) -> String {
        format!("{}.0", self.subject)
    }

    /// Removes the stream.
    pub(crate) async fn end(self) {
        let removed = async {
            jetstream::new(connect(&self.server).await?).delete_stream(&self.stream).await.map_err(failed)
        };
        if let Err(error) = removed.await {
            eprintln!("warning: the stream {} stays on the server: {error}", self.stream);
        }
    }
}

async fn read(mut messages: push::Ordered, wanted: u64) -> Result<(), AnyError> {
    for _ in 0..wanted {
        let message = messages.next().await.ok_or("the consumer ended")??;
        std::hint::black_box(&message.payload);
    }
    Ok(())
}

/// What the stream of a namespace holds, in bytes: with subjects, headers and all.
pub(crate) async fn stream_bytes(server: &Server, namespace: &str) -> Result<u64, BenchError> {
    let context = jetstream::new(connect(server).await?);
    let mut stream = context.get_stream(format!("ARCHIPELAGO_{namespace}")).await.map_err(failed)?;
    Ok(stream.info().await.map_err(failed)?.state.bytes)
}

/// How long one request and its answer take over the server, again and again.
#[derive(Debug)]
pub(crate) struct RoundTrips {
    client: async_nats::Client,
    subject: String,
    answering: tokio::task::JoinHandle<()>,
}

impl RoundTrips {
    pub(crate) async fn open(server: &Server, namespace: &str) -> Result<RoundTrips, BenchError> {
        let subject = format!("plain.{namespace}.echo");
        let answerer = connect(server).await?;
        let mut asked = answerer.subscribe(subject.clone()).await.map_err(failed)?;
        answerer.flush().await.map_err(failed)?;
        let answering = tokio::spawn(async move {
            while let Some(message) = asked.next().await {
                if let Some(reply) = message.reply {
                    let _ = answerer.publish(reply, message.payload).await;
                }
            }
        });
        Ok(RoundTrips { client: connect(server).await?, subject, answering })
    }

    pub(crate) async fn one(&self, payload: &str) -> Result<Duration, BenchError> {
        let (payload, started) = (Bytes::copy_from_slice(payload.as_bytes()), Instant::now());
        self.client.request(self.subject.clone(), payload).await.map_err(failed)?;
        Ok(started.elapsed())
    }
}

impl Drop for RoundTrips {
    fn drop(&mut self) {
        self.answering.abort();
    }
}
