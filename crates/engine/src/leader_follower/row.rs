use archipelago_proto::EntityId;
use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::Xxh3;

/// What is stored of a key: the version in 8 big-endian bytes, and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The index of the entry that gave the key its value.
    pub version: u64,
    /// The value, encoded.
    pub value: Bytes,
}

impl KeyRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(8 + self.value.len());
        bytes.put_u64(self.version);
        bytes.put_slice(&self.value);
        bytes.freeze()
    }

    /// The row in these bytes, or `None` if they are not one.
    pub fn decode(bytes: &Bytes) -> Option<KeyRow> {
        let version = bytes.get(..8)?.try_into().ok()?;
        Some(KeyRow { version: u64::from_be_bytes(version), value: bytes.slice(8..) })
    }

    /// What this row adds to the digest of the state, which is the sum over all rows.
    pub fn digest(&self, key: &EntityId) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(&(key.len() as u64).to_be_bytes());
        hash.update(key.as_bytes());
        hash.update(&self.version.to_be_bytes());
        hash.update(&self.value);
        hash.digest128()
    }
}
