//! A version vector as bytes, by itself: each replica in full.

use archipelago_clock::VersionVector;

use crate::{
    DecodeError, Limits,
    reader::{Reader, malformed, within},
    replica,
    writer::Writer,
};

pub(crate) fn write(writer: &mut Writer, vector: &VersionVector) {
    writer.array(vector.len() * 2);
    for (replica, sequence) in vector.iter() {
        replica::write(writer, replica);
        writer.unsigned(sequence);
    }
}

pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<VersionVector, DecodeError> {
    let len = reader.array("vector")?;
    within("replicas_max", len / 2, limits.replicas_max)?;
    if len % 2 != 0 {
        return Err(malformed("vector", "not a list of pairs"));
    }
    let mut vector = VersionVector::new();
    for entries in 1..=len / 2 {
        let replica = replica::read(reader)?;
        vector.raise(replica, reader.unsigned("vector")?);
        if vector.len() != entries {
            return Err(malformed("vector", "a replica is named twice, or has nothing"));
        }
    }
    Ok(vector)
}
