//! What is broken: nodes and their broker under load, of either mode.

use std::{path::Path, sync::Arc};

use rand::rngs::StdRng;

use crate::{
    broker::{Broker, Way},
    failure::Outcome,
};

/// Whether the log is as it was when it was read last, and has only grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Grown,
    /// It lost something, and nodes may have put that back: it is read again from its beginning.
    Lost,
}

/// So many writes are acknowledged before a fault comes: on a slow machine, too, it meets nodes that are at work.
pub(crate) const WRITES_BEFORE_FAULT: u64 = 120;

/// A run of one mode, as the faults that both have see it.
pub(crate) trait Scene {
    type Fault: Copy;
    type Node: Node;

    /// Lets everything come up.
    async fn begin(&mut self) -> Outcome;

    /// Brings the fault about, heals it, and checks. Errors leave everything as it is, to be looked at.
    async fn bring(&mut self, fault: Self::Fault, what: &str) -> Outcome;

    /// A last look at everything, and a good end.
    async fn finish(&mut self) -> Outcome;

    /// Tells a person what goes on.
    fn show(&self, what: &str);

    fn broker(&mut self) -> &mut Broker;

    /// The streams that the namespace has on the broker.
    fn streams(&self) -> Vec<String>;

    fn random(&mut self) -> &mut StdRng;

    fn nodes(&self) -> Vec<Arc<Self::Node>>;

    /// Lets the load go on for a moment that chance decides.
    async fn work(&mut self, ms: std::ops::Range<u64>);

    /// Makes this node the one that matters, if there is such.
    async fn enthrone(&mut self, node: &Arc<Self::Node>) -> Outcome;

    /// The broker lacks a server and must serve all the same.
    async fn serves(&mut self, fault: &'static str, since_ns: u64) -> Outcome;

    /// Everything was healed at `since_ns`: waits until all serve and agree, and compares what they hold with what is
    /// known of it outside.
    async fn recovers(&mut self, fault: &'static str, since_ns: u64, what: &str, log: Since) -> Outcome;
}

/// A process with a folder and a way to the broker.
pub(crate) trait Node {
    fn name(&self) -> &str;

    fn folder(&self) -> &Path;

    fn way(&self) -> &Way;

    /// SIGKILL; returns once the process is gone.
    async fn kill(&self) -> Outcome;

    /// Ends it in good order.
    async fn close(&self);

    /// Starts it on its folder, if it does not run.
    async fn restart(&self) -> Outcome;

    /// SIGSTOP.
    fn pause(&self) -> Outcome;

    /// SIGCONT.
    fn resume(&self) -> Outcome;

    fn process_id(&self) -> Outcome<i32>;

    async fn set_clock(&self, offset_ms: i64) -> Outcome;

    /// Says whether its store is about to fail: then it is no trouble if it does.
    fn foresee(&self, disk: Disk);

    /// Why its store failed, as it says itself, if it has.
    async fn store_failed(&self) -> Outcome<Option<String>>;
}

/// What is known of a node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Sound,
    Full,
}
