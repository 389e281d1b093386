//! A replica id as bytes: its name and its incarnation.

use archipelago_clock::{Incarnation, NAME_BYTES_MAX, ReplicaId};

use crate::{
    DecodeError,
    reader::{Reader, malformed},
    writer::Writer,
};

pub(crate) fn write(writer: &mut Writer, replica: &ReplicaId) {
    writer.array(2);
    writer.text(replica.name());
    writer.unsigned(replica.incarnation().bits());
}

pub(crate) fn read(reader: &mut Reader) -> Result<ReplicaId, DecodeError> {
    if reader.array("replica")? != 2 {
        return Err(malformed("replica", "expected a name and an incarnation"));
    }
    let name = reader.text("replica name", "replica name bytes", NAME_BYTES_MAX)?;
    let incarnation = Incarnation::from_bits(reader.unsigned("incarnation")?);
    ReplicaId::new(&name, incarnation).map_err(|error| malformed("replica name", error))
}
