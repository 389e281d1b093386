//! Who belongs to the namespace: replicated data, joined from whatever others say of it.

use std::collections::BTreeMap;

use archipelago_clock::{ClockError, Dot, Incarnation, ReplicaId, VersionVector};
use archipelago_proto::{Member, MemberState};

use crate::{Engine, Notice, mutated, peers::SUCCESSION_MS};

/// The members, by name. Two replicas join what they know name by name, by the greatest (incarnation, since, state): a
/// semilattice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members(BTreeMap<String, Member>);

impl Members {
    pub(crate) fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut joined = Members::default();
        for member in members {
            joined.join(member);
        }
        joined
    }

    fn join(&mut self, member: Member) {
        if self.is_news(&member) {
            self.0.insert(member.replica.name().to_owned(), member);
        }
    }

    /// Whether joining it changes anything.
    fn is_news(&self, member: &Member) -> bool {
        self.get(member.replica.name()).is_none_or(|known| rank(member) > rank(known))
    }

    fn get(&self, name: &str) -> Option<&Member> {
        self.0.get(name)
    }

    /// Whether nothing more is to be expected of the replica: a later one goes by its name, or it left or was given up.
    pub(crate) fn is_gone(&self, replica: &ReplicaId) -> bool {
        self.get(replica.name()).is_some_and(|member| match member.replica == *replica {
            true => !member.state.is_awaited(),
            false => member.replica.incarnation() > replica.incarnation(),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }

    /// Of each name the incarnation that must have applied something before it is stable: of those who belong here, and of
    /// those who wrote here without a word.
    pub(crate) fn awaited(&self, vector: &VersionVector) -> BTreeMap<String, ReplicaId> {
        let is_awaited = |state: MemberState| {
            state.is_awaited() && !(mutated!(JoiningNotAwaited) && state == MemberState::Joining)
        };
        let mut awaited: BTreeMap<String, ReplicaId> = BTreeMap::new();
        for (replica, _) in vector.iter() {
            let is_gone = self.get(replica.name()).is_some_and(|member| {
                !is_awaited(member.state) && member.replica.incarnation() >= replica.incarnation()
            });
            if !is_gone {
                // In ascending order, so that the latest incarnation stays.
                awaited.insert(replica.name().to_owned(), replica.clone());
            }
        }
        for member in self.iter().filter(|member| is_awaited(member.state)) {
            let name = member.replica.name();
            if awaited.get(name).is_none_or(|known| known.incarnation() < member.replica.incarnation()) {
                awaited.insert(name.to_owned(), member.replica.clone());
            }
        }
        awaited
    }
}

fn rank(member: &Member) -> (Incarnation, archipelago_clock::Hlc, MemberState) {
    (member.replica.incarnation(), member.since, member.state)
}

/// Why a member's state was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// No replica of this name was ever heard of.
    #[error("no member of the name {name:?} was ever heard of")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A replica does not retire itself: it leaves.
    #[error("{name:?} is this member itself; it leaves instead of being retired")]
    Own {
        /// The name.
        name: String,
    },
    /// The clock is exhausted.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

impl Engine {
    /// The members that are known, this replica included once it has [announced](Self::announce) itself, in order of name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// Makes this replica a member: joining at first, and active as soon as another active member is known to know it and
    /// to have nothing that this replica lacks, or if there is no other. One that others gave up joins again.
    ///
    /// Part of the next commit. Call it at the start and with each heartbeat.
    ///
    /// # Errors
    /// [`ClockError`] if the clock is exhausted.
    pub fn announce(&mut self, now_unix_ms: u64) -> Result<(), ClockError> {
        if self.is_leaving {
            return Ok(());
        }
        let own = self.config.replica.clone();
        let state = match self.members.get(own.name()) {
            // Another replica of this name came later; it is told so by another notice. Once that one is gone the name is this
            // replica's again, which comes back to it as the latest.
            Some(known) if known.replica.incarnation() > own.incarnation() => {
                let heard = self.peers.get(&known.replica).map(|peer| peer.heard_unix_ms);
                let heard = heard.unwrap_or(*self.announced_unix_ms.get_or_insert(now_unix_ms));
                let is_silent = now_unix_ms.saturating_sub(heard) > SUCCESSION_MS;
                if is_silent || !known.state.is_awaited() {
                    let last = self.vector.get(&own);
                    self.fence_beside_twin(Dot::new(own, last));
                }
                return Ok(());
            }
            Some(known) if known.replica == own => match known.state {
                MemberState::Active => return Ok(()),
                MemberState::Joining if self.has_caught_up() => {
                    // It is a member for as long as before: who gave it up meanwhile did so later.
                    let active = Member { state: MemberState::Active, ..known.clone() };
                    self.join_members([&active], now_unix_ms);
                    return Ok(());
                }
                MemberState::Joining => return Ok(()),
                // Of an earlier life.
                state @ (MemberState::Leaving | MemberState::Left | MemberState::Retired) => {
                    self.notices.push(Notice::Returned { state });
                    MemberState::Joining
                }
                _ => return Ok(()),
            },
            _ => MemberState::Joining,
        };
        self.set_member(own, state, now_unix_ms)
    }

    /// Whether this replica has had the time to hear of others.
    pub(crate) fn is_active(&self) -> bool {
        let own = &self.config.replica;
        let known = self.members.get(own.name());
        known.is_some_and(|known| known.replica == *own && known.state == MemberState::Active)
    }

    /// Whether another active member knows this replica, and this replica has all that it had then; true as well after
    /// two heartbeats if there is no other.
    ///
    /// From then on whatever others reclaim is either known here or waits for this replica.
    fn has_caught_up(&self) -> bool {
        let own = &self.config.replica;
        let others: Vec<&ReplicaId> = self
            .members
            .iter()
            .filter(|member| member.state == MemberState::Active && member.replica != *own)
            .map(|member| &member.replica)
            .collect();
        if others.is_empty() {
            return self.beats >= 2;
        }
        others.iter().filter_map(|other| self.peers.get(other)).any(|peer| {
            let lists_us = |member: &Member| member.replica == *own && member.state.is_awaited();
            peer.heartbeat.members.iter().any(lists_us) && self.vector.dominates(&peer.heartbeat.vector)
        })
    }

    /// This replica is about to go, or gone: [`MemberState::Leaving`] or [`MemberState::Left`]. Part of the next commit.
    ///
    /// # Errors
    /// [`ClockError`] if the clock is exhausted.
    pub fn leave(&mut self, is_done: bool, now_unix_ms: u64) -> Result<(), ClockError> {
        self.is_leaving = true;
        let state = if is_done { MemberState::Left } else { MemberState::Leaving };
        self.set_member(self.config.replica.clone(), state, now_unix_ms)
    }

    /// Gives up the member of this name: nothing waits for it any more. If it comes back, it is told so and joins again;
    /// what it wrote meanwhile comes by repair. Part of the next commit.
    ///
    /// # Errors
    /// [`MemberError`]; nothing changed.
    pub fn retire(&mut self, name: &str, now_unix_ms: u64) -> Result<ReplicaId, MemberError> {
        if name == self.config.replica.name() {
            return Err(MemberError::Own { name: name.to_owned() });
        }
        let written = self.vector.iter().map(|(replica, _)| replica).filter(|replica| replica.name() == name);
        let known = self.members.get(name).map(|member| &member.replica);
        let replica = written.chain(known).max_by_key(|replica| replica.incarnation()).cloned();
        let replica = replica.ok_or_else(|| MemberError::Unknown { name: name.to_owned() })?;
        self.set_member(replica.clone(), MemberState::Retired, now_unix_ms)?;
        Ok(replica)
    }

    fn set_member(
        &mut self,
        replica: ReplicaId,
        state: MemberState,
        now_unix_ms: u64,
    ) -> Result<(), ClockError> {
        if let Some(known) = self.members.get(replica.name()) {
            // Whatever the clocks say, this comes after what is known.
            self.clock.observe(known.since);
        }
        let since = self.clock.tick(now_unix_ms)?;
        self.join_members([&Member { replica, state, since }], now_unix_ms);
        Ok(())
    }

    /// Takes in what another replica knows of the members. What is stamped too far ahead is left, and comes again.
    pub(crate) fn join_members<'m>(
        &mut self,
        members: impl IntoIterator<Item = &'m Member>,
        now_unix_ms: u64,
    ) {
        for member in members {
            if !self.members.is_news(member) || self.due(member.since) > now_unix_ms {
                continue;
            }
            let known = self.members.get(member.replica.name());
            let is_told =
                known.is_some_and(|known| (&known.replica, known.state) == (&member.replica, member.state));
            // Whatever a forger may say, there is a bound to it.
            if known.is_none() && self.members.0.len() >= self.config.limits.replicas_max {
                continue;
            }
            self.members.join(member.clone());
            self.open.members = true;
            // Whatever was found to be stable was found without this.
            self.floors.take_told();
            if !is_told {
                let (replica, state) = (member.replica.clone(), member.state);
                self.notices.push(Notice::Member { replica, state });
            }
        }
    }
}
