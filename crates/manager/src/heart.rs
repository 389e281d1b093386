use std::{sync::Arc, time::Duration};

use archipelago_clock::Dot;
use archipelago_pipeline::{Answer, Heard, Listener, Outgoing, Pipeline};
use archipelago_proto::{Heartbeat, StateQuestion};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    acknowledge::Spread,
    backoff::Backoff,
    metrics, repair,
    replica::{Command, Examine},
    shared::Shared,
};

/// How long an announcement may take to be handed over; a broker that is slower than that hears the next one.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// A floor that is to go into the log, behind this master's own writes up to one.
pub(crate) struct Told {
    pub(crate) payload: Bytes,
    pub(crate) last: Dot,
}

/// Says again and again how far this master is, hears how far the others are, and answers what they ask.
pub(crate) struct Heart {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    /// Weak, or the owner of the engine would never see the last handle go.
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) interval: Duration,
    pub(crate) session: u64,
    /// What is to be put into the log.
    pub(crate) floors: mpsc::Receiver<Told>,
}

impl Heart {
    /// Runs until the owner of the engine is gone.
    pub(crate) async fn run(mut self) {
        let (_, closed) = mpsc::channel(1);
        let mut floors = std::mem::replace(&mut self.floors, closed);
        tokio::join!(self.beat(), self.hear(), self.tell(&mut floors));
    }

    /// Puts floors into the log, as far as that goes: whatever is lost is followed by another one.
    async fn tell(&self, floors: &mut mpsc::Receiver<Told>) {
        while let Some(Told { payload, last }) = floors.recv().await {
            let message_id = format!("floor-{:032x}", self.shared.random.word::<u128>());
            let origin = self.shared.replica().name().into();
            let publish = async {
                if !self.emitted(&last).await {
                    return Ok(None);
                }
                self.pipeline.publish(Outgoing { origin, message_id, payload }).await?.await.map(Some)
            };
            match tokio::time::timeout(ANNOUNCE_TIMEOUT, publish).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a floor was not put into the log"),
                Err(_) => tracing::debug!("a floor was not put into the log in time"),
            }
        }
    }

    /// Waits until this master's own writes up to this one are in the log. A floor must not overtake them: those that were
    /// admitted without what it covers would count no more, and would have to come by repair.
    ///
    /// False if this master took another identity: the floor may cover what has other names now, and is nowhere to be had
    /// under the old ones.
    async fn emitted(&self, last: &Dot) -> bool {
        let mut spread = self.shared.spread.subscribe();
        let is_over = |spread: &Spread| {
            spread.replica != last.actor
                || spread.emitted >= last.sequence
                || metrics::value(&self.shared.counters.outbox_len) == 0
        };
        // Nobody else has the sender; should it be gone, so is this task.
        spread.wait_for(is_over).await.is_ok_and(|spread| spread.replica == last.actor)
    }

    async fn beat(&self) {
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let (reply, heartbeat) = oneshot::channel();
            if !self.command(Command::Beat { reply }).await {
                return;
            }
            // No heartbeat comes from a master whose store failed.
            let Ok(heartbeat) = heartbeat.await else { continue };
            let announced = self.pipeline.announce(heartbeat.replica.name(), heartbeat.encode());
            match tokio::time::timeout(ANNOUNCE_TIMEOUT, announced).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a heartbeat was not sent"),
                Err(_) => tracing::debug!("a heartbeat was not sent in time"),
            }
        }
    }

    async fn hear(&self) {
        let mut backoff = Backoff::new(self.shared.random.clone());
        loop {
            match self.pipeline.listen(&repair::address(self.session)).await {
                Ok(mut listener) => {
                    if !self.listen(&mut *listener).await {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "the other masters cannot be heard"),
            }
            backoff.wait().await;
        }
    }

    /// False once the owner of the engine is gone.
    async fn listen(&self, listener: &mut dyn Listener) -> bool {
        while let Ok(heard) = listener.next().await {
            let (from, payload) = match heard {
                Heard::Announcement { from, payload } => (from, payload),
                Heard::Question { payload, answer } => {
                    if !self.answer(payload, answer).await {
                        return false;
                    }
                    continue;
                }
            };
            match Heartbeat::decode(payload, &self.shared.limits) {
                Ok(heartbeat) if heartbeat.replica.name() == from => {
                    if !self.command(Command::Hear { heartbeat: Box::new(heartbeat) }).await {
                        return false;
                    }
                }
                Ok(_) => self.skip(&from, &"it speaks for another master than its subject names"),
                Err(error) => self.skip(&from, &error),
            }
        }
        true
    }

    /// False once the owner of the engine is gone.
    async fn answer(&self, payload: Bytes, answer: Answer) -> bool {
        if StateQuestion::is_one(&payload) {
            return self.answer_state(payload, answer).await;
        }
        let request = match repair::question(payload, &self.shared.namespace, &self.shared.limits) {
            Ok(request) => request,
            Err(reason) => {
                self.skip("somebody", &reason);
                return true;
            }
        };
        let (reply, piece) = oneshot::channel();
        if !self.command(Command::Give { request, reply }).await {
            return false;
        }
        // No answer comes from a master whose store failed.
        if let Ok(piece) = piece.await {
            answer.send(piece.encode()).await;
        }
        true
    }

    /// The same of a question about what is stored here.
    async fn answer_state(&self, payload: Bytes, answer: Answer) -> bool {
        let about = match StateQuestion::decode(payload, &self.shared.limits) {
            Ok(question) if question.namespace == self.shared.namespace => question.about,
            Ok(_) => {
                self.skip("somebody", &"it is about another namespace");
                return true;
            }
            Err(error) => {
                self.skip("somebody", &error);
                return true;
            }
        };
        let (reply, told) = oneshot::channel();
        if !self.command(Command::Examine(Examine::Tell { about, reply })).await {
            return false;
        }
        if let Ok(told) = told.await {
            answer.send(told.encode()).await;
        }
        true
    }

    fn skip(&self, from: &str, reason: &dyn std::fmt::Display) {
        metrics::add(&self.shared.counters.messages_unreadable, 1);
        if let Some(skipped) = self.shared.counters.skipped_beside.happened(&reason.to_string()) {
            tracing::warn!(from, %reason, skipped, "what was said or asked is not usable and was skipped");
        }
    }

    async fn command(&self, command: Command) -> bool {
        match self.commands.upgrade() {
            Some(commands) => commands.send(command).await.is_ok(),
            None => false,
        }
    }
}
