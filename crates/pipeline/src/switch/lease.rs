use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Switch,
    link::{LinkState, LinkView},
};
use crate::{Lease, LeaseEntry, LeaseWatch, PipelineError};

/// A lease as it is seen through a link that may be cut.
#[derive(Debug)]
pub(super) struct SwitchLease {
    pub(super) inner: Arc<dyn Lease>,
    pub(super) switch: Switch,
}

#[async_trait]
impl Lease for SwitchLease {
    fn ttl(&self) -> Duration {
        self.inner.ttl()
    }

    async fn look(&self) -> Result<Option<LeaseEntry>, PipelineError> {
        self.switch.unless_cut(self.inner.look()).await
    }

    async fn acquire(&self, value: Bytes, over: Option<u64>) -> Result<Option<u64>, PipelineError> {
        self.switch.next_cut()?.or(self.switch.both_ways(self.inner.acquire(value, over))).await
    }

    async fn renew(&self, revision: u64, value: Bytes) -> Result<Option<u64>, PipelineError> {
        self.switch.next_cut()?.or(self.switch.both_ways(self.inner.renew(revision, value))).await
    }

    async fn release(&self, revision: u64) -> Result<(), PipelineError> {
        self.switch.next_cut()?.or(self.switch.both_ways(self.inner.release(revision))).await
    }

    async fn watch(&self) -> Result<Box<dyn LeaseWatch>, PipelineError> {
        let inner = self.switch.unless_cut(self.inner.watch()).await?;
        Ok(Box::new(SwitchLeaseWatch { inner, link: self.switch.line.link.subscribe() }))
    }
}

struct SwitchLeaseWatch {
    inner: Box<dyn LeaseWatch>,
    link: LinkView,
}

#[async_trait]
impl LeaseWatch for SwitchLeaseWatch {
    async fn next(&mut self) -> Result<Option<LeaseEntry>, PipelineError> {
        loop {
            // A dropped switch leaves its watches as they are.
            if self.link.wait_for(LinkState::is_open).await.is_err() && self.link.state().cut {
                return Err(PipelineError::Closed);
            }
            tokio::select! {
                biased;
                Ok(()) = self.link.wait_for(|link| !link.is_open()) => {}
                entry = self.inner.next() => return entry,
            }
        }
    }
}
