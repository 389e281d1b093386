//! What may be lost without breaking a promise.
//!
//! A write that was acknowledged is in the log and on the disk of the leader; the promise is that it outlives
//!
//! - anything that happens to links, processes, the lease and the broker, as long as neither log nor disks lose anything;
//! - a disk, as long as another node that runs has all that was on it, whole;
//! - a loss inside the broker, as long as some node that had applied what was lost is heard by whoever leads next.
//!
//! So disks are lost only when another node has as much. And before the log loses something, a *guardian* is named: the
//! leader, or a node that has applied all that the log holds. A leader may have sent some of that, and not stored it yet. Until
//! the log again ends where it did, or later, and the guardian has stored all that it held, nothing happens to the guardian, and
//! no link is cut or held back; other nodes may crash, with or without their disks, be closed, promoted and demoted as ever.

use archipelago_pipeline::Pipeline;
use archipelago_proto::{EntryBatch, Limits};
use futures::FutureExt;

use super::world::{NAMESPACE, World};

/// How many messages from the end of the log are looked at.
const MESSAGES_MAX: u64 = 64;

/// What is true while a loss is not mended.
#[derive(Debug, Default)]
pub(super) struct Premise {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    guardian: usize,
    /// The last entry that the log had.
    index: u64,
}

impl Premise {
    /// Looks whether the log has again what it had, and its guardian too: where the log ends does not say so, as it may have
    /// taken something since behind what it lost.
    pub(super) async fn look(&mut self, world: &World) {
        if let Some(window) = &self.window
            && world.hosts()[window.guardian].has() >= window.index
            && log_end(world).await.is_some_and(|(_, index)| index >= window.index)
        {
            world.note("the log is mended");
            self.window = None;
        }
    }

    pub(super) fn allows_cuts(&self) -> bool {
        self.window.is_none()
    }

    /// Whether this node may be stopped, and keep its disk.
    pub(super) fn allows_stop(&self, node: usize) -> bool {
        self.window.as_ref().is_none_or(|window| window.guardian != node)
    }

    /// Whether what is on the disk of this node may be lost.
    pub(super) fn allows_disk_loss(&self, world: &World, node: usize) -> bool {
        let hosts = world.hosts();
        let has = hosts[node].has();
        let others = hosts.iter().enumerate().filter(|(other, _)| *other != node);
        self.allows_stop(node) && others.filter_map(|(_, other)| other.gives()).any(|others| others >= has)
    }

    /// Whether the log may lose something now; if so, it is to be lost at once.
    pub(super) async fn begin_loss(&mut self, world: &World) -> bool {
        if self.window.is_some() {
            return false;
        }
        let Some((term, index)) = log_end(world).await else { return false };
        let hosts = world.hosts();
        if hosts.iter().any(|host| host.is_busy || host.life.is_some() && host.reachable().is_none()) {
            return false;
        }
        let leads = |host: &super::host::Host| {
            host.life.as_ref().is_some_and(|life| life.manager.is_leader() && life.manager.term() == term)
        };
        let able = |host: &super::host::Host| host.gives().is_some_and(|has| leads(host) || has >= index);
        // The leader only if no other can be, so that it may crash.
        let able: Vec<usize> = (0..hosts.len()).filter(|node| able(&hosts[*node])).collect();
        let guardian = able.iter().copied().find(|node| !leads(&hosts[*node])).or(able.first().copied());
        let Some(guardian) = guardian else { return false };
        let index = index.max(hosts[guardian].has());
        world.note(format!("{} has the entries up to {index}, and is left alone", hosts[guardian].plan.name));
        self.window = Some(Window { guardian, index });
        true
    }
}

/// The term and the index with which the log ends, if there is anything in it.
async fn log_end(world: &World) -> Option<(u64, u64)> {
    let batches = log(world, MESSAGES_MAX).await?;
    batches.iter().map(|batch| (batch.term, batch.last_index())).max()
}

/// What the last messages of the log hold.
pub(super) async fn log(world: &World, messages_max: u64) -> Option<Vec<EntryBatch>> {
    let pipeline = world.broker.pipeline(NAMESPACE);
    let state = pipeline.state().await.ok()?;
    let after = state.last_sequence.saturating_sub(messages_max).max(state.first_sequence - 1);
    let mut messages = pipeline.subscribe(after).await.ok()?;
    let mut batches = Vec::new();
    while let Some(Ok(message)) = messages.next().now_or_never() {
        batches
            .extend(message.payload.and_then(|payload| EntryBatch::decode(payload, &Limits::default()).ok()));
    }
    Some(batches)
}
