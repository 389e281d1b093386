use archipelago_crdt::{
    BoundedCounter, DwFlag, EwFlag, GCounter, GSet, List, MaxRegister, MinRegister, MvRegister, OrSet,
    PnCounter, RwSet, TwoPhaseSet,
};
use proptest::{char::range, prelude::*};

use super::replicas;

/// Three grow-only counters of one history.
pub fn gcounters() -> impl Strategy<Value = [GCounter<u8>; 3]> {
    replicas(0..4u64, |counter: &mut GCounter<u8>, actor, by| drop(counter.increment(actor, *by)))
}

/// Three counters that grew and shrank in one history.
pub fn pn_counters() -> impl Strategy<Value = [PnCounter<u8>; 3]> {
    replicas((any::<bool>(), 0..4u64), |counter: &mut PnCounter<u8>, actor, &(grow, by)| {
        drop(if grow { counter.increment(actor, by) } else { counter.decrement(actor, by) });
    })
}

/// Three counters of one history that moved rights; what an actor had no right to was refused.
pub fn bounded_counters() -> impl Strategy<Value = [BoundedCounter<u8>; 3]> {
    replicas((0..3u8, 0..3u8, 0..4u64), |counter: &mut BoundedCounter<u8>, actor, &(what, to, by)| {
        drop(match what {
            0 => counter.increment(actor, by),
            1 => counter.decrement(actor, by),
            _ => counter.transfer(actor, to, by),
        });
    })
}

/// Three registers of one history that keep the greatest value.
pub fn max_registers() -> impl Strategy<Value = [MaxRegister<u8>; 3]> {
    replicas(any::<u8>(), |register: &mut MaxRegister<u8>, _, value| {
        register.raise(*value);
    })
}

/// Three registers of one history that keep the least value.
pub fn min_registers() -> impl Strategy<Value = [MinRegister<u8>; 3]> {
    replicas(any::<u8>(), |register: &mut MinRegister<u8>, _, value| {
        register.lower(*value);
    })
}

/// Three registers of one history that keep concurrent writes; one operation in some is a clear.
pub fn mv_registers() -> impl Strategy<Value = [MvRegister<char, u8>; 3]> {
    replicas(proptest::option::of(letters()), |register: &mut MvRegister<char, u8>, actor, write| match write
    {
        Some(letter) => drop(register.write(actor, *letter)),
        None => drop(register.clear()),
    })
}

/// Three flags of one history in which enabling wins.
pub fn ew_flags() -> impl Strategy<Value = [EwFlag<u8>; 3]> {
    replicas(
        any::<bool>(),
        |flag: &mut EwFlag<u8>, actor, enable| {
            if *enable { drop(flag.enable(actor)) } else { drop(flag.disable()) }
        },
    )
}

/// Three flags of one history in which disabling wins.
pub fn dw_flags() -> impl Strategy<Value = [DwFlag<u8>; 3]> {
    replicas(
        any::<bool>(),
        |flag: &mut DwFlag<u8>, actor, enable| {
            if *enable { drop(flag.enable()) } else { drop(flag.disable(actor)) }
        },
    )
}

/// Three grow-only sets of one history.
pub fn gsets() -> impl Strategy<Value = [GSet<char>; 3]> {
    replicas(letters(), |set: &mut GSet<char>, _, letter| drop(set.insert(*letter)))
}

/// Three sets of one history of which nothing comes back.
pub fn two_phase_sets() -> impl Strategy<Value = [TwoPhaseSet<char>; 3]> {
    replicas(insertions_and_removals(), |set: &mut TwoPhaseSet<char>, _, &(insert, letter)| {
        drop(if insert { set.insert(letter) } else { set.remove(letter) });
    })
}

/// Three sets of one history in which adding wins.
pub fn or_sets() -> impl Strategy<Value = [OrSet<char, u8>; 3]> {
    replicas(insertions_and_removals(), |set: &mut OrSet<char, u8>, actor, (insert, letter)| {
        if *insert { drop(set.insert(actor, *letter)) } else { drop(set.remove(letter)) }
    })
}

/// Three sets of one history in which removing wins.
pub fn rw_sets() -> impl Strategy<Value = [RwSet<char, u8>; 3]> {
    replicas(insertions_and_removals(), |set: &mut RwSet<char, u8>, actor, &(insert, letter)| {
        drop(if insert { set.insert(actor, letter) } else { set.remove(actor, letter) });
    })
}

/// Three lists of one history; removals beyond the end were refused.
pub fn lists() -> impl Strategy<Value = [List<char, u8>; 3]> {
    let ops = (insertions_and_removals(), 0..4usize);
    replicas(ops, |list: &mut List<char, u8>, actor, &((insert, letter), index)| {
        let at = index.min(list.len());
        drop(if insert { list.insert(actor, at, letter) } else { list.remove(actor, index) });
    })
}

pub(super) fn letters() -> impl Strategy<Value = char> + Clone {
    range('a', 'c')
}

pub(super) fn insertions_and_removals() -> impl Strategy<Value = (bool, char)> {
    (proptest::bool::weighted(0.7), letters())
}
