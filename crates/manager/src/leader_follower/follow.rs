//! A node that applies what others write.

use std::time::Duration;

use archipelago_proto::{NodeQuestion, NodeRole};
use archipelago_store::StoreError;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Notification, RoleError,
    command::Command,
    lease_keeper::changed,
    node::{GROUP_MESSAGES_MAX, Next, Node, Taken},
    options::Role,
    puller::Pulled,
    recovery::Wanted,
};

impl Node {
    /// Applies what the log brings, until there is something else to do.
    pub(super) async fn follow(&mut self) -> Result<Next, StoreError> {
        self.become_role(NodeRole::Follower);
        if self.state.is_partial() {
            self.resync("the state of another node was taken in part", Wanted::Any).await?;
        }
        if self.puller.is_none() {
            self.pull();
        }
        self.stand().await;
        let mut lease = self.lease.as_ref().map(|lease| lease.view.clone());
        let mut tick = tokio::time::interval(self.shared.options.heartbeat_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.shared.closing.is_cancelled() {
                return Ok(Next::Stop);
            }
            if let Some(held) = self.lease.as_ref().and_then(|lease| lease.held()) {
                return Ok(Next::TakeOver { token: held.token });
            }
            let puller = self.puller.as_mut().expect("started above, and again wherever it is dropped");
            tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => return Ok(Next::Stop),
                () = changed(&mut lease) => self.look_at_lease(),
                command = self.commands.recv() => match command {
                    Some(Command::Promote { reply }) => {
                        if let Some(next) = self.promote(reply).await {
                            return Ok(next);
                        }
                    }
                    Some(Command::Resync) => {
                        self.resync("it was told to", Wanted::Any).await?;
                        self.stand().await;
                    }
                    Some(command) => self.refuse(command),
                    None => return Ok(Next::Stop),
                },
                pulled = puller.next() => {
                    self.apply(pulled).await?;
                    self.stand().await;
                }
                () = missed_for_long(self.missed.as_ref()) => self.tell_of_missed(),
                _ = tick.tick() => {
                    self.look_for_leader();
                    self.stand().await;
                }
            }
        }
    }

    /// Applies what was brought, and whatever else is there already.
    pub(super) async fn apply(&mut self, first: Pulled) -> Result<(), StoreError> {
        let mut group = self.state.group();
        let mut taken = self.take(&mut group, first)?;
        for _ in 1..GROUP_MESSAGES_MAX {
            if !matches!(taken, Taken::Fine) {
                break;
            }
            match self.puller.as_mut().and_then(|puller| puller.next_now()) {
                Some(pulled) => taken = self.take(&mut group, pulled)?,
                None => break,
            }
        }
        self.commit(group).await?;
        self.recover(taken).await
    }

    /// Does something about a message that could not be taken.
    pub(super) async fn recover(&mut self, taken: Taken) -> Result<(), StoreError> {
        match taken {
            Taken::Fine => Ok(()),
            Taken::Gap { to, chain } => self.fill(to, chain).await,
            Taken::Diverged(batch) => self.diverge(&batch).await,
            Taken::Unusable { reason } => {
                self.trouble(Some(reason));
                // It is looked at again after a while: somebody may have mended the log, and nothing is skipped.
                tokio::select! {
                    biased;
                    () = self.shared.closing.cancelled() => {}
                    () = tokio::time::sleep(self.shared.options.reconnect_base) => {}
                }
                self.pull();
                Ok(())
            }
        }
    }

    /// Stands for election, or does not.
    async fn stand(&mut self) {
        let Some(lease) = &self.lease else { return };
        let options = &self.shared.options;
        let stands = options.role == Role::Automatic
            && options.promotion_eligible
            && self.stands_back_until.is_none_or(|until| Instant::now() >= until)
            && self.state.is_whole()
            // Who reads from a mirror does not know where the log ends.
            && self.reads_mirror == Some(false);
        if self.stands != Some(stands) {
            self.stands = Some(stands);
            lease.compete(stands).await;
        }
    }

    /// The lease changed hands, or was given up.
    fn look_at_lease(&mut self) {
        let Some(lease) = &self.lease else { return };
        let holder = lease.view.borrow().holder.clone();
        let leader = self.shared.leader();
        // Whoever holds it now leads only once its term has begun.
        if let Some(leader) = leader.filter(|leader| *leader.id != *self.shared.node)
            && holder.is_none_or(|holder| holder.id != leader.id)
        {
            self.leader_is_gone(leader);
        }
    }

    /// Without a sign of life a leader is not one.
    fn look_for_leader(&mut self) {
        let timeout = self.shared.options.heartbeat_timeout;
        let leading = self.shared.peers().leader(timeout).map(|peer| peer.beat.clone());
        match (self.shared.leader(), leading) {
            (None, Some(beat)) => {
                let leader = super::LeaderInfo { id: beat.node, address: beat.address };
                self.shared.standing.send_modify(|standing| standing.leader = Some(leader));
            }
            (Some(leader), None) if *leader.id != *self.shared.node => {
                let heard = self.shared.peers().get(&leader.id).map(|peer| peer.heard_at);
                if heard.is_some_and(|heard_at| heard_at.elapsed() > timeout) {
                    self.leader_is_gone(leader);
                }
            }
            _ => {}
        }
    }

    fn leader_is_gone(&mut self, leader: super::LeaderInfo) {
        self.shared.standing.send_modify(|standing| standing.leader = None);
        self.missed = Some((leader, Instant::now()));
    }

    /// Tells of a leader that is gone, unless it said by now that it resigned: its last words and the end of its lease come
    /// by different ways.
    pub(super) fn tell_of_missed(&mut self) {
        let Some((leader, _)) = self.missed.take() else { return };
        let resigned = self
            .shared
            .peers()
            .get(&leader.id)
            .is_some_and(|peer| peer.beat.role != NodeRole::Leader && peer.beat.leader.is_none());
        if !resigned {
            self.shared.notify(Notification::LeaderFailed { leader });
        }
    }

    /// Takes over from whoever leads, if anyone does.
    async fn promote(&mut self, reply: oneshot::Sender<Result<(), RoleError>>) -> Option<Next> {
        let not_eligible = |reason: &str| RoleError::NotEligible { reason: reason.to_owned() };
        if !self.shared.options.promotion_eligible {
            let _ = reply.send(Err(not_eligible("promotion_eligible is off")));
            return None;
        }
        if !self.state.is_whole() {
            let _ = reply.send(Err(not_eligible("it lacks entries; wait until it has caught up")));
            return None;
        }
        let leader = self.shared.leader().filter(|leader| *leader.id != *self.shared.node);
        if let Some(leader) = leader {
            let question = NodeQuestion::HandOver { to: self.shared.node.to_string() };
            let deadline = self.shared.options.lease;
            if let Err(error) = self.shared.ask(&leader.id, &question, deadline).await {
                tracing::warn!(leader = %leader.id, %error, "it did not hand over; taking over all the same");
            }
        }
        self.stands_back_until = None;
        self.promoting = Some(reply);
        match &self.lease {
            None => Some(Next::TakeOver { token: 0 }),
            Some(lease) => {
                lease.seize().await;
                let held = lease.held();
                if held.is_none()
                    && let Some(reply) = self.promoting.take()
                {
                    let deadline = self.shared.options.lease;
                    let _ = reply.send(Err(RoleError::Timeout { deadline }));
                }
                held.map(|held| Next::TakeOver { token: held.token })
            }
        }
    }
}

/// For so long the last words of a leader that is gone are waited for.
const LAST_WORDS: Duration = Duration::from_millis(50);

async fn missed_for_long(missed: Option<&(super::LeaderInfo, Instant)>) {
    match missed {
        Some((_, since)) => tokio::time::sleep_until(*since + LAST_WORDS).await,
        None => std::future::pending().await,
    }
}
