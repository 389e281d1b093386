//! A node that leads: it takes writes, appends them to the log, and stores what the broker acknowledged.

mod admit;
mod append;
mod leading;

use std::{sync::atomic::Ordering, time::Duration};

use archipelago_engine::leader_follower::Proposer;
use archipelago_proto::{NodeRole, Operation};
use archipelago_store::StoreError;
use futures::{FutureExt, StreamExt};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior},
};

use super::{
    LeaderInfo, Notification, RoleError,
    lease_keeper::changed,
    metrics::add,
    node::{Next, Node},
    take_over::Halt,
    voice,
};
use leading::{Leading, checked, stored};

/// How long what is on its way is waited for when a leader resigns.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a leader ceases to lead.
enum End {
    Halted(Halt),
    /// It was asked to, by this command.
    Asked(oneshot::Sender<Result<(), RoleError>>),
}

impl Node {
    /// Leads until another one does, or this node is told to stop.
    pub(super) async fn lead(&mut self) -> Result<Next, StoreError> {
        self.puller = None;
        let term = self.state.history().term;
        self.leading = Some((term, None));
        self.unsettled.clear();
        let mut leading = self.begin(term);
        let end = self.serve(&mut leading).await?;
        let ended = self.end(leading, end).await;
        self.leading = None;
        ended
    }

    fn begin(&mut self, term: u64) -> Leading {
        let shared = &self.shared;
        let me = LeaderInfo { id: shared.node.to_string(), address: shared.options.address.clone() };
        shared.standing.send_modify(|standing| {
            standing.term = term;
            standing.leader = Some(me);
            standing.trouble = None;
        });
        shared.sent.store(self.state.history().index, Ordering::Release);
        shared.reach.reset();
        shared.peers().wrote(self.state.history().index, Instant::now());
        self.become_role(NodeRole::Leader);
        add(&self.shared.counters.promotions, 1);
        self.shared.notify(Notification::Promoted { term });
        tracing::info!(node = %self.shared.node, term, "leads");
        if let Some(reply) = self.promoting.take() {
            let _ = reply.send(Ok(()));
        }
        let mut limits = self.shared.options.limits.clone();
        if let Some(good) = self.shared.pipeline.payload_bytes_good() {
            limits.batch_bytes_target = limits.batch_bytes_target.min(good / 2);
        }
        let proposer = Proposer::new(&*self.shared.namespace, limits, *self.state.history());
        Leading::new(term, proposer, self.log.end())
    }

    async fn serve(&mut self, leading: &mut Leading) -> Result<End, StoreError> {
        let mut lease = self.lease.as_ref().map(|lease| lease.view.clone());
        let mut tick = tokio::time::interval(self.shared.options.heartbeat_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(halt) = self.halt(Some(leading.term)) {
                return Ok(End::Halted(halt));
            }
            let told = self.shared.peers().furthest().0;
            if told > leading.term {
                return Ok(End::Halted(Halt::Deposed { term: told }));
            }
            if leading.is_in_doubt
                && let Err(halt) = self.resolve(leading).await?
            {
                return Ok(End::Halted(halt));
            }
            let until = self.lease.as_ref().and_then(|lease| lease.held()).map(|held| held.until);
            let takes_more = leading.waiters.len() < self.shared.options.writes_waiting_max;
            tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => {}
                () = changed(&mut lease) => {}
                () = sleep_until(until) => {}
                Some(ack) = leading.acks.next(), if !leading.acks.is_empty() => {
                    leading.handle_ack(ack);
                    while let Some(Some(ack)) = leading.acks.next().now_or_never() {
                        leading.handle_ack(ack);
                    }
                }
                stored = stored(&mut leading.committing) => self.committed_by_leader(leading, stored?),
                (expected, state) = checked(&mut leading.checking) => leading.handle_state(
                    self.log.id.as_ref(), expected, state),
                command = self.commands.recv(), if takes_more => {
                    let Some(command) = command else { return Ok(End::Halted(Halt::Closing)) };
                    if let Some(end) = self.handle_commands(leading, command).await? {
                        return Ok(end);
                    }
                }
                _ = tick.tick() => self.beat_of_leader(leading),
            }
            self.send(leading).await;
            self.store(leading)?;
            self.answer_refused(leading);
            let end = leading.expected.sequence();
            self.shared.log_end.store(end, Ordering::Release);
            self.shared.log_reaches(end);
        }
    }

    /// What a leader does now and then.
    fn beat_of_leader(&mut self, leading: &mut Leading) {
        if leading.checking.is_none() && leading.flights.is_empty() {
            let (pipeline, expected) = (self.shared.pipeline.clone(), leading.expected.sequence());
            leading.checking = Some(async move { (expected, pipeline.state().await) }.boxed());
        }
        let within = self.shared.options.heartbeat_timeout;
        let known = self.shared.standing.borrow().followers.clone();
        let new: Vec<String> = {
            let peers = self.shared.peers();
            let alive = peers.alive(within).into_iter().map(|peer| peer.beat.node);
            alive.filter(|node| !known.contains(node) && !peers.is_unregistered(node)).collect()
        };
        for node in new {
            // Until it is applied the same may be asked for again, which does no harm.
            leading.proposer.push(Operation::Register { node: node.into() });
        }
        let keep = self.shared.options.log_entries_max;
        if let Some(sequence) = self.marks.trim_below(self.state.history().index.saturating_sub(keep)) {
            let pipeline = self.shared.pipeline.clone();
            self.shared.tasks.spawn(async move {
                if let Err(error) = pipeline.trim(sequence).await {
                    tracing::warn!(%error, "the log was not trimmed");
                }
            });
        }
    }

    /// Ceases to lead.
    async fn end(&mut self, mut leading: Leading, end: End) -> Result<Next, StoreError> {
        let resigns = matches!(end, End::Asked(_) | End::Halted(Halt::Closing));
        if resigns {
            let deadline = Instant::now() + RESIGN_TIMEOUT;
            while !leading.is_idle() && !leading.is_in_doubt && Instant::now() < deadline {
                self.send(&mut leading).await;
                self.store(&mut leading)?;
                tokio::select! {
                    biased;
                    Some(ack) = leading.acks.next(), if !leading.acks.is_empty() => leading.handle_ack(ack),
                    stored = stored(&mut leading.committing) => self.committed_by_leader(&mut leading, stored?),
                    () = tokio::time::sleep_until(deadline) => {}
                }
            }
        }
        self.finish_storing(&mut leading).await?;
        self.unsettled = leading.unsettled();
        if let Some((_, Some(deposed_at))) = self.leading {
            // What stands before the other one's term in the log is written, and nothing else ever will be.
            leading.answer(deposed_at - 1);
            leading.flights.clear();
        }
        let (term, reason) = (leading.term, leading.give_up(&end));
        self.shared.standing.send_modify(|standing| standing.leader = None);
        self.become_role(NodeRole::Follower);
        add(&self.shared.counters.demotions, 1);
        tracing::info!(node = %self.shared.node, term, %reason, "leads no more");
        // Before the lease is given up, which takes its time if the broker does not answer.
        self.shared.notify(Notification::Demoted { term, reason });
        if let Some(lease) = &self.lease {
            if resigns {
                let until = Instant::now() + self.shared.options.lease * 2;
                self.stands_back_until = Some(until);
                self.stands = Some(false);
                lease.compete(false).await;
                // Before the lease is free, so that the others do not take this node for lost.
                voice::say(&self.shared).await;
            }
            lease.release().await;
        }
        Ok(match end {
            End::Asked(reply) => {
                let _ = reply.send(Ok(()));
                Next::Follow
            }
            End::Halted(Halt::Closing) => Next::Stop,
            End::Halted(_) => Next::Follow,
        })
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
