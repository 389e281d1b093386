//! How a follower knows how old what it shows can be.
//!
//! It notes its own time, asks the leader which entry was acknowledged last, and once it has applied that entry, it has
//! all that was acknowledged before the time it noted. Only its own clock is read, and only for how long ago that was.

use std::{sync::Arc, time::Duration};

use archipelago_proto::{NodeAnswer, NodeQuestion};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{lease_keeper::LeaseHandle, shared::Shared};

/// After an attempt that did not succeed, at least.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// For how long what the leader has is waited for before it is asked again.
const APPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// Finds out again and again, and at once when somebody needs to know. Runs until the node is closed.
pub(super) async fn keep_fresh(shared: Arc<Shared>, lease: Option<LeaseHandle>) {
    let mut interval = tokio::time::interval(shared.options.heartbeat_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            () = shared.freshen.notified() => {}
            _ = interval.tick() => {}
        }
        if !find_out(&shared, lease.as_ref()).await {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }
}

/// True if it is known now.
async fn find_out(shared: &Shared, lease: Option<&LeaseHandle>) -> bool {
    let asked_at = Instant::now();
    if shared.is_leading() {
        let leads = shared.leads_by_now(lease).await;
        if leads {
            shared.fresh_at.send_replace(Some(asked_at));
        }
        return leads;
    }
    let Some(leader) = shared.leader().filter(|leader| *leader.id != *shared.node) else { return false };
    let deadline = shared.options.heartbeat_interval.max(Duration::from_millis(500));
    let Ok(NodeAnswer::Index { term, index }) = shared.ask(&leader.id, &NodeQuestion::Head, deadline).await
    else {
        return false;
    };
    let mut applied = shared.applied.subscribe();
    let caught_up = applied.wait_for(|applied| applied.covers(term, index));
    if !matches!(timeout(APPLY_TIMEOUT, caught_up).await, Ok(Ok(_))) {
        return false;
    }
    shared.fresh_at.send_if_modified(|fresh_at| {
        let later = fresh_at.is_none_or(|known| known < asked_at);
        if later {
            *fresh_at = Some(asked_at);
        }
        later
    });
    true
}
