//! The baseline of `bench leader`: compare-and-append, the plain way.
//!
//! One writer appends a message a write by async-nats, each with the sequence behind which it must come. The server takes
//! what one connection sends to a stream in order, so that the next message need not wait for the answer to the last one.

use std::time::Duration;

use async_nats::jetstream::{self, context::PublishAckFuture, message::PublishMessage};
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, time::Instant};

use super::{
    BenchError,
    masters::{ACKS_MAX, Noise, Plain, Writing},
    options::Leader,
    pace::{Arrears, Pace},
    report::per_second,
    samples::Samples,
};
use crate::{interrupt::Interrupt, server::Server};

/// How long messages do not count, at the beginning.
const WARM_UP: Duration = Duration::from_millis(500);
/// For how long they are appended at the rate, at most.
const AT_RATE_MAX: Duration = Duration::from_secs(10);

/// What plain compare-and-append does.
#[derive(Debug)]
pub(crate) struct Appended {
    /// As fast as it goes.
    pub(crate) per_s: f64,
    /// At the rate of the load, from the moment that each message was due to its acknowledgement.
    pub(crate) latencies: Samples,
}

/// Measures it on a stream that is made for it, and removed also after an interrupt.
pub(crate) async fn plain(
    server: &Server,
    options: &Leader,
    namespace: &str,
    interrupt: &Interrupt,
) -> Result<Appended, BenchError> {
    let writing = Writing { size: options.size, keys: options.keys, tasks: options.tasks };
    let plain = Plain::open(server, options.common.replicas, namespace, writing).await?;
    let measured = async {
        let mut appender = Appender {
            stream: plain.context().await?,
            subject: plain.subject(),
            noise: Noise::new(options.common.seed, writing),
            random: StdRng::seed_from_u64(options.common.seed),
            last_sequence: 0,
        };
        appender.run(Pace::unlimited(), WARM_UP).await?;
        let (took, full_speed) = appender.run(Pace::unlimited(), options.full_speed()).await?;
        let at_rate = AT_RATE_MAX.min(Duration::from_secs(options.seconds.into()));
        let (_, latencies) = appender.run(Pace::new(options.rate, Arrears::Kept), at_rate).await?;
        Ok(Appended { per_s: per_second(full_speed.len() as u64, took), latencies })
    };
    let measured = interrupt.unless(measured).await;
    plain.end().await;
    measured
}

/// The one writer of a stream.
struct Appender {
    stream: jetstream::Context,
    subject: String,
    noise: Noise,
    random: StdRng,
    last_sequence: u64,
}

impl Appender {
    /// Appends for so long, and waits for all acknowledgements: how long that took, and how long each message did.
    async fn run(&mut self, pace: Pace, duration: Duration) -> Result<(Duration, Samples), BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::Baseline { reason: error.to_string() };
        let (under_way, acknowledged) = mpsc::channel(ACKS_MAX);
        let acknowledged = tokio::spawn(acknowledgements(acknowledged));
        let started = Instant::now();
        loop {
            let (_, due) = pace.take();
            if due >= started + duration || started.elapsed() >= duration {
                break;
            }
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let (key, value) = self.noise.next(&mut self.random);
            let message = PublishMessage::build()
                .payload(Bytes::from([key.as_bytes(), value.as_bytes()].concat()))
                .expected_last_sequence(self.last_sequence);
            let ack = self.stream.send_publish(self.subject.clone(), message).await;
            self.last_sequence += 1;
            if under_way.send((due, ack.map_err(|error| failed(&error))?)).await.is_err() {
                // It says why.
                break;
            }
        }
        drop(under_way);
        let samples = acknowledged.await.map_err(|error| failed(&error))?;
        Ok((started.elapsed(), samples.map_err(|error| failed(&error))?))
    }
}

/// How long each message took until it was acknowledged. The server answers them in order.
async fn acknowledgements(
    mut under_way: mpsc::Receiver<(Instant, PublishAckFuture)>,
) -> Result<Samples, jetstream::context::PublishError> {
    let mut took = Samples::default();
    while let Some((due, ack)) = under_way.recv().await {
        ack.await?;
        took.add(due.elapsed());
    }
    Ok(took)
}
