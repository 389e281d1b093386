//! A replica id as bytes: its name and its incarnation.

use std::{cell::RefCell, collections::HashMap};

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
    let name = reader.text_range("replica name", "replica name bytes", NAME_BYTES_MAX)?;
    let incarnation = Incarnation::from_bits(reader.unsigned("incarnation")?);
    known(reader.text_at("replica name", name)?, incarnation)
}

/// How many ids a thread remembers that it has read. Then it begins anew.
const KNOWN_MAX: usize = 1_024;

thread_local! {
    /// By incarnation, which is as good as unique.
    static KNOWN: RefCell<HashMap<u64, ReplicaId, foldhash::fast::RandomState>> = RefCell::default();
}

/// The same few ids stand in every message. One that was read before is not made again: it is checked already, takes no more
/// memory, and is found equal to its other copies without a look at the name.
fn known(name: &str, incarnation: Incarnation) -> Result<ReplicaId, DecodeError> {
    KNOWN.with_borrow_mut(|known| {
        if let Some(id) = known.get(&incarnation.bits()).filter(|id| id.name() == name) {
            return Ok(id.clone());
        }
        let id = ReplicaId::new(name, incarnation).map_err(|error| malformed("replica name", error))?;
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(incarnation.bits(), id.clone());
        Ok(id)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reread(replica: &ReplicaId) -> ReplicaId {
        let mut writer = Writer::default();
        write(&mut writer, replica);
        read(&mut Reader::new(Bytes::from(writer.into_vec()))).unwrap()
    }

    #[test]
    fn ids_are_what_was_written_however_many_there_are_and_whatever_they_share() {
        let id = |name: &str, bits: u64| ReplicaId::new(name, Incarnation::from_bits(bits)).unwrap();
        let ids: Vec<ReplicaId> = (0..3 * KNOWN_MAX as u64)
            .flat_map(|bits| [id("us-east", bits), id("eu-west", bits), id(&format!("n{bits}"), 7)])
            .collect();
        for id in ids.iter().chain(ids.iter().rev()) {
            assert_eq!(reread(id), *id);
        }
        assert!(KNOWN.with_borrow(HashMap::len) <= KNOWN_MAX);
        assert!(read(&mut Reader::new(Bytes::from_static(b"\x92\xa3a.b\x07"))).is_err(), "no such name");
    }
}
