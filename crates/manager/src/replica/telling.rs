//! What whoever listens is told of.

use std::sync::Arc;

use archipelago_engine::{Effect, Notice};

use super::Replica;
use crate::{ConflictReport, Notification};

impl Replica {
    pub(super) fn reports(&self, effects: &[Effect]) -> Vec<Arc<ConflictReport>> {
        let conflicts = effects.iter().filter_map(|effect| match effect {
            Effect::Notify(Notice::Conflict(conflict)) => Some(conflict),
            _ => None,
        });
        conflicts.map(|conflict| Arc::new(ConflictReport::new(conflict, &self.shared.limits))).collect()
    }

    pub(super) fn report(&self, conflict: Option<Arc<ConflictReport>>) {
        if let Some(conflict) = conflict {
            self.shared.remember(conflict.clone());
            self.shared.notify(Notification::ConflictDetected(conflict));
        }
    }

    /// The events among these effects are stored.
    pub(super) fn measure_applied(&self, effects: &[Effect]) {
        let applied = effects.iter().filter_map(|effect| match effect {
            Effect::Notify(Notice::Applied { dot, hlc, .. }) => Some((&dot.actor, *hlc)),
            _ => None,
        });
        self.shared.telemetry.applied(applied);
    }

    pub(super) fn notify(&self, notice: Notice) {
        let notification = match notice {
            Notice::Applied { dot, entity, hlc, trace } => {
                if let Some(trace) = &trace {
                    tracing::info!(%dot, %trace, "applied");
                }
                Notification::EventApplied {
                    master_id: dot.actor.clone(),
                    dot,
                    entity_id: entity.detached(),
                    hlc,
                    trace,
                }
            }
            Notice::Quarantined { dot, ahead } => {
                tracing::warn!(%dot, ?ahead, "an event is stamped too far ahead and waits");
                Notification::EventQuarantined { dot, ahead }
            }
            Notice::LeftToRepair { dot } => {
                tracing::warn!(%dot, "an event waited for a write that is nowhere to be had; it may come by repair");
                return;
            }
            Notice::Fenced { dot } => {
                tracing::error!(%dot, "another writer uses this master's identity; it takes another one");
                Notification::Fenced { dot }
            }
            Notice::Reincarnated { old, new, writes } => {
                tracing::warn!(%old, %new, writes, "this master has another identity");
                Notification::Reincarnated { old, new, writes }
            }
            Notice::Rewritten { writes } => {
                tracing::warn!(writes, "what this master had and others had not was written anew");
                Notification::Rewritten { writes }
            }
            Notice::Member { replica, state } => {
                tracing::info!(%replica, %state, "a member");
                Notification::MemberChanged { master_id: replica, state }
            }
            Notice::Returned { state } => {
                tracing::warn!(%state, "this master was given up or had left; it joins again");
                Notification::Returned { state }
            }
            Notice::NameShared { other } => {
                tracing::error!(%other, "another master goes by this master's name; rename one of them");
                Notification::NameShared { other }
            }
            Notice::StrategyMismatch { replica, ours, theirs } => {
                tracing::error!(%replica, ours, theirs, "another master resolves conflicts by other rules");
                Notification::StrategyMismatch { master_id: replica, ours, theirs }
            }
            Notice::FormatMismatch { replica, reads } => {
                tracing::error!(%replica, ?reads, "another master cannot read what this one writes");
                Notification::FormatMismatch { master_id: replica, reads }
            }
            Notice::Diverged { replica } => {
                tracing::error!(%replica, "another master has another state after the same writes");
                Notification::Diverged { master_id: replica }
            }
            Notice::Damaged { buckets, unreadable } => {
                tracing::error!(
                    ?buckets,
                    ?unreadable,
                    "what is stored was changed by somebody else than this master, or is damaged"
                );
                Notification::Damaged { buckets, unreadable }
            }
            _ => return,
        };
        self.shared.notify(notification);
    }
}
