//! How operations, and the fields inside them, are written and read.

use bytes::Bytes;

use crate::{
    DecodeError, Limits, Op, Slot,
    reader::{Reader, malformed, within},
    writer::Writer,
};

const DELETE: u64 = 0;
const PUT: u64 = 1;
const PATCH: u64 = 2;

/// Writes two elements: the code of the operation and its payload.
pub(crate) fn write(writer: &mut Writer, op: &Op) {
    match op {
        Op::Delete => {
            writer.unsigned(DELETE);
            writer.nil();
        }
        Op::Put(value) => {
            writer.unsigned(PUT);
            writer.binary(value);
        }
        Op::Patch(fields) => {
            writer.unsigned(PATCH);
            write_fields(writer, fields);
        }
    }
}

pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<Op, DecodeError> {
    match reader.unsigned("operation")? {
        DELETE if reader.is_nil("delete")? => Ok(Op::Delete),
        DELETE => Err(malformed("delete", "it has a payload")),
        PUT => Ok(Op::Put(reader.binary("value", "value_bytes_max", limits.value_bytes_max)?)),
        PATCH => Ok(Op::Patch(read_fields(reader, limits)?)),
        found => Err(DecodeError::Unknown { what: "operation", found }),
    }
}

/// Writes a map from the name of a field, nil for the root, to its value, nil if removed.
pub(crate) fn write_fields(writer: &mut Writer, fields: &[(Slot, Option<Bytes>)]) {
    writer.map(fields.len());
    for (slot, value) in fields {
        match slot {
            Slot::Root => writer.nil(),
            Slot::Field(name) => writer.text(name),
        }
        match value {
            None => writer.nil(),
            Some(value) => writer.binary(value),
        }
    }
}

/// Reads what [`write_fields`] wrote; the slots come out sorted and must be distinct.
pub(crate) fn read_fields(
    reader: &mut Reader,
    limits: &Limits,
) -> Result<Vec<(Slot, Option<Bytes>)>, DecodeError> {
    let len = reader.map("fields")?;
    within("fields_max", len, limits.fields_max)?;
    let mut fields = Vec::with_capacity(len);
    let mut value_bytes = 0;
    for _ in 0..len {
        let slot = if reader.is_nil("field name")? {
            Slot::Root
        } else {
            Slot::Field(reader.text("field name", "field_name_bytes_max", limits.field_name_bytes_max)?)
        };
        let value = if reader.is_nil("field")? {
            None
        } else {
            Some(reader.binary("field", "value_bytes_max", limits.value_bytes_max)?)
        };
        value_bytes += value.as_ref().map_or(0, Bytes::len);
        within("value_bytes_max", value_bytes, limits.value_bytes_max)?;
        fields.push((slot, value));
    }
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(malformed("fields", "the same field twice"));
    }
    Ok(fields)
}

/// How many bytes the fields take at most once they are written.
pub(crate) fn bytes_at_most(fields: &[(Slot, Option<Bytes>)]) -> usize {
    let of = |(slot, content): &(Slot, Option<Bytes>)| {
        let name = if let Slot::Field(name) = slot { name.len() } else { 0 };
        name + content.as_ref().map_or(0, Bytes::len) + 10
    };
    fields.iter().map(of).sum::<usize>() + 5
}
