use std::{collections::BTreeMap, time::Duration};

use archipelago_proto::{NodeBeat, NodeRole};
use tokio::time::Instant;

/// What a node has heard of the others.
#[derive(Debug)]
pub(super) struct Peers {
    me: String,
    heard: BTreeMap<String, Peer>,
    /// The newest entry that anyone told of, as term and index, and who.
    furthest: (u64, u64, Option<String>),
    /// They do not follow, whatever they say.
    unregistered: std::collections::BTreeSet<String>,
    /// When some of the entries appended here stood in the log: pairs of index and moment, oldest first.
    written: std::collections::VecDeque<(u64, Instant)>,
}

/// What is known of one other node.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) beat: NodeBeat,
    pub(super) heard_at: Instant,
}

/// No namespace comes to so many terms; whoever tells of more is not believed.
const TERM_MAX: u64 = 1 << 62;
/// How many other nodes are remembered; more are not listened to.
const PEERS_MAX: usize = 4_096;
/// How many moments of writing are remembered.
const WRITTEN_MAX: usize = 4_096;

impl Peers {
    pub(super) fn new(me: &str, last_applied_sequence: u64) -> Self {
        Peers {
            me: me.to_owned(),
            heard: BTreeMap::new(),
            furthest: (0, last_applied_sequence, None),
            unregistered: std::collections::BTreeSet::new(),
            written: std::collections::VecDeque::new(),
        }
    }

    /// Takes in what a node says. True if it was not known.
    pub(super) fn hear(&mut self, beat: NodeBeat, now: Instant) -> bool {
        if beat.node == self.me || beat.term > TERM_MAX {
            return false;
        }
        let is_new = !self.heard.contains_key(&beat.node);
        if is_new && self.heard.len() >= PEERS_MAX {
            return false;
        }
        // A node that takes the state anew has left its history behind.
        if !beat.is_desynced && (beat.term, beat.index) > (self.furthest.0, self.furthest.1) {
            self.furthest = (beat.term, beat.index, Some(beat.node.clone()));
        }
        self.heard.insert(beat.node.clone(), Peer { beat, heard_at: now });
        is_new
    }

    /// Takes in what a node answered that was asked at that moment how far it is. It may not have been heard before.
    pub(super) fn hear_answer(&mut self, asked_at: Instant, beat: NodeBeat) {
        let beat = match self.heard.get(&beat.node) {
            // What it said by itself says more.
            Some(known) if known.heard_at > asked_at => return,
            Some(known) => NodeBeat { term: beat.term, index: beat.index, ..known.beat.clone() },
            None => beat,
        };
        self.hear(NodeBeat { is_desynced: false, ..beat }, Instant::now());
    }

    pub(super) fn register(&mut self, node: &str) {
        self.unregistered.remove(node);
    }

    pub(super) fn unregister(&mut self, node: &str) {
        self.unregistered.insert(node.to_owned());
    }

    pub(super) fn is_unregistered(&self, node: &str) -> bool {
        self.unregistered.contains(node)
    }

    /// The newest entry that anyone told of: its term and index, and who has it.
    pub(super) fn furthest(&self) -> (u64, u64, Option<String>) {
        self.furthest.clone()
    }

    /// What was told of is gone for good.
    pub(super) fn give_up_furthest(&mut self, term: u64, index: u64) {
        self.furthest = (term, index, None);
    }

    pub(super) fn get(&self, node: &str) -> Option<&Peer> {
        self.heard.get(node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.heard.values()
    }

    /// Those that were heard within this time, the most advanced first.
    pub(super) fn alive(&self, within: Duration) -> Vec<Peer> {
        let mut alive: Vec<Peer> =
            self.heard.values().filter(|peer| peer.heard_at.elapsed() <= within).cloned().collect();
        alive.sort_by_key(|peer| std::cmp::Reverse((peer.beat.term, peer.beat.index)));
        alive
    }

    /// The node that says it leads, in the newest term, if it was heard within this time.
    pub(super) fn leader(&self, within: Duration) -> Option<&Peer> {
        let leading = self.heard.values().filter(|peer| peer.beat.role == NodeRole::Leader);
        leading.filter(|peer| peer.heard_at.elapsed() <= within).max_by_key(|peer| peer.beat.term)
    }

    /// Entries up to this index were written by now.
    pub(super) fn wrote(&mut self, index: u64, now: Instant) {
        if self.written.len() == WRITTEN_MAX {
            // Every second moment will do for what is older.
            let mut keep = false;
            self.written.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.written.push_back((index, now));
    }

    /// For how long a node that has applied `index` has been lacking something; zero if it lacks nothing of what is known.
    pub(super) fn lacking_for(&self, index: u64, now: Instant) -> Duration {
        let at = self.written.partition_point(|(written, _)| *written <= index);
        self.written.get(at).map_or(Duration::ZERO, |(_, when)| now.duration_since(*when))
    }
}
