//! The other nodes, as their heartbeats tell: their clocks, and how they resolve conflicts.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago::{
    NatsConfig, NatsPipeline, Strategy,
    conflict::StrategyTable,
    pipeline::{Heard, Pipeline, PipelineError},
    proto::{Heartbeat, Limits},
};
use archipelago_server::config::NamespaceSection;
use tokio::time::{Instant, timeout_at};

use super::finding::Finding;

/// Above this a clock is worth a look.
const CLOCK_WARN_MS: u64 = 1_000;

/// The most nodes that are remembered.
const PEERS_MAX: usize = 1_000;

/// What a heartbeat said.
pub(super) struct Peer {
    strategies: u64,
    /// By how much its clock is ahead of ours.
    clock_ahead_ms: i64,
}

/// The newest heartbeat of each other node, by name.
pub(super) type Peers = BTreeMap<String, Peer>;

/// Listens for a while.
pub(super) async fn listen(
    config: NatsConfig,
    node: &str,
    duration: Duration,
    clock_offset_ms: i64,
) -> Result<Peers, PipelineError> {
    let pipeline = NatsPipeline::connect(config).await?;
    let mut listener = pipeline.listen(node).await?;
    let mut peers = Peers::new();
    let end = Instant::now() + duration;
    while let Ok(heard) = timeout_at(end, listener.next()).await {
        let Heard::Announcement { from, payload } = heard? else { continue };
        // What is no heartbeat of a master is none of ours.
        let Ok(heartbeat) = Heartbeat::decode(payload, &Limits::default()) else { continue };
        if from == node || heartbeat.replica.name() != from || peers.len() >= PEERS_MAX {
            continue;
        }
        let theirs = i64::try_from(heartbeat.hlc.unix_ms()).unwrap_or(i64::MAX);
        let clock_ahead_ms = theirs.saturating_sub(now_ms().saturating_add(clock_offset_ms));
        peers.insert(from, Peer { strategies: heartbeat.strategies, clock_ahead_ms });
    }
    Ok(peers)
}

/// Whether the clock of this machine agrees with those of the others. `broker_ahead_ms` is what the broker told of its own.
pub(super) fn clock(peers: &Peers, broker_ahead_ms: Option<i64>, options: &NamespaceSection) -> Vec<Finding> {
    let others = peers.iter().map(|(name, peer)| (name.as_str(), peer.clock_ahead_ms));
    let clocks: Vec<(&str, i64)> =
        broker_ahead_ms.map(|ahead| ("the broker", ahead)).into_iter().chain(others).collect();
    if clocks.is_empty() {
        return vec![Finding::ok("clock", "nobody is there to compare it with yet")];
    }
    let off = clocks.iter().filter(|(_, ahead)| ahead.unsigned_abs() > CLOCK_WARN_MS).map(|(name, ahead)| {
        let seconds = ahead.unsigned_abs() / 1_000;
        let side = if *ahead > 0 { "behind" } else { "ahead of" };
        let found = format!("the clock of this machine is {seconds} s {side} that of {name}");
        let advice = "let all machines keep their time by NTP: the later stamp wins a conflict, and a write too far ahead must wait";
        if ahead.unsigned_abs() >= options.max_drift_ms.max(1) {
            let found = format!("{found}, more than max_drift_ms = {}", options.max_drift_ms);
            Finding::fail("clock", found, advice)
        } else {
            Finding::warn("clock", found, advice)
        }
    });
    let off: Vec<Finding> = off.collect();
    if off.is_empty() {
        let greatest = clocks.iter().map(|(_, ahead)| ahead.unsigned_abs()).max().unwrap_or_default();
        return vec![Finding::ok("clock", format!("within {greatest} ms of {} others", clocks.len()))];
    }
    off
}

/// Whether all resolve conflicts alike.
pub(super) fn strategies(peers: &Peers, options: &NamespaceSection) -> Vec<Finding> {
    if peers.is_empty() {
        return vec![Finding::ok("strategies", "no other node was heard")];
    }
    let table = StrategyTable::new(Strategy::from(options.strategy));
    let ours = options
        .prefix_strategies
        .iter()
        .fold(table, |table, (prefix, strategy)| table.with_prefix(prefix, Strategy::from(*strategy)))
        .fingerprint();
    let others = peers.iter().filter(|(_, peer)| peer.strategies != ours).map(|(name, _)| {
        Finding::fail(
            "strategies",
            format!("{name} resolves conflicts by other rules: the two will not hold the same"),
            "make `strategy` and `prefix_strategies` of the namespace the same on all nodes",
        )
    });
    let others: Vec<Finding> = others.collect();
    if others.is_empty() {
        return vec![Finding::ok("strategies", format!("the same as of {} others", peers.len()))];
    }
    others
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
