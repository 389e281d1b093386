//! The right to lead, as an entry of a JetStream key-value bucket that expires by itself.

mod bucket;
mod watch;

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Lease, LeaseEntry, LeaseWatch, PipelineError, check_lease_ttl};
use async_trait::async_trait;
use bytes::Bytes;

pub(crate) use self::bucket::stream_name;
use self::{
    bucket::{Bucket, Found, Written},
    watch::NatsLeaseWatch,
};
use crate::{config::NatsConfig, stream::LogStream};

/// How often a write is tried again that met another one. A cluster tells so while the other one is about to be stored.
const ATTEMPTS_MAX: u32 = 8;

/// Between two of them; as long as a cluster needs to store something.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// One replica's handle on the lease of a namespace.
#[derive(Debug)]
pub(crate) struct NatsLease {
    bucket: Bucket,
}

impl NatsLease {
    /// Makes the bucket unless it exists.
    pub(crate) async fn open(
        out: &LogStream,
        stream: &LogStream,
        config: &Arc<NatsConfig>,
        ttl: Duration,
    ) -> Result<NatsLease, PipelineError> {
        check_lease_ttl(ttl)?;
        let bucket = Bucket::new(out, stream, config, ttl);
        bucket.open().await?;
        Ok(NatsLease { bucket })
    }

    /// Others were there first, again and again.
    fn busy(&self) -> PipelineError {
        self.bucket.stream.links.unavailable("others write the lease at the same time")
    }
}

#[async_trait]
impl Lease for NatsLease {
    fn ttl(&self) -> Duration {
        self.bucket.ttl
    }

    async fn look(&self) -> Result<Option<LeaseEntry>, PipelineError> {
        Ok(self.bucket.look().await?.held())
    }

    async fn acquire(&self, value: Bytes, over: Option<u64>) -> Result<Option<u64>, PipelineError> {
        // Who lost its bucket makes another one; who finds one with another time to live does not lead by it.
        self.bucket.ensure().await?;
        let mut expected = over.unwrap_or(0);
        for _ in 0..ATTEMPTS_MAX {
            match self.bucket.put(value.clone(), expected).await? {
                Written::At(revision) => return Ok(Some(revision)),
                Written::Missing => self.bucket.ensure().await?,
                Written::Refused => {}
                Written::Busy => tokio::time::sleep(BUSY_PAUSE).await,
            }
            expected = match self.bucket.look().await? {
                Found::Nothing => 0,
                Found::Marker(revision) => revision,
                Found::Held(entry) if over == Some(entry.revision) => entry.revision,
                Found::Held(_) => return Ok(None),
            };
        }
        Err(self.busy())
    }

    async fn renew(&self, revision: u64, value: Bytes) -> Result<Option<u64>, PipelineError> {
        // The revision 0 would mean that nobody holds it.
        if revision == 0 {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.bucket.put(value.clone(), revision).await? {
                Written::At(revision) => return Ok(Some(revision)),
                Written::Missing | Written::Refused => return Ok(None),
                Written::Busy => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
        Err(self.busy())
    }

    async fn release(&self, revision: u64) -> Result<(), PipelineError> {
        if revision == 0 {
            return Ok(());
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.bucket.delete(revision).await? {
                Written::At(_) | Written::Missing | Written::Refused => return Ok(()),
                Written::Busy => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
        Err(self.busy())
    }

    async fn watch(&self) -> Result<Box<dyn LeaseWatch>, PipelineError> {
        Ok(Box::new(NatsLeaseWatch::start(self.bucket.clone()).await?))
    }
}
