//! What replicas say of themselves tells when they cannot agree.

mod support;

use archipelago_clock::{Hlc, Incarnation, ReplicaId};
use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_engine::{EngineConfig, Notice};
use archipelago_proto::Heartbeat;
use support::{Replica, config, id, put};

const NOW: u64 = 1_000_000;

fn replica(name: &str) -> Replica {
    Replica::new(config(name, Strategy::Lww))
}

impl Replica {
    fn hears(&mut self, heartbeat: &Heartbeat) {
        self.engine.handle_heartbeat(heartbeat.clone(), NOW);
        self.flush(NOW);
    }

    fn alarms(&self) -> Vec<String> {
        let alarms = self.notices.iter().filter_map(|notice| match notice {
            Notice::StrategyMismatch { replica, ours, theirs } => {
                assert_ne!(ours, theirs);
                Some(format!("mismatch {}", replica.name()))
            }
            Notice::Diverged { replica } => Some(format!("diverged {}", replica.name())),
            Notice::Fenced { dot } => Some(format!("fenced {}", dot.sequence)),
            _ => None,
        });
        alarms.collect()
    }
}

#[test]
fn a_heartbeat_says_what_is_applied_and_counts_up() {
    let mut a = replica("a");
    let (_, event) = a.write("x", put(1), NOW);
    let first = a.engine.heartbeat(None, NOW + 5);
    let second = a.engine.heartbeat(None, NOW - 5);
    assert_eq!((first.beat, second.beat), (1, 2));
    assert_eq!((&first.replica, first.session), (&id("a"), 0));
    assert_eq!(first.vector.get(&id("a")), 1);
    assert_eq!(first.digest, a.engine.digest().root());
    assert_eq!(first.hlc, Hlc::new(NOW + 5, 0), "the wall clock");
    assert_eq!(second.hlc, event.hlc, "and never less than the last stamp");
    let mut b = replica("b");
    b.hears(&first);
    b.receive(&event, None, NOW);
    b.hears(&second);
    let peers: Vec<_> = b.engine.peers().cloned().collect();
    assert_eq!(peers.len(), 1);
    assert_eq!((&*peers[0].heartbeat, peers[0].heard_unix_ms, peers[0].diverged), (&second, NOW, false));
    assert_eq!(b.alarms(), [""; 0]);
}

#[test]
fn other_strategies_are_an_alarm_told_once_for_each_table() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let mut others = Replica::new(config("c", Strategy::FieldMerge));
    b.hears(&a.engine.heartbeat(None, NOW));
    for _ in 0..3 {
        b.hears(&others.engine.heartbeat(None, NOW));
    }
    assert_eq!(b.alarms(), ["mismatch c"]);
    let table = StrategyTable::new(Strategy::Lww).with_prefix("user/", Strategy::Manual);
    let config = EngineConfig { strategies: table, session: 1, ..config("c", Strategy::Lww) };
    let mut others = Replica::new(config);
    b.hears(&others.engine.heartbeat(None, NOW));
    assert_eq!(b.alarms(), ["mismatch c", "mismatch c"]);
    let config = EngineConfig { session: 2, ..support::config("c", Strategy::Lww) };
    b.hears(&Replica::new(config).engine.heartbeat(None, NOW));
    assert_eq!(b.alarms().len(), 2, "mended, it is none");
}

#[test]
fn another_state_after_the_same_writes_is_an_alarm_and_between_different_writes_is_none() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let (_, event) = a.write("x", put(1), NOW);
    b.hears(&a.engine.heartbeat(None, NOW));
    b.receive(&event, None, NOW);
    b.hears(&a.engine.heartbeat(None, NOW));
    assert_eq!(b.alarms(), [""; 0]);

    // One value of `a` changes behind the engine's back.
    let mut twin = replica("a");
    twin.write("x", put(2), NOW);
    let mut damaged = a.disk.clone();
    damaged.entities = twin.disk.entities;
    let mut a = Replica::open(EngineConfig { session: 1, ..config("a", Strategy::Lww) }, damaged);
    for _ in 0..2 {
        b.hears(&a.engine.heartbeat(None, NOW));
    }
    assert_eq!(b.alarms(), ["diverged a"]);
    assert!(b.engine.peers().all(|peer| peer.diverged));
    a.write("y", put(1), NOW);
    b.hears(&a.engine.heartbeat(None, NOW));
    assert!(b.engine.peers().all(|peer| peer.diverged), "nothing says that it is mended");
}

#[test]
fn a_heartbeat_that_knows_more_own_writes_than_were_made_here_fences() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, event) = a.write("x", put(1), NOW);
    b.receive(&event, None, NOW);
    let heartbeat = b.engine.heartbeat(None, NOW);
    a.hears(&heartbeat);
    assert_eq!(a.alarms(), [""; 0]);
    let mut restored = Replica::open(config("a", Strategy::Lww), backup);
    restored.hears(&heartbeat);
    assert_eq!(restored.alarms(), ["fenced 1"]);
    assert!(restored.write_after("y", put(2), NOW, None).is_err());
}

#[test]
fn late_heartbeats_and_those_of_other_namespaces_change_nothing_and_silent_incarnations_make_room() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let early = a.engine.heartbeat(None, NOW);
    a.write("x", put(1), NOW);
    let late = a.engine.heartbeat(None, NOW);
    b.hears(&late);
    b.hears(&early);
    let elsewhere = Heartbeat { namespace: "elsewhere".into(), replica: id("z"), ..late.clone() };
    b.hears(&elsewhere);
    let own = Heartbeat { replica: id("b"), ..late.clone() };
    b.hears(&own);
    let heard: Vec<_> = b.engine.peers().map(|peer| peer.heartbeat.clone()).collect();
    assert_eq!(heard, [std::sync::Arc::new(late.clone())]);
    let reborn = ReplicaId::new("a", Incarnation::from_bits(2)).unwrap();
    let reborn = Heartbeat { replica: reborn, beat: 1, ..early };
    b.hears(&reborn);
    assert_eq!(b.engine.peers().count(), 2, "both may be alive");
    let reborn = Heartbeat { beat: 2, ..reborn };
    b.engine.handle_heartbeat(reborn.clone(), NOW + 30_000);
    let heard: Vec<_> = b.engine.peers().map(|peer| peer.heartbeat.clone()).collect();
    assert_eq!(heard, [std::sync::Arc::new(reborn)], "the one that is silent makes room");
}

#[test]
fn no_more_peers_are_remembered_than_the_limit_and_the_silent_go_first() {
    let mut config = config("b", Strategy::Lww);
    config.limits.replicas_max = 2;
    let mut b = Replica::new(config);
    for (name, heard) in [("x", NOW), ("y", NOW + 1), ("x", NOW + 2), ("z", NOW + 3)] {
        let mut heartbeat = replica(name).engine.heartbeat(None, NOW);
        heartbeat.beat = heard;
        b.engine.handle_heartbeat(heartbeat, heard);
    }
    let names: Vec<_> = b.engine.peers().map(|peer| peer.heartbeat.replica.name().to_owned()).collect();
    assert_eq!(names, ["x", "z"]);
}

#[test]
fn what_another_replica_has_and_the_log_does_not_bring_is_asked_for_after_a_while() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let lost = a.write("x", put(1), NOW).1;
    let mut hears_at = |b: &mut Replica, now: u64| {
        let heartbeat = a.engine.heartbeat(None, now);
        b.engine.handle_heartbeat(heartbeat, now);
        b.flush(now);
        b.repair.take()
    };
    assert_eq!(hears_at(&mut b, NOW), None, "it may be on its way");
    assert_eq!(hears_at(&mut b, NOW + 1_999), None);
    assert_eq!(hears_at(&mut b, NOW + 2_000), Some(id("a")));
    assert_eq!(hears_at(&mut b, NOW + 3_000), None, "asked for once");
    assert_eq!(hears_at(&mut b, NOW + 4_000), Some(id("a")), "and again if nothing came of it");
    b.receive(&lost, None, NOW);
    assert_eq!(hears_at(&mut b, NOW + 9_000), None);
}

#[test]
fn what_comes_slowly_or_waits_for_its_time_is_not_asked_for() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let slow: Vec<_> = (0..9).map(|number| a.write("x", put(number), NOW).1).collect();
    for (second, event) in (0..).zip(&slow) {
        b.engine.handle_heartbeat(a.engine.heartbeat(None, NOW), NOW + 1_500 * second);
        b.receive(event, None, NOW + 1_500 * second);
    }
    let early = a.write("x", put("early"), NOW + 3_600_000).1;
    b.receive(&early, None, NOW);
    for second in 0..9 {
        b.engine.handle_heartbeat(a.engine.heartbeat(None, NOW), NOW + 1_000 * second);
        b.flush(NOW);
    }
    assert_eq!((b.repair, b.engine.buffered()), (None, 1));
}
