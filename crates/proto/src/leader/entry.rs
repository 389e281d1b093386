use archipelago_clock::NAME_BYTES_MAX;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    DecodeError, EntityId, Limits, Text, check_value,
    reader::{Reader, malformed, within},
    writer::Writer,
};

/// The longest address of a node, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 1_024;

/// What the author of a write demanded of the key. By the time it is an entry, the demand was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PutKind {
    /// There was none.
    Create,
    /// There was one.
    Update,
    /// Whether or not there was one.
    Upsert,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: EntityId,
        /// The value, as [`encode_value`](crate::encode_value) gives it.
        value: Bytes,
        /// What its author demanded.
        kind: PutKind,
    },
    /// The key has no value any more.
    Delete {
        /// The key.
        key: EntityId,
    },
    /// From here on entries of older terms do not count. The first entry of its term, and no other is one.
    TermStart {
        /// Who leads.
        node: Text,
        /// Drawn at random at each start of that node.
        session: u64,
        /// Where clients reach it.
        address: Option<Text>,
    },
    /// This node follows, and counts for majorities.
    Register {
        /// The node.
        node: Text,
    },
    /// This node does not follow any more.
    Unregister {
        /// The node.
        node: Text,
    },
    /// Nothing: it takes a place in the log, which proves that its author still leads.
    Nothing,
}

/// One entry of the log, with the bytes it travels as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it does.
    pub operation: Operation,
    encoded: Bytes,
}

impl Entry {
    /// An entry that does this. The limits are the caller's business.
    pub fn new(operation: Operation) -> Entry {
        let mut writer = Writer::default();
        write(&mut writer, &operation);
        Entry { operation, encoded: writer.into_vec().into() }
    }

    /// The bytes it travels as.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<Entry, DecodeError> {
        let start = reader.at();
        let operation = read(reader, limits)?;
        Ok(Entry { operation, encoded: reader.since(start) })
    }
}

/// The digest of a history that ends with this entry: XXH3 with 128 bits of the digest before, the term, the index and the
/// entry. Two nodes whose histories have the same digest have applied the same entries.
pub fn chain(before: u128, term: u64, index: u64, entry: &Entry) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&before.to_be_bytes());
    hash.update(&term.to_be_bytes());
    hash.update(&index.to_be_bytes());
    hash.update(&entry.encoded);
    hash.digest128()
}

const PUT: u64 = 1;
const DELETE: u64 = 2;
const TERM_START: u64 = 3;
const REGISTER: u64 = 4;
const UNREGISTER: u64 = 5;
const NOTHING: u64 = 6;

const KINDS: [PutKind; 3] = [PutKind::Create, PutKind::Update, PutKind::Upsert];

fn write(writer: &mut Writer, operation: &Operation) {
    match operation {
        Operation::Put { key, value, kind } => {
            writer.array(4);
            writer.unsigned(PUT);
            writer.unsigned(*kind as u64);
            writer.text(key);
            writer.binary(value);
        }
        Operation::Delete { key } => {
            writer.array(2);
            writer.unsigned(DELETE);
            writer.text(key);
        }
        Operation::TermStart { node, session, address } => {
            writer.array(4);
            writer.unsigned(TERM_START);
            writer.text(node);
            writer.unsigned(*session);
            match address {
                Some(address) => writer.text(address),
                None => writer.nil(),
            }
        }
        Operation::Register { node } => {
            writer.array(2);
            writer.unsigned(REGISTER);
            writer.text(node);
        }
        Operation::Unregister { node } => {
            writer.array(2);
            writer.unsigned(UNREGISTER);
            writer.text(node);
        }
        Operation::Nothing => {
            writer.array(1);
            writer.unsigned(NOTHING);
        }
    }
}

fn read(reader: &mut Reader, limits: &Limits) -> Result<Operation, DecodeError> {
    let elements = reader.array_of_at_least("entry", 1)?;
    let code = reader.unsigned("operation")?;
    let known = match code {
        PUT | TERM_START => 4,
        DELETE | REGISTER | UNREGISTER => 2,
        NOTHING => 1,
        found => return Err(DecodeError::Unknown { what: "operation", found }),
    };
    // An entry that has more does more than this build knows of, and must not be half understood.
    if elements > known {
        return Err(DecodeError::Unknown { what: "number of elements of an entry", found: elements as u64 });
    }
    if elements < known {
        return Err(malformed("entry", format!("{elements} elements instead of {known}")));
    }
    Ok(match code {
        PUT => {
            let found = reader.unsigned("put kind")?;
            let kind = usize::try_from(found).ok().and_then(|kind| KINDS.get(kind));
            let kind = *kind.ok_or(DecodeError::Unknown { what: "put kind", found })?;
            let key = read_key(reader, limits)?;
            let value = reader.binary("value", "value_bytes_max", limits.value_bytes_max)?;
            check_value(&value, limits)?;
            Operation::Put { key, value, kind }
        }
        DELETE => Operation::Delete { key: read_key(reader, limits)? },
        TERM_START => Operation::TermStart {
            node: read_node(reader)?,
            session: reader.unsigned("session")?,
            address: match reader.is_nil("address")? {
                true => None,
                false => Some(reader.text("address", "address bytes", ADDRESS_BYTES_MAX)?),
            },
        },
        REGISTER => Operation::Register { node: read_node(reader)? },
        UNREGISTER => Operation::Unregister { node: read_node(reader)? },
        _ => Operation::Nothing,
    })
}

fn read_key(reader: &mut Reader, limits: &Limits) -> Result<EntityId, DecodeError> {
    let key = reader.text("key", "entity_id_bytes_max", limits.entity_id_bytes_max)?;
    check_key(&key, limits)?;
    Ok(key)
}

pub(super) fn check_key(key: &EntityId, limits: &Limits) -> Result<(), DecodeError> {
    within("entity_id_bytes_max", key.len(), limits.entity_id_bytes_max)?;
    if key.is_empty() { Err(malformed("key", "it is empty")) } else { Ok(()) }
}

fn read_node(reader: &mut Reader) -> Result<Text, DecodeError> {
    reader.text("node", "node bytes", NAME_BYTES_MAX)
}
