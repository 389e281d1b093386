use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_proto::SnapshotManifest;

/// What a snapshot is, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The name under which it is kept.
    pub name: String,
    /// The data set that it is of.
    pub namespace: String,
    /// Whose state it is.
    pub master_id: ReplicaId,
    /// When it was made, in milliseconds since the Unix epoch by that master's clock.
    pub made_unix_ms: u64,
    /// What is in it: of each master, the highest sequence.
    pub vector: VersionVector,
    /// How many entities are in it; one that changed while it was made counts each time that it was read.
    pub entities: u64,
    /// In how many chunks.
    pub chunks: u64,
    /// How many bytes it takes, without the manifest.
    pub bytes: u64,
    /// How many bytes that is uncompressed.
    pub raw_bytes: u64,
    /// A number that names the content, wherever it lies.
    pub digest: u128,
    /// The root of the [`StateDigest`](archipelago_engine::StateDigest) of the state in it; `None` if it was made from a
    /// store at rest.
    pub state_digest: Option<u128>,
}

impl SnapshotInfo {
    pub(crate) fn new(name: &str, manifest: &SnapshotManifest) -> Self {
        SnapshotInfo {
            name: name.to_owned(),
            namespace: manifest.namespace.clone(),
            master_id: manifest.replica.clone(),
            made_unix_ms: manifest.made_unix_ms,
            vector: manifest.vector.clone(),
            entities: manifest.entities,
            chunks: manifest.chunks.len() as u64,
            bytes: manifest.bytes(),
            raw_bytes: manifest.raw_bytes,
            digest: manifest.digest(),
            state_digest: manifest.state_digest,
        }
    }
}

/// How far the making, checking or restoring of a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotProgress {
    /// How many chunks are done.
    pub chunks: u64,
    /// How many there are; 0 where that is not known yet.
    pub chunks_in_all: u64,
    /// How many entities were in them.
    pub entities: u64,
    /// How many there are in all, about.
    pub entities_in_all: u64,
    /// How many bytes the chunks that are done have.
    pub bytes: u64,
}
