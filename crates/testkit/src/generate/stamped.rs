//! What goes by stamps: three states of one history, in which no two writes share a stamp.

use archipelago_clock::Hlc;
use archipelago_conflict::StampedRecord;
use archipelago_crdt::{LwwMap, LwwRegister, Value};
use proptest::prelude::*;

use super::{crdts::letters, replicas};

/// Three last-writer-wins registers of one history; clocks of replicas run at different speeds.
pub fn lww_registers() -> impl Strategy<Value = [LwwRegister<char, (Hlc, u8)>; 3]> {
    replicas((letters(), 0..3u64), |register: &mut LwwRegister<char, (Hlc, u8)>, actor, &(letter, ahead)| {
        let stamp = after(register.stamp(), ahead, actor);
        drop(register.set(letter, stamp));
    })
}

/// Three last-writer-wins maps of one history, in which keys are written and removed.
pub fn lww_maps() -> impl Strategy<Value = [LwwMap<char, u8, (Hlc, u8)>; 3]> {
    let ops = (letters(), proptest::option::weighted(0.7, any::<u8>()), 0..3u64);
    replicas(ops, |map: &mut LwwMap<char, u8, (Hlc, u8)>, actor, &(key, value, ahead)| {
        let greatest = ('a'..='c').filter_map(|key| map.stamp(&key)).max();
        let stamp = after(greatest, ahead, actor);
        drop(match value {
            Some(value) => map.insert(key, value, stamp),
            None => map.remove(key, stamp),
        });
    })
}

/// Three records under field merge of one history: fields are set and removed, records replaced and deleted.
pub fn records() -> impl Strategy<Value = [StampedRecord<(Hlc, u8)>; 3]> {
    #[derive(Clone, Debug)]
    enum Op {
        Set(char, i64),
        Remove(char),
        Replace(char, i64),
        Delete,
    }
    let op = prop_oneof![
        4 => (letters(), any::<i64>()).prop_map(|(field, value)| Op::Set(field, value)),
        2 => letters().prop_map(Op::Remove),
        1 => (letters(), any::<i64>()).prop_map(|(field, value)| Op::Replace(field, value)),
        1 => Just(Op::Delete),
    ];
    replicas((op, 0..3u64), |record: &mut StampedRecord<(Hlc, u8)>, actor, (op, ahead)| {
        let stamp = after(record.stamp(), *ahead, actor);
        drop(match op {
            Op::Set(field, value) => record.set(&field.to_string(), Value::from(*value), stamp),
            Op::Remove(field) => record.remove(&field.to_string(), stamp),
            Op::Replace(field, value) => {
                record.replace(Value::from_iter([(field.to_string(), Value::from(*value))]), stamp)
            }
            Op::Delete => record.delete(stamp),
        });
    })
}

/// A stamp of `actor` after the greatest that its state has seen, `ahead` milliseconds more or in the same one. Since
/// all that an actor wrote is in its state, it never gets a stamp twice.
fn after(greatest: Option<&(Hlc, u8)>, ahead: u64, actor: u8) -> (Hlc, u8) {
    let seen = greatest.map_or(Hlc::ZERO, |(hlc, _)| *hlc);
    let hlc = match ahead {
        0 => seen.next().unwrap_or(Hlc::MAX),
        _ => Hlc::new(seen.unix_ms() + ahead, 0),
    };
    (hlc, actor)
}
