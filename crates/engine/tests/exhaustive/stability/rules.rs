use archipelago_clock::{Dot, Hlc, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_proto::{Event, Op};

/// The live writes, if one of them has a value, of a replica that has applied what `vector` covers and never forgets a
/// removal: by the rules alone.
///
/// A live write is superseded by one whose author had seen it, and a removal also by one whose admitting replica had applied
/// it. Under last writer wins the greatest stamp stays. Stamps agree with causality, so the events may be taken in their
/// order.
pub(crate) fn live(events: &[&Event], vector: &VersionVector, strategy: Strategy) -> Vec<(Dot, bool)> {
    let mut applied: Vec<&&Event> = events.iter().filter(|event| vector.contains(&event.dot)).collect();
    applied.sort_by_key(|event| (event.hlc, event.dot.clone()));
    let mut live: Vec<(Hlc, Dot, bool)> = Vec::new();
    for event in applied {
        let admitted = |dot: &Dot| {
            event.deps.contains(dot) || dot.actor == event.dot.actor && dot.sequence < event.dot.sequence
        };
        let seen =
            |dot: &Dot| event.context.as_ref().map_or_else(|| admitted(dot), |seen| seen.contains(dot));
        live.retain(|(_, dot, has_value)| !(seen(dot) || !has_value && admitted(dot)));
        live.push((event.hlc, event.dot.clone(), event.op != Op::Delete));
        if strategy == Strategy::Lww {
            live.sort();
            live.drain(..live.len() - 1);
        }
    }
    live.sort_by(|one, other| one.1.cmp(&other.1));
    match live.iter().any(|(_, _, has_value)| *has_value) {
        true => live.into_iter().map(|(_, dot, has_value)| (dot, has_value)).collect(),
        false => Vec::new(),
    }
}
