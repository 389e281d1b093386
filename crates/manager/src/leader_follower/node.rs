//! The only owner of a node's state: follows, takes over, or leads.

use std::sync::Arc;

use archipelago_engine::leader_follower::Verdict;
use archipelago_pipeline::{ExpectedEnd, LogId};
use archipelago_proto::{EntryBatch, NodeRole, Operation as EntryOperation, PutKind, Text};
use archipelago_store::StoreError;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::{mpsc, oneshot};

use super::{
    LeaderInfo, Notification, RoleError,
    command::Command,
    lease_keeper::LeaseHandle,
    marks::Marks,
    metrics::add,
    options::Role,
    puller::{Pulled, Puller},
    shared::Shared,
    state::{Group, Place, State},
    write::Operation,
};
use crate::WallClock;

/// How many messages of the log one commit may stand for.
pub(super) const GROUP_MESSAGES_MAX: usize = 16;

pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    /// `None` if there is no election.
    pub(super) lease: Option<LeaseHandle>,
    /// The fencing token of the lease with which it leads, or is to.
    pub(super) token: u64,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) random: StdRng,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) puller: Option<Puller>,
    /// What is known of the log that is read.
    pub(super) log: LogView,
    /// The newest start of a term that was applied.
    pub(super) term_start: Option<TermStart>,
    /// The term in which this node leads, and the first entry of a later one, if it came upon one.
    pub(super) leading: Option<(u64, Option<u64>)>,
    /// What this node sent to the log when it led, oldest first, and does not know to be there. The log may have lost
    /// some of it behind which it took more, and nobody else has that.
    pub(super) unsettled: Vec<Bytes>,
    /// Who waits for this node to lead.
    pub(super) promoting: Option<oneshot::Sender<Result<(), RoleError>>>,
    /// It resigned, and lets others go first until then.
    pub(super) stands_back_until: Option<tokio::time::Instant>,
    pub(super) marks: Marks,
    /// A leader that is gone, and since when, of which nobody was told yet.
    pub(super) missed: Option<(LeaderInfo, tokio::time::Instant)>,
    /// Whether the log is read from a mirror, once that is known.
    pub(super) reads_mirror: Option<bool>,
    /// What the keeper of the lease was told last: whether to try for it.
    pub(super) stands: Option<bool>,
}

/// What a node knows of the log that it reads or writes.
#[derive(Clone, Debug, Default)]
pub(super) struct LogView {
    pub(super) id: Option<LogId>,
    /// The last message that is done with.
    pub(super) sequence: u64,
    /// Whether that is known to have been sent by this node.
    pub(super) is_own: bool,
    /// The last entry that this log is known to hold.
    pub(super) entry: u64,
    /// Reading began with the first message that the log holds.
    pub(super) from_beginning: bool,
}

impl LogView {
    /// Where the next append expects the log to end.
    pub(super) fn end(&self) -> ExpectedEnd {
        match self.is_own {
            true => ExpectedEnd::Own(self.sequence),
            false => ExpectedEnd::At(self.sequence),
        }
    }

    /// The log ends with this message of this node, which brought the entries up to `entry`.
    pub(super) fn wrote(&mut self, sequence: u64, entry: u64) {
        (self.sequence, self.is_own, self.entry) = (sequence, true, entry);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TermStart {
    pub(super) term: u64,
    pub(super) session: u64,
}

/// What a node does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Follow,
    /// It is to lead, with this fencing token.
    TakeOver {
        token: u64,
    },
    /// It leads.
    Lead,
    Stop,
}

/// What became of a message of the log.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is part of the group, or there was nothing to take.
    Fine,
    /// Entries up to here are missing, and with them the digest of the history is this.
    Gap { to: u64, chain: u128 },
    /// It was written on another history.
    Diverged(Box<EntryBatch>),
    /// It can never be read by this node.
    Unusable { reason: String },
}

impl Node {
    pub(super) async fn run(mut self) {
        let mut next = match self.shared.options.role {
            Role::Leader => Next::TakeOver { token: 0 },
            Role::Automatic | Role::Follower => Next::Follow,
        };
        loop {
            let done = match next {
                Next::Follow => self.follow().await,
                Next::TakeOver { token } => self.take_over(token).await,
                Next::Lead => self.lead().await,
                Next::Stop => break,
            };
            next = match done {
                Ok(next) => next,
                Err(error) => {
                    self.fail(&error);
                    // Writes are refused, and reads show what is stored, until it is started again.
                    self.wait_in_failure().await;
                    Next::Stop
                }
            };
        }
    }

    /// Nothing more is written to a store that failed.
    fn fail(&mut self, error: &StoreError) {
        let reason = error.to_string();
        tracing::error!(node = %self.shared.node, %reason, "the store failed");
        self.puller = None;
        self.shared.standing.send_modify(|standing| {
            standing.role = NodeRole::Follower;
            standing.failed = Some(reason.clone());
        });
        self.shared.notify(Notification::StoreFailed { reason });
    }

    async fn wait_in_failure(&mut self) {
        if let Some(lease) = &self.lease {
            lease.compete(false).await;
            lease.release().await;
        }
        loop {
            tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.refuse(command),
                    None => return,
                },
            }
        }
    }

    /// Answers a command that only a leader can do.
    pub(super) fn refuse(&self, command: Command) {
        let leader = self.shared.leader().filter(|leader| *leader.id != *self.shared.node);
        let refused = || super::WriteError::FollowerReadOnly { leader: leader.clone() };
        match command {
            Command::Write { reply, .. } | Command::Push { reply, .. } => drop(reply.send(Err(refused()))),
            Command::Demote { reply } => drop(reply.send(Err(RoleError::NotLeader { leader }))),
            Command::Promote { reply } => drop(reply.send(Err(RoleError::NotEligible {
                reason: self.shared.standing.borrow().failed.clone().unwrap_or_else(|| "it is busy".into()),
            }))),
            Command::Resync => {}
        }
    }

    pub(super) fn place(&self) -> Option<Place> {
        let log = self.log.id.clone()?;
        Some(Place { log, sequence: self.log.sequence })
    }

    /// Reads on from where the state stands.
    pub(super) fn pull(&mut self) {
        self.pull_from(self.state.place().cloned());
    }

    /// Reads on from where the state stands, and that message again: another one may stand there by now.
    pub(super) fn pull_again(&mut self) {
        let place = self.state.place().cloned();
        self.pull_from(place.map(|place| Place { sequence: place.sequence.saturating_sub(1), ..place }));
    }

    /// Reads the log again from its beginning.
    pub(super) fn pull_all(&mut self) {
        self.pull_from(None);
    }

    fn pull_from(&mut self, place: Option<Place>) {
        let random = StdRng::seed_from_u64(self.random.random());
        // Until it is opened nothing is known of the log.
        self.log = LogView::default();
        self.puller = Some(Puller::start(&self.shared, place, random));
    }

    /// Adds what was brought to a group.
    pub(super) fn take(&mut self, group: &mut Group, pulled: Pulled) -> Result<Taken, StoreError> {
        let message = match pulled {
            Pulled::Message(message) => message,
            Pulled::Opened { log, after } => {
                let place = Place { log: log.id.clone(), sequence: after };
                // A mirror goes by another name, and has the same sequences.
                let is_known = self.state.place().is_some_and(|known| {
                    known.sequence == after && (known.log == log.id || known.log.name != log.id.name)
                });
                if is_known || after >= log.first_sequence {
                    group.at(place);
                } else {
                    // Nothing of this log was read yet, so it is not known what it holds.
                    group.nowhere();
                }
                if self.log.id.as_ref() != Some(&log.id) {
                    self.marks.clear();
                }
                self.reads_mirror = Some(log.mirror_lag.is_some());
                self.shared.log_reaches(log.last_sequence);
                self.log = LogView {
                    id: Some(log.id),
                    sequence: after,
                    is_own: false,
                    entry: if is_known { group.history().index } else { 0 },
                    from_beginning: after < log.first_sequence,
                };
                self.trouble(None);
                return Ok(Taken::Fine);
            }
            Pulled::Down(reason) => {
                self.trouble(Some(reason));
                return Ok(Taken::Fine);
            }
        };
        let sequence = message.sequence;
        self.log.is_own = message.origin == *self.shared.node;
        let Some(payload) = message.payload else {
            // A part of a larger one.
            self.done_with(group, sequence);
            return Ok(Taken::Fine);
        };
        let batch = match EntryBatch::decode(payload.clone(), &self.shared.options.limits) {
            Ok(batch) if batch.namespace == self.shared.namespace => batch,
            Ok(_) => return Ok(self.ignore(group, sequence, "it is of another namespace")),
            Err(error) if error.is_from_the_future() => {
                return Ok(Taken::Unusable { reason: format!("message {sequence}: {error}") });
            }
            Err(_) if EntryBatch::is_of_masters(&payload) => {
                let reason = "the log is that of a multi-master namespace; choose another namespace".into();
                return Ok(Taken::Unusable { reason });
            }
            Err(error) => return Ok(self.ignore(group, sequence, &error.to_string())),
        };
        match group.history().judge(&batch) {
            Verdict::New { known } => {
                self.log.entry = batch.last_index();
                self.add(group, &batch, payload, known)?;
                self.marks.note(batch.last_index(), sequence);
                self.done_with(group, sequence);
            }
            Verdict::Known => {
                self.log.entry = self.log.entry.max(batch.last_index());
                self.done_with(group, sequence);
            }
            Verdict::Stale => return Ok(self.ignore(group, sequence, "its leader had been deposed")),
            Verdict::Unsound { reason } => return Ok(self.ignore(group, sequence, reason)),
            Verdict::Gap { to, .. } => return Ok(Taken::Gap { to, chain: batch.before }),
            Verdict::Diverged => return Ok(Taken::Diverged(Box::new(batch))),
        }
        Ok(Taken::Fine)
    }

    /// Adds a batch that was judged new to a group.
    pub(super) fn add(
        &mut self,
        group: &mut Group,
        batch: &EntryBatch,
        encoded: Bytes,
        known: usize,
    ) -> Result<(), StoreError> {
        self.state.add(group, batch, encoded, known)?;
        add(&self.shared.counters.entries_applied, (batch.entries.len() - known) as u64);
        if let Some((term, deposed_at @ None)) = &mut self.leading
            && batch.term > *term
        {
            *deposed_at = Some(batch.first_index);
        }
        if known == 0
            && let EntryOperation::TermStart { node, session, address } = &batch.entries[0].operation
        {
            group.starts.push((
                TermStart { term: batch.term, session: *session },
                LeaderInfo { id: node.to_string(), address: address.as_ref().map(Text::to_string) },
            ));
        }
        Ok(())
    }

    fn ignore(&mut self, group: &mut Group, sequence: u64, reason: &str) -> Taken {
        add(&self.shared.counters.messages_ignored, 1);
        if let Some(skipped) = self.shared.counters.skipped_in_log.happened(reason) {
            let node = &*self.shared.node;
            tracing::warn!(node, sequence, %reason, skipped, "a message of the log does not count");
        }
        self.done_with(group, sequence);
        Taken::Fine
    }

    fn done_with(&mut self, group: &mut Group, sequence: u64) {
        self.log.sequence = sequence;
        self.shared.log_reaches(sequence);
        if let Some(place) = self.place() {
            group.at(place);
        }
    }

    /// Stores a group, and tells what became of it.
    pub(super) async fn commit(&mut self, group: Group) -> Result<(), StoreError> {
        if group.is_empty() {
            self.state.move_to(&group);
            return Ok(());
        }
        let group = self.state.commit(group).await?;
        self.committed(group);
        Ok(())
    }

    /// Tells what a group that is stored has brought.
    pub(super) fn committed(&mut self, group: Group) {
        add(&self.shared.counters.commits, 1);
        for (term, applied) in &group.applied {
            if let Some((key, put)) = applied.key() {
                let operation = match put {
                    Some(PutKind::Create) => Operation::Create,
                    Some(PutKind::Update) => Operation::Update,
                    Some(PutKind::Upsert) => Operation::Upsert,
                    None => Operation::Delete,
                };
                let (sequence, term, key) = (applied.index, *term, key.clone());
                self.shared.notify(Notification::EventApplied { sequence, term, key, operation });
            }
        }
        for (start, leader) in group.starts {
            let term = start.term;
            if *leader.id != *self.shared.node {
                self.stands_back_until = None;
            }
            self.term_start = Some(start);
            self.shared.standing.send_modify(|standing| {
                standing.term = standing.term.max(term);
                standing.leader = Some(leader.clone());
            });
            self.tell_of_missed();
            self.shared.notify(Notification::LeaderElected { leader, term });
        }
        // A state that was taken brings its term without the entry that started it. Others go by what this node tells.
        let newest = self.state.history().term;
        self.shared.standing.send_if_modified(|standing| {
            let is_newer = newest > standing.term;
            standing.term = standing.term.max(newest);
            is_newer
        });
        let followers: Vec<String> = self.state.followers().iter().map(Text::to_string).collect();
        let changed = self.shared.standing.send_if_modified(|standing| {
            let changed = standing.followers != followers;
            standing.followers.clone_from(&followers);
            changed
        });
        if changed {
            self.shared.notify(Notification::FollowersChanged { followers });
        }
        let is_well = self.state.is_whole()
            && self.shared.standing.send_if_modified(|standing| std::mem::take(&mut standing.is_desynced));
        if is_well {
            self.shared.tell.notify_one();
        }
    }

    /// Says what keeps the node from its work, once.
    pub(super) fn trouble(&self, trouble: Option<String>) {
        let changed = self.shared.standing.send_if_modified(|standing| {
            let changed = standing.trouble != trouble;
            standing.trouble.clone_from(&trouble);
            changed
        });
        if let Some(reason) = trouble.filter(|_| changed) {
            tracing::warn!(node = %self.shared.node, %reason, "the log cannot be used");
            self.shared.notify(Notification::LogUnusable { reason });
        }
    }

    pub(super) fn become_role(&self, role: NodeRole) {
        let changed = self.shared.standing.send_if_modified(|standing| {
            let changed = standing.role != role;
            standing.role = role;
            changed
        });
        if changed {
            self.shared.tell.notify_one();
        }
    }
}
