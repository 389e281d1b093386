mod lease;
mod link;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::{
    sync::{Mutex, watch},
    task::AbortHandle,
    time::Instant,
};

use self::{
    lease::SwitchLease,
    link::{Link, LinkState, LinkView},
};
use crate::{
    Appending, ExpectedEnd, Heard, Incoming, Lease, Listener, LogState, Outgoing, PendingAck, Pipeline,
    PipelineError, PipelineStatus, Subscription,
};

/// A pipeline that can be cut off from its broker and healed again, one replica at a time. Clones are the same
/// switch.
///
/// While it is cut, calls fail with [`PipelineError::Unavailable`], subscriptions stand still and the status is
/// down; what is said beside the log is lost, and who watches a lease learns nothing. After [`Switch::heal`], subscriptions go on with the message after the last that they delivered.
/// Acknowledgements that were outstanding at a cut fail with [`PipelineError::AckTimeout`] at once, without the wait
/// that a real partition would bring: their messages may or may not be stored. So do changes of a lease.
///
/// While it is [held](Switch::hold), nothing fails and nothing gets through, in either direction, as of a network that
/// stalls or a process that is paused. After [`Switch::release`] all of it arrives, late and in order: what was sent
/// reaches the broker then, whether or not anybody waits for it any more.
#[derive(Clone, Debug)]
pub struct Switch {
    inner: Arc<dyn Pipeline>,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    link: Link,
    status: watch::Sender<PipelineStatus>,
    forwarding: AbortHandle,
    /// Appends that were sent while the link was held take it one after the other.
    late: Arc<Mutex<()>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Switch {
    /// Wraps a pipeline; the link is whole.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime: a task passes on the inner status.
    pub fn new(inner: Arc<dyn Pipeline>) -> Switch {
        let link = Link::default();
        let mut inner_status = inner.status();
        let status = watch::Sender::new(inner_status.borrow_and_update().clone());
        let (links, statuses) = (link.subscribe(), status.clone());
        let forwarding = tokio::spawn(async move {
            while inner_status.changed().await.is_ok() {
                let current = inner_status.borrow_and_update().clone();
                // The link's state is read with the status locked, so that a cut made meanwhile has the last word.
                statuses.send_if_modified(|shown| {
                    let pass_on = !links.state().cut && *shown != current;
                    if pass_on {
                        *shown = current;
                    }
                    pass_on
                });
            }
        })
        .abort_handle();
        Switch { inner, line: Arc::new(Line { link, status, forwarding, late: Arc::default() }) }
    }

    /// Cuts the link. Does nothing if it is cut.
    pub fn cut(&self) {
        let was_whole = self.line.link.change(|link| {
            let was_whole = !link.cut;
            if was_whole {
                *link = LinkState { cut: true, cuts: link.cuts + 1, ..*link };
            }
            was_whole
        });
        if was_whole {
            self.line.status.send_replace(PipelineStatus::Down { reason: CUT_OFF.to_owned() });
        }
    }

    /// Heals the link. Does nothing if it is whole.
    pub fn heal(&self) {
        let was_cut = self.line.link.change(|link| std::mem::replace(&mut link.cut, false));
        if was_cut {
            self.line.status.send_modify(|status| *status = self.inner.status().borrow().clone());
        }
    }

    /// True while the link is cut.
    pub fn is_cut(&self) -> bool {
        self.line.link.state().cut
    }

    /// Holds back all that travels from now on. Does nothing if it is held.
    pub fn hold(&self) {
        self.line.link.change(|link| !std::mem::replace(&mut link.held, true));
    }

    /// Lets all that was held back arrive. Does nothing if nothing is.
    pub fn release(&self) {
        self.line.link.change(|link| std::mem::replace(&mut link.held, false));
    }

    /// True while all that travels is held back.
    pub fn is_held(&self) -> bool {
        self.line.link.state().held
    }

    /// The next cut, if the link is whole.
    fn next_cut(&self) -> Result<NextCut, PipelineError> {
        let link = self.line.link.subscribe();
        let LinkState { cut, cuts, .. } = link.state();
        match cut {
            true => Err(PipelineError::Unavailable { reason: CUT_OFF.to_owned() }),
            false => Ok(NextCut { link, cuts, since: Instant::now() }),
        }
    }

    /// Runs a call, unless the link is cut before its answer is here.
    async fn unless_cut<T>(
        &self,
        call: impl Future<Output = Result<T, PipelineError>>,
    ) -> Result<T, PipelineError> {
        let link = self.line.link.subscribe();
        tokio::select! {
            biased;
            _ = link.wait_for(|link| link.cut) => Err(PipelineError::Unavailable { reason: CUT_OFF.to_owned() }),
            answer = self.both_ways(call) => answer,
        }
    }

    /// Has a call sent and its answer arrive while nothing is held back.
    async fn both_ways<T>(&self, call: impl Future<Output = T>) -> T {
        released(self.line.link.subscribe()).await;
        let answer = call.await;
        released(self.line.link.subscribe()).await;
        answer
    }

    /// Sends an append that arrives once the link is released, even if nobody waits for its answer; not if the link is cut
    /// before.
    fn append_late(&self, origin: &str, payload: Bytes, expected: ExpectedEnd) -> PendingAck {
        let (inner, late) = (self.inner.clone(), self.line.late.clone());
        let (link, since) = (self.line.link.subscribe(), Instant::now());
        let (origin, cuts) = (origin.to_owned(), link.state().cuts);
        let task = tokio::spawn(async move {
            let _turn = late.lock().await;
            let may_go = link.wait_for(|link| !link.held || link.cuts > cuts).await.is_ok();
            let is_cut = link.state().cuts > cuts;
            if !may_go || is_cut {
                return Err(PipelineError::AckTimeout { deadline: since.elapsed() });
            }
            inner.append(&origin, payload, expected).await
        });
        async move {
            match task.await {
                Ok(appending) => appending?.ack.await,
                Err(_) => Err(PipelineError::Closed),
            }
        }
        .boxed()
    }
}

/// Waits until nothing is held back.
async fn released(link: LinkView) {
    // A dropped switch leaves what it had as it is.
    let _ = link.wait_for(|link| !link.held).await;
}

/// A cut that may come. What is asked before it is not answered any more, even if the link is healed at once.
struct NextCut {
    link: LinkView,
    cuts: u64,
    since: Instant,
}

impl NextCut {
    /// The answer to what may have had an effect, unless the cut comes first.
    async fn or<T>(self, answer: impl Future<Output = Result<T, PipelineError>>) -> Result<T, PipelineError> {
        let link = self.link.clone();
        tokio::select! {
            biased;
            Ok(()) = self.link.wait_for(|link| link.cuts > self.cuts) => {
                Err(PipelineError::AckTimeout { deadline: self.since.elapsed() })
            }
            answer = async {
                let answer = answer.await;
                released(link).await;
                answer
            } => answer,
        }
    }
}

const CUT_OFF: &str = "cut off";

#[async_trait]
impl Pipeline for Switch {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.unless_cut(self.inner.open_above(sequence)).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.unless_cut(self.inner.state()).await
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        let cut = self.next_cut()?;
        // A cut while this waits for room means that the message was not handed over, unlike one afterwards.
        let ack = self.unless_cut(self.inner.publish(message)).await?;
        Ok(cut.or(ack).boxed())
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        let cut = self.next_cut()?;
        let is_one_message = self.payload_bytes_good().is_some_and(|bytes| payload.len() <= bytes);
        if is_one_message && (self.is_held() || self.line.late.try_lock().is_err()) {
            let ack = self.append_late(origin, payload, expected);
            return Ok(Appending { sequence: expected.sequence() + 1, ack: cut.or(ack).boxed() });
        }
        let appending = self.inner.append(origin, payload, expected);
        let Appending { sequence, ack } = self.unless_cut(appending).await?;
        Ok(Appending { sequence, ack: cut.or(ack).boxed() })
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        let inner = self.unless_cut(self.inner.lease(ttl)).await?;
        Ok(Arc::new(SwitchLease { inner, switch: self.clone() }))
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let inner = self.unless_cut(self.inner.subscribe(after)).await?;
        Ok(Box::new(SwitchSubscription { inner, link: self.line.link.subscribe() }))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.unless_cut(self.inner.trim(up_to)).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.unless_cut(self.inner.announce(from, payload)).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.unless_cut(self.inner.ask(to, payload, deadline)).await
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        let inner = self.unless_cut(self.inner.listen(name)).await?;
        Ok(Box::new(SwitchListener { inner, link: self.line.link.subscribe() }))
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.line.status.subscribe()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.inner.payload_bytes_max()
    }

    fn payload_bytes_good(&self) -> Option<usize> {
        self.inner.payload_bytes_good()
    }
}

struct SwitchSubscription {
    inner: Box<dyn Subscription>,
    link: LinkView,
}

#[async_trait]
impl Subscription for SwitchSubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        loop {
            // A dropped switch leaves its subscriptions as they are.
            if self.link.wait_for(LinkState::is_open).await.is_err() && self.link.state().cut {
                return Err(PipelineError::Closed);
            }
            tokio::select! {
                biased;
                // `next` is cancel safe, so the message that a cut keeps from being seen comes after the heal.
                Ok(()) = self.link.wait_for(|link| !link.is_open()) => {}
                message = self.inner.next() => return message,
            }
        }
    }
}

struct SwitchListener {
    inner: Box<dyn Listener>,
    link: LinkView,
}

#[async_trait]
impl Listener for SwitchListener {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        loop {
            let _ = self.link.wait_for(|link| !link.held).await;
            tokio::select! {
                biased;
                Ok(()) = self.link.wait_for(|link| link.held) => {}
                heard = self.inner.next() => {
                    let heard = heard?;
                    // Heard through a cut link, it is as if it had never been said.
                    if !self.link.state().cut {
                        return Ok(heard);
                    }
                }
            }
        }
    }
}
