//! Which entities are fought over most.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_proto::EntityId;

/// Of how many entities conflicts are counted.
const COUNTED_MAX: usize = 256;

/// An entity, and how many conflicts there were over it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HotEntity {
    /// The entity.
    pub entity_id: EntityId,
    /// Conflicts since the start. Where there were conflicts over more than 256 entities this may be too many, by no more
    /// than a 256th of all conflicts.
    pub conflicts: u64,
}

/// Counts conflicts by entity in bounded memory. Where all places are taken, who is new gets that of the one with the
/// fewest, with its count: Space-Saving, of Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k
/// Elements in Data Streams", ICDT 2005. Whoever has more than a 256th of all conflicts is certain to be among them.
#[derive(Debug, Default)]
pub(crate) struct Hottest {
    counts: BTreeMap<EntityId, u64>,
    /// The same, those with the fewest first.
    by_count: BTreeSet<(u64, EntityId)>,
}

impl Hottest {
    pub(crate) fn count(&mut self, entity: &EntityId) {
        let known = self.counts.remove(entity).map(|conflicts| (conflicts, entity.clone()));
        let before = match known {
            Some(known) => {
                self.by_count.remove(&known);
                known.0
            }
            None if self.counts.len() < COUNTED_MAX => 0,
            None => self.by_count.pop_first().map_or(0, |(conflicts, coldest)| {
                self.counts.remove(&coldest);
                conflicts
            }),
        };
        self.counts.insert(entity.clone(), before + 1);
        self.by_count.insert((before + 1, entity.clone()));
    }

    /// Those with the most, first.
    pub(crate) fn top(&self, limit: usize) -> Vec<HotEntity> {
        let hottest = self.by_count.iter().rev().take(limit);
        hottest
            .map(|(conflicts, entity_id)| HotEntity { entity_id: entity_id.clone(), conflicts: *conflicts })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_many_conflicts_is_found_however_many_others_have_one() {
        let mut hottest = Hottest::default();
        for n in 0..10_000 {
            hottest.count(&format!("cold/{n}").as_str().into());
            for (every, name) in [(10, "warm"), (3, "hot")] {
                if n % every == 0 {
                    hottest.count(&name.into());
                }
            }
        }
        let (all, top) = (10_000 + 1_000 + 3_334, hottest.top(2));
        assert_eq!(top.iter().map(|hot| &*hot.entity_id).collect::<Vec<_>>(), ["hot", "warm"]);
        for (hot, exact) in top.iter().zip([3_334, 1_000]) {
            assert!(hot.conflicts >= exact && hot.conflicts <= exact + all / COUNTED_MAX as u64, "{hot:?}");
        }
        assert_eq!((hottest.counts.len(), hottest.by_count.len()), (COUNTED_MAX, COUNTED_MAX));
    }
}
