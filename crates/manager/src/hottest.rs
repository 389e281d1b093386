//! Which entities are fought over most.

use std::{cmp::Reverse, collections::BTreeMap};

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
pub(crate) struct Hottest(BTreeMap<EntityId, u64>);

impl Hottest {
    pub(crate) fn count(&mut self, entity: &EntityId) {
        if let Some(conflicts) = self.0.get_mut(entity) {
            *conflicts += 1;
            return;
        }
        let mut inherited = 0;
        if self.0.len() >= COUNTED_MAX {
            let coldest =
                self.0.iter().min_by_key(|(_, conflicts)| **conflicts).map(|(entity, _)| entity.clone());
            inherited = coldest.and_then(|coldest| self.0.remove(&coldest)).unwrap_or_default();
        }
        self.0.insert(entity.clone(), inherited + 1);
    }

    /// Those with the most, first.
    pub(crate) fn top(&self, limit: usize) -> Vec<HotEntity> {
        let counts = self.0.iter();
        let mut all: Vec<_> = counts
            .map(|(entity_id, &conflicts)| HotEntity { entity_id: entity_id.clone(), conflicts })
            .collect();
        all.sort_by_key(|hot| Reverse(hot.conflicts));
        all.truncate(limit);
        all
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
        assert_eq!(hottest.0.len(), COUNTED_MAX);
    }
}
