use archipelago_engine::Change;
use archipelago_proto::{EntityId, Limits, encode_value};
use bytes::Bytes;
use serde::Serialize;

/// What one replica writes, in its order.
///
/// ```
/// use archipelago_testkit::History;
///
/// let east = History::new("east").put("user/7", "Alice").set_field("user/8", "city", "Boston").delete("user/7");
/// ```
#[derive(Clone, Debug)]
pub struct History {
    pub(super) replica: String,
    pub(super) writes: Vec<(EntityId, Change)>,
}

impl History {
    /// The empty history of the replica of this name, which must be a legal replica name.
    pub fn new(replica: impl Into<String>) -> Self {
        History { replica: replica.into(), writes: Vec::new() }
    }

    /// Then the entity gets this value.
    ///
    /// # Panics
    /// If the value cannot be encoded within the default limits.
    #[must_use]
    pub fn put<V: Serialize + ?Sized>(self, entity: &str, value: &V) -> Self {
        self.write(entity, Change::Put(encoded(value)))
    }

    /// Then one field of the entity gets this value.
    ///
    /// # Panics
    /// If the value cannot be encoded within the default limits.
    #[must_use]
    pub fn set_field<V: Serialize + ?Sized>(self, entity: &str, field: &str, value: &V) -> Self {
        self.write(entity, Change::Patch(vec![(field.into(), Some(encoded(value)))]))
    }

    /// Then one field of the entity is removed.
    #[must_use]
    pub fn remove_field(self, entity: &str, field: &str) -> Self {
        self.write(entity, Change::Patch(vec![(field.into(), None)]))
    }

    /// Then the entity is removed.
    #[must_use]
    pub fn delete(self, entity: &str) -> Self {
        self.write(entity, Change::Delete)
    }

    /// Then this happens to the entity.
    #[must_use]
    pub fn write(mut self, entity: &str, change: Change) -> Self {
        self.writes.push((entity.into(), change));
        self
    }
}

fn encoded<V: Serialize + ?Sized>(value: &V) -> Bytes {
    encode_value(value, &Limits::default())
        .expect("a value of a history is encoded within the default limits")
}
