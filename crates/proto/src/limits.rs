/// Bounds on what is encoded and decoded. Each has a name, a default and an error that names it.
///
/// All replicas of a namespace should use the same limits: a message within the limits of its sender but beyond
/// those of a receiver is refused there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest entity id, in bytes. Default 512.
    pub entity_id_bytes_max: usize,
    /// The longest name of a field, in bytes. Default 512.
    pub field_name_bytes_max: usize,
    /// The largest encoded value of one write, in bytes. Default 512 KiB.
    pub value_bytes_max: usize,
    /// The most fields that one write may set or remove. Default 4,096.
    pub fields_max: usize,
    /// The deepest nesting of a value. Default 64.
    pub value_depth_max: usize,
    /// The most events in one batch. Default 1,024.
    pub batch_events_max: usize,
    /// A batch is closed once it has this many bytes; one more event may be over it. Default 128 KiB.
    pub batch_bytes_target: usize,
    /// The largest encoded batch, in bytes. Default 1 MiB less 4 KiB of room for the headers of the broker.
    pub batch_bytes_max: usize,
    /// The most replicas that one batch or record may name. Default 4,096.
    pub replicas_max: usize,
    /// The most vector entries that the events of one batch may have together, after unpacking; events that share a
    /// vector count it once. Bounds the memory that a small message can unpack to. Default 262,144.
    pub batch_vector_entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entity_id_bytes_max: 512,
            field_name_bytes_max: 512,
            value_bytes_max: 512 * 1024,
            fields_max: 4_096,
            value_depth_max: 64,
            batch_events_max: 1_024,
            batch_bytes_target: 128 * 1024,
            batch_bytes_max: 1024 * 1024 - 4 * 1024,
            replicas_max: 4_096,
            batch_vector_entries_max: 262_144,
        }
    }
}

impl Limits {
    /// These limits for what is stored or visible: writes that were each within the limits may be larger together, and
    /// must be readable all the same. Only the depth of values stays bounded.
    #[must_use]
    pub fn for_state(&self) -> Limits {
        Limits { value_bytes_max: usize::MAX, fields_max: usize::MAX, ..self.clone() }
    }
}
