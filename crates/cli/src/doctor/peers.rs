//! The other nodes, as their heartbeats tell: their clocks, how they resolve conflicts, and who leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago::{
    NatsConfig, NatsPipeline, Strategy,
    conflict::StrategyTable,
    pipeline::{Heard, Pipeline, PipelineError},
    proto::{Heartbeat, Limits, NodeBeat, NodeRole},
};
use archipelago_server::config::{Mode, NamespaceSection};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::finding::Finding;

/// Above this a clock is worth a look.
const CLOCK_WARN_MS: u64 = 1_000;

/// The most nodes that are remembered.
const PEERS_MAX: usize = 1_000;

/// What a heartbeat said.
pub(super) enum Peer {
    /// Of a master.
    Master {
        strategies: u64,
        /// By how much its clock is ahead of ours.
        clock_ahead_ms: i64,
    },
    /// Of a node that leads or follows.
    Node {
        role: NodeRole,
        term: u64,
        /// Who leads, as it knows.
        leader: Option<String>,
    },
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
        if from == node || peers.len() >= PEERS_MAX {
            continue;
        }
        // What is no heartbeat is none of ours.
        if let Some(peer) = read(&from, payload, clock_offset_ms) {
            peers.insert(from, peer);
        }
    }
    Ok(peers)
}

fn read(from: &str, payload: Bytes, clock_offset_ms: i64) -> Option<Peer> {
    if let Ok(beat) = NodeBeat::decode(payload.clone(), &Limits::default()) {
        let peer = Peer::Node { role: beat.role, term: beat.term, leader: beat.leader };
        return (beat.node == from).then_some(peer);
    }
    let heartbeat = Heartbeat::decode(payload, &Limits::default()).ok()?;
    let theirs = i64::try_from(heartbeat.hlc.unix_ms()).unwrap_or(i64::MAX);
    let clock_ahead_ms = theirs.saturating_sub(now_ms().saturating_add(clock_offset_ms));
    let peer = Peer::Master { strategies: heartbeat.strategies, clock_ahead_ms };
    (heartbeat.replica.name() == from).then_some(peer)
}

/// Whether the namespace is of the same mode everywhere.
pub(super) fn mode(peers: &Peers, options: &NamespaceSection) -> Option<Finding> {
    let is_other = |peer: &Peer| match peer {
        Peer::Master { .. } => options.mode != Mode::MultiMaster,
        Peer::Node { .. } => options.mode != Mode::LeaderFollower,
    };
    let (name, _) = peers.iter().find(|(_, peer)| is_other(peer))?;
    Some(Finding::fail(
        "mode",
        format!("the namespace is of the mode {} here, and of the other one at {name}", options.mode.name()),
        "make `mode` of the namespace the same on all nodes: a log is of one mode for ever",
    ))
}

/// Whether somebody leads, and all that are heard know who.
pub(super) fn leader(peers: &Peers) -> Finding {
    let nodes = peers.iter().filter_map(|(name, peer)| match peer {
        Peer::Node { role, term, leader } => Some((name, *role, *term, leader)),
        Peer::Master { .. } => None,
    });
    let nodes: Vec<_> = nodes.collect();
    let known: BTreeSet<&str> = nodes.iter().filter_map(|(_, _, _, leader)| leader.as_deref()).collect();
    let leading = nodes.iter().filter(|(_, role, _, _)| *role == NodeRole::Leader).max_by_key(|node| node.2);
    let advice = "look whether the nodes reach the broker; if `leader` or `role` is set by hand, `archipelago promote`";
    match (leading, known.len()) {
        (None, _) if nodes.is_empty() => Finding::ok("leader", "no other node was heard"),
        (Some((name, _, term, _)), 0 | 1) => {
            Finding::ok("leader", format!("{name} leads in term {term}, heard by {} others", nodes.len() - 1))
        }
        (None, 0) => Finding::warn(
            "leader",
            format!("nobody leads among {} nodes that were heard", nodes.len()),
            advice,
        ),
        // Whoever leads may be this node.
        (None, 1) => {
            Finding::ok("leader", format!("{} leads, as others know", known.into_iter().collect::<String>()))
        }
        _ => {
            let known: Vec<_> = known.into_iter().collect();
            Finding::warn("leader", format!("nodes do not agree who leads: {}", known.join(", ")), advice)
        }
    }
}

/// Whether the clock of this machine agrees with those of the others. `broker_ahead_ms` is what the broker told of its own.
pub(super) fn clock(peers: &Peers, broker_ahead_ms: Option<i64>, options: &NamespaceSection) -> Vec<Finding> {
    let others = peers.iter().filter_map(|(name, peer)| match peer {
        Peer::Master { clock_ahead_ms, .. } => Some((name.as_str(), *clock_ahead_ms)),
        // Its heartbeats do not tell the time.
        Peer::Node { .. } => None,
    });
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
    let differs = |peer: &Peer| matches!(peer, Peer::Master { strategies, .. } if *strategies != ours);
    let others = peers.iter().filter(|(_, peer)| differs(peer)).map(|(name, _)| {
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
