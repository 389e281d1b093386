use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    ConflictStrategy, Strategy,
    conflict_strategy::{FNV_OFFSET, fnv1a},
};

/// Which strategy holds for which entities: one for the namespace, and others for entity ids that begin with a prefix.
/// The longest matching prefix decides.
///
/// ```
/// use archipelago_conflict::{ConflictStrategy, Strategy, StrategyTable};
///
/// let table = StrategyTable::new(Strategy::Lww).with_prefix("user/", Strategy::FieldMerge);
/// assert_eq!(table.strategy("user/7").name(), "field-merge");
/// assert_eq!(table.strategy("place/3").name(), "lww");
/// ```
#[derive(Clone)]
pub struct StrategyTable {
    namespace: Arc<dyn ConflictStrategy>,
    prefixes: BTreeMap<String, Arc<dyn ConflictStrategy>>,
}

impl StrategyTable {
    /// The table in which `strategy` holds for every entity.
    pub fn new(strategy: impl ConflictStrategy) -> Self {
        StrategyTable { namespace: Arc::new(strategy), prefixes: BTreeMap::new() }
    }

    /// The same, with `strategy` for the namespace. Prefixes stay.
    #[must_use]
    pub fn with_namespace(mut self, strategy: impl ConflictStrategy) -> Self {
        self.namespace = Arc::new(strategy);
        self
    }

    /// The same, with `strategy` for ids that begin with `prefix`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>, strategy: impl ConflictStrategy) -> Self {
        self.prefixes.insert(prefix.into(), Arc::new(strategy));
        self
    }

    /// The strategy that holds for the entity.
    pub fn strategy(&self, entity_id: &str) -> &Arc<dyn ConflictStrategy> {
        let matching = self.prefixes.iter().filter(|(prefix, _)| entity_id.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.namespace, |(_, strategy)| strategy)
    }

    /// A number that two replicas share exactly if they resolve every entity by the same rules, as
    /// [`ConflictStrategy::fingerprint`].
    pub fn fingerprint(&self) -> u64 {
        let mut hash = fnv1a(FNV_OFFSET, &self.namespace.fingerprint().to_be_bytes());
        for (prefix, strategy) in &self.prefixes {
            hash = fnv1a(hash, &(prefix.len() as u64).to_be_bytes());
            hash = fnv1a(fnv1a(hash, prefix.as_bytes()), &strategy.fingerprint().to_be_bytes());
        }
        hash
    }
}

impl Default for StrategyTable {
    /// Last writer wins for every entity.
    fn default() -> Self {
        StrategyTable::new(Strategy::default())
    }
}

impl fmt::Debug for StrategyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.prefixes.iter().map(|(prefix, strategy)| (prefix.as_str(), strategy.name()));
        f.debug_map().entry(&"*", &self.namespace.name()).entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_prefix_decides() {
        let table = StrategyTable::new(Strategy::Lww)
            .with_prefix("a/", Strategy::FieldMerge)
            .with_prefix("a/b/", Strategy::Manual)
            .with_prefix("a/b", Strategy::Detect);
        let name = |id| table.strategy(id).name().to_owned();
        assert_eq!(
            ["x", "a", "a/", "a/c", "a/b", "a/bc", "a/b/c"].map(name),
            ["lww", "lww", "field-merge", "field-merge", "detect", "detect", "manual",]
        );
    }

    #[test]
    fn fingerprints_tell_tables_apart_that_resolve_differently() {
        let table = || StrategyTable::new(Strategy::Lww).with_prefix("a/", Strategy::FieldMerge);
        assert_eq!(table().fingerprint(), table().fingerprint());
        let others = [
            StrategyTable::new(Strategy::Lww),
            StrategyTable::new(Strategy::FieldMerge).with_prefix("a/", Strategy::FieldMerge),
            StrategyTable::new(Strategy::Lww).with_prefix("b/", Strategy::FieldMerge),
            StrategyTable::new(Strategy::Lww).with_prefix("a/", Strategy::Manual),
            table().with_prefix("b/", Strategy::Manual),
        ];
        for other in others {
            assert_ne!(other.fingerprint(), table().fingerprint(), "{other:?}");
        }
    }
}
