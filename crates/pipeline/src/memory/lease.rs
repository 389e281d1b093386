use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::broker::{BrokerState, Shared};
use crate::{Fault, Lease, LeaseEntry, LeaseWatch, PipelineError, check_lease_ttl, lease_ttl_differs};

/// What the broker knows of one lease.
#[derive(Debug)]
pub(super) struct Bucket {
    ttl: Duration,
    /// That of the last change.
    revision: u64,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    entry: LeaseEntry,
    expires_at: Instant,
}

impl Bucket {
    fn new(ttl: Duration) -> Bucket {
        Bucket { ttl, revision: 0, held: None }
    }

    /// Who holds it at this moment, and until when if nobody renews it.
    fn held(&mut self) -> Option<&Held> {
        self.held.take_if(|held| held.expires_at <= Instant::now());
        self.held.as_ref()
    }

    fn holder(&mut self) -> Option<u64> {
        self.held().map(|held| held.entry.revision)
    }

    fn put(&mut self, value: Bytes) -> u64 {
        self.revision += 1;
        let entry = LeaseEntry { revision: self.revision, value };
        self.held = Some(Held { entry, expires_at: Instant::now() + self.ttl });
        self.revision
    }

    /// That nobody holds it is a change of its own.
    fn clear(&mut self) {
        self.revision += 1;
        self.held = None;
    }
}

/// One replica's handle on the lease of a namespace.
pub(super) struct MemoryLease {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    ttl: Duration,
}

impl MemoryLease {
    pub(super) fn open(
        shared: Arc<Shared>,
        namespace: Arc<str>,
        ttl: Duration,
    ) -> Result<MemoryLease, PipelineError> {
        check_lease_ttl(ttl)?;
        let lease = MemoryLease { shared, namespace, ttl };
        lease.with(|state| {
            let name = &*lease.namespace;
            let bucket = state.slot(name).lease.get_or_insert_with(|| Bucket::new(ttl));
            if bucket.ttl != ttl && bucket.holder().is_some() {
                return Err(lease_ttl_differs(name, bucket.ttl, ttl));
            }
            bucket.ttl = ttl;
            Ok(())
        })?;
        Ok(lease)
    }

    /// Does something with the broker, if it runs.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut BrokerState) -> Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let mut state = self.shared.lock();
        match state.running {
            true => act(&mut state),
            false => Err(PipelineError::Unavailable { reason: Shared::STOPPED.to_owned() }),
        }
    }

    /// Changes the lease as the fault allows. Others may act before, and before the answer arrives.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Option<Bucket>) -> Result<T, PipelineError> + Send,
    ) -> Result<T, PipelineError>
    where
        T: Send,
    {
        tokio::task::yield_now().await;
        let answer = self.with(|state| {
            let fault = state.draw_lease_fault();
            let slot = state.slot(&self.namespace);
            match fault {
                Some(Fault::Unavailable) => {
                    return Err(PipelineError::Unavailable { reason: "an injected fault".to_owned() });
                }
                Some(Fault::LoseMessage) => return Ok(None),
                Some(Fault::LoseAck | Fault::StoreTwice) | None => {}
            }
            let answer = change(&mut slot.lease)?;
            slot.changed.send_replace(());
            Ok(Some(answer).filter(|_| fault != Some(Fault::LoseAck)))
        })?;
        let Some(answer) = answer else {
            let deadline = self.shared.config.ack_timeout.min(self.ttl / 2);
            tokio::time::sleep(deadline).await;
            return Err(PipelineError::AckTimeout { deadline });
        };
        tokio::task::yield_now().await;
        Ok(answer)
    }
}

impl fmt::Debug for MemoryLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryLease");
        shown.field("namespace", &self.namespace).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

#[async_trait]
impl Lease for MemoryLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn look(&self) -> Result<Option<LeaseEntry>, PipelineError> {
        tokio::task::yield_now().await;
        self.with(|state| {
            let held = state.slot(&self.namespace).lease.as_mut().and_then(Bucket::held);
            Ok(held.map(|held| held.entry.clone()))
        })
    }

    async fn acquire(&self, value: Bytes, over: Option<u64>) -> Result<Option<u64>, PipelineError> {
        self.change(|lease| {
            let bucket = lease.get_or_insert_with(|| Bucket::new(self.ttl));
            if bucket.ttl != self.ttl {
                return Err(lease_ttl_differs(&self.namespace, bucket.ttl, self.ttl));
            }
            let free = bucket.holder().is_none_or(|revision| over == Some(revision));
            Ok(free.then(|| bucket.put(value)))
        })
        .await
    }

    async fn renew(&self, revision: u64, value: Bytes) -> Result<Option<u64>, PipelineError> {
        self.change(|lease| {
            let bucket = lease.as_mut();
            Ok(bucket.and_then(|bucket| (bucket.holder() == Some(revision)).then(|| bucket.put(value))))
        })
        .await
    }

    async fn release(&self, revision: u64) -> Result<(), PipelineError> {
        self.change(|lease| {
            if let Some(bucket) = lease
                && bucket.holder() == Some(revision)
            {
                bucket.clear();
            }
            Ok(())
        })
        .await
    }

    async fn watch(&self) -> Result<Box<dyn LeaseWatch>, PipelineError> {
        let changed = self.with(|state| Ok(state.slot(&self.namespace).changed.subscribe()))?;
        let (shared, namespace) = (self.shared.clone(), self.namespace.clone());
        Ok(Box::new(MemoryLeaseWatch { shared, namespace, changed, told: None }))
    }
}

struct MemoryLeaseWatch {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    /// Told of all that happens in the namespace.
    changed: watch::Receiver<()>,
    told: Option<Option<LeaseEntry>>,
}

impl MemoryLeaseWatch {
    /// Who holds it, and when to look again if nothing happens.
    fn read(&self) -> Option<(Option<LeaseEntry>, Option<Instant>)> {
        let mut state = self.shared.lock();
        if !state.running {
            return None;
        }
        let held = state.slot(&self.namespace).lease.as_mut().and_then(Bucket::held);
        Some(held.map(|held| (held.entry.clone(), held.expires_at)).unzip())
    }
}

#[async_trait]
impl LeaseWatch for MemoryLeaseWatch {
    async fn next(&mut self) -> Result<Option<LeaseEntry>, PipelineError> {
        loop {
            self.changed.mark_unchanged();
            let mut expires_at = None;
            if let Some((entry, until)) = self.read() {
                if self.told.as_ref() != Some(&entry) {
                    self.told = Some(entry.clone());
                    return Ok(entry);
                }
                expires_at = until;
            }
            let expiry = async {
                match expires_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The broker's state outlives this watch, and with it the sender.
                changed = self.changed.changed() => changed.map_err(|_| PipelineError::Closed)?,
                () = expiry => {}
            }
        }
    }
}
