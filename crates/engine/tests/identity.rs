//! Nobody else writes under the identity of a replica; if somebody does, the replica writes no more.

mod support;

use archipelago_clock::Dot;
use archipelago_conflict::Strategy;
use archipelago_engine::{Notice, Received, WriteError};
use support::{Replica, config, id, put};

const NOW: u64 = 1_000_000;

fn replica(name: &str) -> Replica {
    Replica::new(config(name, Strategy::Lww))
}

fn fences(replica: &Replica) -> Vec<Dot> {
    let fences = replica.notices.iter().filter_map(|notice| match notice {
        Notice::Fenced { dot } => Some(dot.clone()),
        _ => None,
    });
    fences.collect()
}

fn refused(replica: &mut Replica) -> Dot {
    match replica.write_after("x", put(9), NOW, None) {
        Err(WriteError::Fenced { dot }) => dot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_echo_of_an_own_write_is_a_duplicate() {
    let mut a = replica("a");
    let (_, event) = a.write("x", put(1), NOW);
    let before = a.engine.digest().clone();
    assert_eq!(a.receive(&event, Some(1), NOW), Received::Duplicate);
    assert_eq!((a.engine.digest(), a.disk.checkpoint), (&before, 1));
    assert_eq!(a.engine.counters().duplicates_ignored, 0, "an echo is expected");
    assert_eq!(fences(&a), []);
    a.write("x", put(2), NOW);
}

#[test]
fn a_write_of_another_under_the_own_identity_fences_for_good() {
    let (mut a, mut twin) = (replica("a"), replica("a"));
    a.write("x", put(1), NOW);
    twin.write("x", put(2), NOW);
    let foreign = [twin.write("x", put(3), NOW).1, twin.write("x", put(4), NOW).1];
    let before = (a.engine.vector().clone(), a.view());
    for event in foreign.iter().chain(&foreign) {
        assert_eq!(a.receive(event, None, NOW), Received::Fenced);
    }
    let dot = Dot::new(id("a"), 2);
    assert_eq!(fences(&a), std::slice::from_ref(&dot), "told once");
    assert_eq!(refused(&mut a), dot);
    assert_eq!((a.engine.vector().clone(), a.view()), before);

    let (_, remote) = replica("b").write("y", put(5), NOW);
    assert_eq!(a.receive(&remote, None, NOW), Received::Applied);
    assert_eq!(a.read("y"), Some(5.into()));
}

#[test]
fn a_store_that_was_restored_from_an_old_copy_is_fenced_by_its_own_later_writes() {
    let mut a = replica("a");
    let (_, first) = a.write("x", put(1), NOW);
    let backup = a.disk.clone();
    let (_, second) = a.write("x", put(2), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    assert_eq!(a.receive(&first, Some(1), NOW), Received::Duplicate);
    assert_eq!(a.receive(&second, Some(2), NOW), Received::Fenced);
    refused(&mut a);
}

#[test]
fn a_write_that_depends_on_an_own_write_not_made_here_fences() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, lost) = a.write("x", put(1), NOW);
    b.receive(&lost, None, NOW);
    let (_, reply) = b.write("x", put(2), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    assert_eq!(a.receive(&reply, None, NOW), Received::Waits);
    assert_eq!(refused(&mut a), Dot::new(id("a"), 1));
    assert_eq!(fences(&a).len(), 1);
}

#[test]
fn a_fence_from_the_log_is_there_again_after_a_crash() {
    let (mut a, mut twin) = (replica("a"), replica("a"));
    let (_, foreign) = twin.write("x", put(1), NOW);
    let (_, remote) = replica("b").write("y", put(5), NOW);
    a.receive(&foreign, Some(1), NOW);
    a.receive(&remote, Some(2), NOW);
    let mut a = a.crash();
    assert_eq!(a.disk.checkpoint, 0, "the log is read again from before it");
    assert_eq!(a.receive(&foreign, Some(1), NOW), Received::Fenced);
    refused(&mut a);
}
