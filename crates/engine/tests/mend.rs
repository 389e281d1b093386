//! A damaged entity becomes what another replica holds of it, and nothing else does.

mod support;

use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::Strategy;
use archipelago_engine::{Comparison, EngineConfig, Held, Mend, Theirs, Unmended, WriteError, bucket_of};
use archipelago_proto::{Body, EntityId, HeldContent, Holding, Record, Version};
use proptest::prelude::*;
use support::{Replica, config, id, patch, put};

const NOW: u64 = 1_000_000;

/// What is live in the entity, as far as the record can be understood.
fn dots(replica: &Replica, entity: &str) -> Vec<Dot> {
    let holding = replica.engine.holding(&entity.into(), &[], &replica.disk).expect("a disk");
    match holding.content {
        HeldContent::Record(record) => record.versions.into_iter().map(|version| version.dot).collect(),
        _ => Vec::new(),
    }
}

fn held_by(giver: &Replica, entity: &str, taker: &Replica) -> Holding {
    giver.engine.holding(&entity.into(), &dots(taker, entity), &giver.disk).expect("a disk")
}

impl Replica {
    fn compared(&mut self, entity: &str, with: &Replica) -> Comparison {
        let holding = held_by(with, entity, self);
        let (vector, reclaimed) = (with.engine.vector(), with.engine.reclaimed());
        let theirs = Theirs { vector, reclaimed, holding: &holding };
        self.engine.compare(&entity.into(), theirs, &self.disk).expect("a disk")
    }

    fn mended(&mut self, entity: &str, from: &Replica) -> Mend {
        let holding = held_by(from, entity, self);
        let (vector, reclaimed) = (from.engine.vector(), from.engine.reclaimed());
        let theirs = Theirs { vector, reclaimed, holding: &holding };
        let mend = self.engine.mend(&entity.into(), theirs, NOW, &self.disk).expect("a disk");
        self.flush(NOW);
        mend
    }

    fn scrubbed(&mut self) {
        self.engine.scrub(1_000, &self.disk).expect("a disk").expect("a whole pass");
        self.flush(NOW);
    }

    fn damage(&mut self, entity: &str, damage: impl FnOnce(&mut Record)) {
        let mut record = self.record(&entity.into()).expect("stored");
        damage(&mut record);
        let stored = record.encode(&mut self.engine.replicas().clone());
        self.disk.entities.insert(entity.into(), stored);
    }
}

/// Two replicas with the same state: a value, one with siblings or of both, one that was removed.
fn pair(strategy: Strategy) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(config("a", strategy)), Replica::new(config("b", strategy)));
    let one = a.write("both", patch(&[("x", Some("from a"))]), NOW).1;
    let other = b.write("both", patch(&[("y", Some("from b"))]), NOW + 1).1;
    b.receive(&one, None, NOW + 1);
    a.receive(&other, None, NOW + 1);
    for (entity, change) in [
        ("value", put([("name", "Alice")].into_iter().collect::<std::collections::BTreeMap<_, _>>())),
        ("removed", put("soon gone")),
        ("removed", archipelago_engine::Change::Delete),
    ] {
        let event = a.write(entity, change, NOW).1;
        b.receive(&event, None, NOW + 1);
    }
    assert_eq!((a.engine.vector(), a.engine.digest()), (b.engine.vector(), b.engine.digest()));
    (a, b)
}

fn is_whole_again(mended: &Replica, giver: &Replica) {
    assert_eq!(mended.view(), giver.view());
    assert_eq!(mended.engine.digest(), giver.engine.digest());
    assert_eq!(mended.disk.live, mended.live_dots_of_records());
    let reopened = Replica::open(mended.engine.config().clone(), mended.disk.clone());
    assert_eq!(reopened.engine.digest(), giver.engine.digest());
    assert_eq!(reopened.engine.tombstones(), mended.engine.tombstones());
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Lww),
        Just(Strategy::FieldMerge),
        Just(Strategy::CrdtMerge),
        Just(Strategy::Manual),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Whatever byte it is, and also if the row cannot be understood any more, or is gone.
    #[test]
    fn a_flipped_byte_is_named_and_mended_and_the_alarm_is_cleared_on_both_sides(
        strategy in strategies(), entity in prop_oneof![Just("value"), Just("both")],
        byte in any::<prop::sample::Index>(), bits in any::<u8>(),
    ) {
        let (mut a, mut b) = pair(strategy);
        match bits {
            0 => drop(b.disk.entities.remove(entity.as_bytes())),
            bits => {
                let mut record = b.disk.entities[entity.as_bytes()].to_vec();
                let at = byte.index(record.len());
                record[at] ^= bits;
                b.disk.entities.insert(entity.into(), record.into());
            }
        }
        // Of some numbers MessagePack has two forms.
        let is_harmless = b.disk.entities.get(entity.as_bytes()).is_some_and(|stored| {
            let read = Record::decode(stored.clone(), b.engine.replicas(), &archipelago_proto::Limits::default());
            read.ok() == a.record(&entity.into())
        });
        prop_assume!(!is_harmless);
        let compared = b.compared(entity, &a);
        let is_named = matches!(compared, Comparison::Differs { there: Held::Value(_), .. });
        prop_assert!(is_named, "{compared:?}");
        prop_assert_eq!(b.compared("removed", &a), Comparison::Same);
        b.scrubbed();
        let exchange = |a: &mut Replica, b: &mut Replica| {
            b.engine.handle_heartbeat(a.engine.heartbeat(None, NOW), NOW);
            a.engine.handle_heartbeat(b.engine.heartbeat(None, NOW), NOW);
            [&*a, &*b].map(|side| side.engine.peers().all(|peer| peer.diverged))
        };
        prop_assert_eq!(exchange(&mut a, &mut b), [true, true]);
        let mend = b.mended(entity, &a);
        prop_assert!(matches!(mend, Mend::Replaced | Mend::Joined), "{mend:?}");
        is_whole_again(&b, &a);
        prop_assert_eq!(exchange(&mut a, &mut b), [false, false]);
        prop_assert_eq!(b.mended(entity, &a), Mend::Same);
    }
}

#[test]
fn a_row_that_nobody_wrote_goes() {
    let (a, mut b) = pair(Strategy::Lww);
    let copy = b.disk.entities["value".as_bytes()].clone();
    b.disk.entities.insert("added".into(), copy);
    let compared = b.compared("added", &a);
    assert!(
        matches!(compared, Comparison::Differs { here: Held::Value(_), there: Held::Nothing }),
        "{compared:?}"
    );
    b.scrubbed();
    assert_eq!(b.mended("added", &a), Mend::Replaced);
    assert!(!b.disk.entities.contains_key("added".as_bytes()));
    is_whole_again(&b, &a);
}

#[test]
fn what_the_other_has_not_seen_is_never_taken_away() {
    for damage in [None, Some("rubbish"), Some("")] {
        let (mut a, mut b) = pair(Strategy::Lww);
        let unseen = b.write("value", put("only here"), NOW).1;
        match damage {
            None => b.damage("value", |record| record.versions[0].hlc = Hlc::new(NOW, 77)),
            Some("") => drop(b.disk.entities.remove("value".as_bytes())),
            Some(rubbish) => drop(b.disk.entities.insert("value".into(), rubbish.into())),
        }
        b.scrubbed();
        let before = b.disk.entities.clone();
        assert_eq!(b.compared("value", &a), Comparison::InFlight);
        assert_eq!(b.mended("value", &a), Mend::Left(Unmended::InFlight));
        assert_eq!(b.disk.entities, before);
        a.receive(&unseen, None, NOW);
        assert_eq!(b.mended("value", &a), Mend::Replaced, "once it has seen it");
        is_whole_again(&b, &a);
    }
}

#[test]
fn a_write_on_its_way_is_no_difference() {
    let (mut a, mut b) = pair(Strategy::FieldMerge);
    let event = a.write("value", patch(&[("name", Some("Bob"))]), NOW).1;
    assert_eq!(b.compared("value", &a), Comparison::InFlight);
    assert_eq!(a.compared("value", &b), Comparison::InFlight);
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::InFlight));
    b.receive(&event, None, NOW);
    assert_eq!(b.compared("value", &a), Comparison::Same);
}

#[test]
fn what_was_removed_here_as_the_index_says_does_not_come_back_from_there() {
    let (mut a, mut b) = pair(Strategy::Lww);
    // `a` missed by some fault what `b` has done, although its vector says otherwise.
    let stale = a.disk.clone();
    let removal = b.write("value", archipelago_engine::Change::Delete, NOW + 5).1;
    a.receive(&removal, None, NOW + 5);
    let mut faulty = stale;
    faulty.vector.clone_from(&a.disk.vector);
    faulty.replicas.clone_from(&a.disk.replicas);
    let mut a = Replica::open(EngineConfig { session: 1, ..config("a", Strategy::Lww) }, faulty);
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::RemovedHere));
    assert_eq!(b.read("value"), None);
    assert_eq!(a.mended("value", &b), Mend::Joined, "in the other direction it is a join");
    assert_eq!((a.read("value"), a.engine.digest()), (None, b.engine.digest()));
}

#[test]
fn what_is_damaged_there_is_not_taken() {
    let (mut a, b) = pair(Strategy::Lww);
    a.damage("value", |record| record.versions[0].dot.sequence = 1);
    let mut b = b;
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::DamagedThere));
    a.disk.entities.insert("value".into(), "rubbish".into());
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::DamagedThere));
    a.disk.entities.remove("value".as_bytes());
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::DamagedThere), "its index has it");
    assert!(b.read("value").is_some());
}

#[test]
fn what_is_stamped_too_far_ahead_is_not_taken() {
    let (mut a, mut b) = pair(Strategy::Lww);
    a.damage("value", |record| record.versions[0].hlc = Hlc::new(NOW + 3_600_000, 0));
    assert_eq!(b.mended("value", &a), Mend::Left(Unmended::Ahead));
}

#[test]
fn what_waits_for_a_resolution_waits_again_after_a_mend() {
    let (mut a, mut b) =
        (Replica::new(config("a", Strategy::Manual)), Replica::new(config("b", Strategy::Manual)));
    let (one, other) = (a.write("x", put(1), NOW).1, b.write("x", put(2), NOW).1);
    a.receive(&other, None, NOW);
    b.receive(&one, None, NOW);
    b.damage("x", |record| drop(record.versions.pop()));
    b.scrubbed();
    let holding = held_by(&a, "x", &b);
    let theirs = Theirs { vector: a.engine.vector(), reclaimed: a.engine.reclaimed(), holding: &holding };
    assert_eq!(b.engine.mend(&"x".into(), theirs, NOW, &b.disk).expect("a disk"), Mend::Replaced);
    let commit = b.engine.flush(NOW).into_iter().find_map(|effect| match effect {
        archipelago_engine::Effect::Commit(commit) => Some(commit),
        _ => None,
    });
    let commit = commit.expect("something to store");
    assert_eq!(commit.pending, [(EntityId::from("x"), true)]);
    assert_eq!((commit.live.as_slice(), commit.vector.as_slice()), (&[][..], &[][..]), "all of that was so");
    assert!(commit.outbox.is_empty(), "no event is made");
}

#[test]
fn a_write_to_what_cannot_be_understood_is_refused_and_after_a_mend_it_is_not() {
    let (a, mut b) = pair(Strategy::FieldMerge);
    b.disk.entities.insert("value".into(), "rubbish".into());
    let refused = b.write_after("value", patch(&[("name", Some("Bob"))]), NOW, None);
    assert!(matches!(refused, Err(WriteError::Read(_))), "{refused:?}");
    assert_eq!(b.mended("value", &a), Mend::Replaced);
    b.write("value", patch(&[("name", Some("Bob"))]), NOW);
}

#[test]
fn pages_of_digests_cover_the_buckets_asked_for_and_name_what_cannot_be_understood() {
    let (_, mut b) = pair(Strategy::Lww);
    b.disk.entities.insert("both".into(), "rubbish".into());
    let bucket = [bucket_of(&"value".into()), bucket_of(&"both".into())];
    let page = b.engine.digests(&bucket, None, 1, &b.disk).expect("a disk");
    assert_eq!((page.entities, page.next.as_deref()), (vec![("both".into(), None)], Some("removed")));
    let rest = b.engine.digests(&bucket, Some(&"removed".into()), 1, &b.disk).expect("a disk");
    assert_eq!((rest.entities.len(), rest.next), (1, None));
    assert_eq!(rest.entities[0].0, EntityId::from("value"));
    let none = b.engine.digests(&[], None, 1, &b.disk).expect("a disk");
    assert_eq!((none.entities, none.next), (vec![], None));
}

#[test]
fn a_version_out_of_place_is_at_odds_with_the_index() {
    let (mut a, b) = pair(Strategy::Manual);
    a.damage("both", |record| record.versions.reverse());
    assert!(held_by(&a, "both", &b).is_at_odds);
    a.damage("both", |record| {
        let (dot, hlc) = (Dot::new(id("a"), 0), Hlc::new(NOW, 0));
        record.versions = vec![Version { dot, hlc, body: Body::Tombstone }];
    });
    assert!(held_by(&a, "both", &b).is_at_odds);
    assert!(!held_by(&b, "both", &a).is_at_odds);
}
