//! A conflict is reported exactly if the write did not know of something that was live. And what is live afterwards is
//! what the rules say.

use std::collections::BTreeMap;

use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::{Family, Join};
use archipelago_engine::Engine;
use archipelago_proto::{Body, Limits, Record};
use bytes::Bytes;

use super::{Broken, Flushed, Told};
use crate::simulation::{
    Ledger,
    ledger::{Deed, Entry},
    view::{IslandView, Source},
    world::Input,
};

/// The live versions of an entity: which are removals, and when they were written.
type Live = BTreeMap<Dot, (bool, Hlc)>;

/// Goes through what was told, entity by entity, of those that are written as a whole.
pub(super) fn check(island: &IslandView<'_>, flushed: &Flushed, ledger: &Ledger) -> Result<(), Broken> {
    let Source::Running { engine, rows } = island.source else { return Ok(()) };
    // A write made here is not told to be applied, and is all there is.
    let own: Vec<Told> = own_write(engine, flushed, ledger).into_iter().collect();
    let told: Vec<&Told> = flushed.told.iter().chain(&own).collect();
    for (entity, before) in &flushed.before {
        let family = island.strategies().strategy(entity).family();
        let keeps_all = match family {
            Family::Siblings => true,
            Family::Joined(Join::Whole) => false,
            Family::Joined(_) => continue,
        };
        // What a write is called depends on when it came.
        if ledger.of(entity).any(|write| write.is_ambiguous || write.is_renamed()) {
            continue;
        }
        let mut live = live(engine, before.clone());
        let conflicts = told.iter().filter_map(|told| match told {
            Told::Conflict(dot) => Some(dot),
            Told::Applied(_) => None,
        });
        let conflicts: Vec<&Dot> = conflicts.collect();
        for told in &told {
            let Told::Applied(dot) = told else { continue };
            let Some(write) = ledger.by_dot(dot).filter(|write| write.entity == *entity) else { continue };
            let is_conflict = place(&mut live, write, keeps_all, ledger);
            if is_conflict != conflicts.contains(&dot) {
                let what = match is_conflict {
                    true => "did not know all that was live, and no conflict was reported",
                    false => "knew all that was live, and a conflict was reported",
                };
                return Err(("conflicts", format!("{dot} on {entity} {what}")));
            }
        }
        let now = self::live(engine, rows.entities.get(entity).cloned());
        if now != live {
            return Err((
                "state",
                format!("of {entity} {:?} are live instead of {:?}", now.keys(), live.keys()),
            ));
        }
    }
    Ok(())
}

/// The write of this replica that the flush is for, if there is one.
fn own_write(engine: &Engine, flushed: &Flushed, ledger: &Ledger) -> Option<Told> {
    let last = ledger.writes().last()?;
    let replica = &engine.config().replica;
    let is_this = last.dot.actor == *replica && last.dot.sequence == engine.vector().get(replica);
    (flushed.input == Input::Write && is_this).then(|| Told::Applied(last.dot.clone()))
}

/// Puts the write among what is live; true if it did not know of something there.
fn place(live: &mut Live, write: &Entry, keeps_all: bool, ledger: &Ledger) -> bool {
    live.retain(|dot, (is_removal, _)| {
        let Some(other) = ledger.by_dot(dot) else { return true };
        !(write.saw(other) || *is_removal && write.followed(other))
    });
    let is_conflict = !live.is_empty();
    live.insert(write.dot.clone(), (write.deed == Deed::Delete, write.hlc));
    if !keeps_all {
        let greatest = live.iter().map(|(dot, (_, hlc))| (*hlc, dot.clone())).max();
        live.retain(|dot, _| greatest.as_ref().is_some_and(|(_, greatest)| greatest == dot));
    }
    is_conflict
}

fn live(engine: &Engine, stored: Option<Bytes>) -> Live {
    let record = stored.map_or_else(Record::default, |stored| {
        Record::decode(stored, engine.replicas(), &Limits::default())
            .expect("an engine stores what it can decode")
    });
    let versions = record.versions.into_iter();
    versions.map(|version| (version.dot, (version.body == Body::Tombstone, version.hlc))).collect()
}
