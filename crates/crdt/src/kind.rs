use std::fmt;

use crate::extension::ExtensionError;

/// The most kinds that one path may have: fourteen maps within one another and what the innermost holds.
pub(crate) const KIND_PATH_MAX: usize = 15;

/// Which type a CRDT is of, as its encoding says it.
///
/// | code | name | type |
/// |---|---|---|
/// | 1 | g-counter | [`GCounter`](crate::GCounter) |
/// | 2 | pn-counter | [`PnCounter`](crate::PnCounter) |
/// | 3 | bounded-counter | [`BoundedCounter`](crate::BoundedCounter) |
/// | 4 | g-set | [`GSet`](crate::GSet) |
/// | 5 | two-phase-set | [`TwoPhaseSet`](crate::TwoPhaseSet) |
/// | 6 | or-set | [`OrSet`](crate::OrSet) |
/// | 7 | rw-set | [`RwSet`](crate::RwSet) |
/// | 8 | lww-register | [`LwwRegister`](crate::LwwRegister) |
/// | 9 | mv-register | [`MvRegister`](crate::MvRegister) |
/// | 10 | max-register | [`MaxRegister`](crate::MaxRegister) |
/// | 11 | min-register | [`MinRegister`](crate::MinRegister) |
/// | 12 | ew-flag | [`EwFlag`](crate::EwFlag) |
/// | 13 | dw-flag | [`DwFlag`](crate::DwFlag) |
/// | 14 | lww-map | [`LwwMap`](crate::LwwMap) |
/// | 15 | or-map | [`OrMap`](crate::OrMap) |
/// | 16 | list | [`List`](crate::List) |
/// | 17 | text | `Text`, with the feature `text` |
///
/// A code is never given to another type, and a type whose encoding changes incompatibly gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A counter that grows.
    GCounter,
    /// A counter that grows and shrinks.
    PnCounter,
    /// A counter that never falls below zero.
    BoundedCounter,
    /// A set that grows.
    GSet,
    /// A set from which an element is removed once and for all.
    TwoPhaseSet,
    /// A set in which adding wins.
    OrSet,
    /// A set in which removing wins.
    RwSet,
    /// A register in which the last write wins.
    LwwRegister,
    /// A register that keeps concurrent writes.
    MvRegister,
    /// A register of the greatest value.
    MaxRegister,
    /// A register of the least value.
    MinRegister,
    /// A flag in which enabling wins.
    EwFlag,
    /// A flag in which disabling wins.
    DwFlag,
    /// A map in which the last write of each key wins.
    LwwMap,
    /// A map of CRDTs, and of which kind these are.
    OrMap(Box<Kind>),
    /// A sequence of items.
    List,
    /// A text that many edit at once.
    Text,
}

const OR_MAP: u8 = 15;

impl Kind {
    /// The number that stands for this kind in encodings; for a map, that of maps whatever they hold.
    pub const fn code(&self) -> u8 {
        match self {
            Kind::GCounter => 1,
            Kind::PnCounter => 2,
            Kind::BoundedCounter => 3,
            Kind::GSet => 4,
            Kind::TwoPhaseSet => 5,
            Kind::OrSet => 6,
            Kind::RwSet => 7,
            Kind::LwwRegister => 8,
            Kind::MvRegister => 9,
            Kind::MaxRegister => 10,
            Kind::MinRegister => 11,
            Kind::EwFlag => 12,
            Kind::DwFlag => 13,
            Kind::LwwMap => 14,
            Kind::OrMap(_) => OR_MAP,
            Kind::List => 16,
            Kind::Text => 17,
        }
    }

    /// The word for this kind with `crdt:` before it; for a map, that of maps whatever they hold.
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::GCounter => "crdt:g-counter",
            Kind::PnCounter => "crdt:pn-counter",
            Kind::BoundedCounter => "crdt:bounded-counter",
            Kind::GSet => "crdt:g-set",
            Kind::TwoPhaseSet => "crdt:two-phase-set",
            Kind::OrSet => "crdt:or-set",
            Kind::RwSet => "crdt:rw-set",
            Kind::LwwRegister => "crdt:lww-register",
            Kind::MvRegister => "crdt:mv-register",
            Kind::MaxRegister => "crdt:max-register",
            Kind::MinRegister => "crdt:min-register",
            Kind::EwFlag => "crdt:ew-flag",
            Kind::DwFlag => "crdt:dw-flag",
            Kind::LwwMap => "crdt:lww-map",
            Kind::OrMap(_) => "crdt:or-map",
            Kind::List => "crdt:list",
            Kind::Text => "crdt:text",
        }
    }

    /// The kind of what a map of this kind holds.
    pub fn of_values(&self) -> Option<&Kind> {
        if let Kind::OrMap(values) = self { Some(values) } else { None }
    }

    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::GCounter,
            2 => Kind::PnCounter,
            3 => Kind::BoundedCounter,
            4 => Kind::GSet,
            5 => Kind::TwoPhaseSet,
            6 => Kind::OrSet,
            7 => Kind::RwSet,
            8 => Kind::LwwRegister,
            9 => Kind::MvRegister,
            10 => Kind::MaxRegister,
            11 => Kind::MinRegister,
            12 => Kind::EwFlag,
            13 => Kind::DwFlag,
            14 => Kind::LwwMap,
            16 => Kind::List,
            17 => Kind::Text,
            _ => return None,
        })
    }

    /// Appends the kind: its code, or for a map the list of the codes from the outermost map inwards.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), ExtensionError> {
        if !matches!(self, Kind::OrMap(_)) {
            out.push(self.code());
            return Ok(());
        }
        let at = out.len();
        out.push(0);
        let mut len = 1;
        let mut inner = self;
        while let Kind::OrMap(values) = inner {
            out.push(OR_MAP);
            len += 1;
            inner = values;
        }
        out.push(inner.code());
        if len > u8::try_from(KIND_PATH_MAX).unwrap_or(u8::MAX) {
            return Err(ExtensionError::TooDeep);
        }
        out[at] = 0x90 | len;
        Ok(())
    }

    /// Takes a kind from the front of `bytes`.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Kind, ExtensionError> {
        let malformed = || ExtensionError::Malformed("the kind of a CRDT is a code or a path of codes");
        let (&first, rest) = bytes.split_first().ok_or_else(malformed)?;
        let (path, rest) = match first {
            0x00..=0x7f => bytes.split_at(1),
            0x92..=0x9f => rest.split_at_checked(usize::from(first & 0x0f)).ok_or_else(malformed)?,
            _ => return Err(malformed()),
        };
        *bytes = rest;
        let (&innermost, maps) = path.split_last().ok_or_else(malformed)?;
        let kind = Kind::from_code(innermost).ok_or(ExtensionError::UnknownKind(innermost))?;
        if maps.iter().any(|&code| code != OR_MAP) {
            return Err(malformed());
        }
        Ok(maps.iter().fold(kind, |values, _| Kind::OrMap(Box::new(values))))
    }
}

/// The name without `crdt:`, and what a map holds: `or-map of or-set`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().trim_start_matches("crdt:"))?;
        self.of_values().map_or(Ok(()), |values| write!(f, " of {values}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(maps: usize) -> Kind {
        (0..maps).fold(Kind::OrSet, |values, _| Kind::OrMap(Box::new(values)))
    }

    #[test]
    fn every_kind_survives_encoding_and_is_named() {
        let mut kinds: Vec<Kind> = (0..=u8::MAX).filter_map(Kind::from_code).collect();
        assert_eq!(kinds.len(), 16);
        kinds.extend([nested(1), nested(KIND_PATH_MAX - 1)]);
        for kind in kinds {
            let mut bytes = Vec::new();
            kind.encode(&mut bytes).unwrap();
            assert_eq!(Kind::decode(&mut &bytes[..]).unwrap(), kind);
            assert!(kind.name().starts_with("crdt:"));
        }
        assert_eq!(nested(2).to_string(), "or-map of or-map of or-set");
    }

    #[test]
    fn paths_are_strict_and_bounded() {
        assert_eq!(nested(KIND_PATH_MAX).encode(&mut Vec::new()), Err(ExtensionError::TooDeep));
        for bytes in [&[][..], &[0], &[15], &[18], &[0x91, 6], &[0x92, 15], &[0x92, 6, 6], &[0xcc, 6]] {
            assert!(Kind::decode(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }
}
