use std::{fmt, sync::Arc};

use archipelago_crdt::Value;

use crate::{ConflictStrategy, Reading, Sibling};

type Merge = dyn Fn(&[Sibling]) -> Option<Value> + Send + Sync;

/// A strategy of the application: a function over concurrent siblings.
///
/// The function sees two or more siblings in canonical order and gives the visible value, `None` for a removed entity.
/// It must be pure. It need not be commutative, associative or idempotent: every replica calls it with the same set.
///
/// ```
/// use archipelago_conflict::{ConflictStrategy, Custom};
/// use archipelago_crdt::Value;
///
/// let longest = Custom::new("longest-text", 1, |siblings| {
///     let texts = siblings.iter().filter_map(|sibling| sibling.value.clone());
///     texts.max_by_key(|value| value.as_text().map_or(0, str::len))
/// });
/// assert_eq!(longest.name(), "longest-text");
/// ```
#[derive(Clone)]
pub struct Custom {
    name: Arc<str>,
    version: u32,
    merge: Arc<Merge>,
}

impl Custom {
    /// The strategy `name`, whose rules have `version`: raise it whenever the same siblings give another value, so that
    /// replicas notice that they disagree.
    pub fn new(
        name: impl Into<Arc<str>>,
        version: u32,
        merge: impl Fn(&[Sibling]) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        Custom { name: name.into(), version, merge: Arc::new(merge) }
    }
}

impl ConflictStrategy for Custom {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn read(&self, siblings: &[Sibling]) -> Reading {
        Reading::Computed((self.merge)(siblings))
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
