//! The frame in which a CRDT travels through MessagePack: an extension value whose payload is `[version, kind,
//! state]`.

use thiserror::Error;

use crate::{Kind, MAX_DEPTH};

/// The type code of the MessagePack extension that holds a CRDT of whatever kind.
pub const EXTENSION_TYPE: i8 = 67;

/// The version of the payload's layout.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// How deep a payload may nest, extensions within it included: a value of the greatest depth within maps of the
/// greatest depth fits.
pub(crate) const PAYLOAD_DEPTH_MAX: usize = 2 * MAX_DEPTH;

/// What is wrong with the frame of a CRDT, or how it cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ExtensionError {
    #[error("malformed CRDT: {0}")]
    Malformed(&'static str),
    #[error("a CRDT in version {0} of the format, which is unknown to this release")]
    UnknownVersion(u8),
    #[error("a CRDT of kind {0}, which is unknown to this release")]
    UnknownKind(u8),
    #[error("a CRDT nests deeper than {PAYLOAD_DEPTH_MAX} levels or {} maps", crate::kind::KIND_PATH_MAX - 1)]
    TooDeep,
    #[error("a CRDT of more than 4 GiB")]
    TooLong,
}

/// Begins a payload: what comes before the state.
pub(crate) fn begin(kind: &Kind) -> Result<Vec<u8>, ExtensionError> {
    let mut payload = vec![0x93, FORMAT_VERSION];
    kind.encode(&mut payload)?;
    Ok(payload)
}

/// Checks a finished payload: what is written must be readable elsewhere.
pub(crate) fn finish(payload: &[u8]) -> Result<(), ExtensionError> {
    if u32::try_from(payload.len()).is_err() {
        return Err(ExtensionError::TooLong);
    }
    check_shape(payload)
}

/// Takes a payload apart into its kind and its encoded state, of which the nesting is checked.
pub(crate) fn open(payload: &[u8]) -> Result<(Kind, &[u8]), ExtensionError> {
    let (kind, state) = open_header(payload)?;
    check_shape(payload)?;
    Ok((kind, state))
}

/// As [`open`], but looks at nothing beyond the kind.
pub(crate) fn open_header(payload: &[u8]) -> Result<(Kind, &[u8]), ExtensionError> {
    match payload {
        [0x93, FORMAT_VERSION, rest @ ..] => {
            let mut rest = rest;
            let kind = Kind::decode(&mut rest)?;
            Ok((kind, rest))
        }
        [0x93, version @ 0..=0x7f, ..] => Err(ExtensionError::UnknownVersion(*version)),
        _ => Err(ExtensionError::Malformed("the payload is [version, kind, state]")),
    }
}

/// The payload of an encoded CRDT, if `bytes` begin with the extension and nothing follows it.
pub(crate) fn payload_of(bytes: &[u8]) -> Option<&[u8]> {
    let (len, type_code, payload) = split_extension(bytes)?;
    (type_code == EXTENSION_TYPE && payload.len() == len).then_some(payload)
}

/// Whether `bytes` begin with the extension.
pub(crate) fn is_extension(bytes: &[u8]) -> bool {
    split_extension(bytes).is_some_and(|(_, type_code, _)| type_code == EXTENSION_TYPE)
}

/// Wraps a payload that was checked.
pub(crate) fn wrap(payload: &[u8]) -> Result<Vec<u8>, ExtensionError> {
    let mut bytes = Vec::with_capacity(payload.len() + 6);
    let len = u32::try_from(payload.len()).map_err(|_| ExtensionError::TooLong)?;
    match len {
        1 => bytes.push(0xd4),
        2 => bytes.push(0xd5),
        4 => bytes.push(0xd6),
        8 => bytes.push(0xd7),
        16 => bytes.push(0xd8),
        _ => match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len), _) => bytes.extend([0xc7, len]),
            (_, Ok(len)) => {
                bytes.push(0xc8);
                bytes.extend(len.to_be_bytes());
            }
            _ => {
                bytes.push(0xc9);
                bytes.extend(len.to_be_bytes());
            }
        },
    }
    bytes.push(EXTENSION_TYPE.to_be_bytes()[0]);
    bytes.extend(payload);
    Ok(bytes)
}

/// The announced length, the type code and all that follows, if the value is an extension.
fn split_extension(bytes: &[u8]) -> Option<(usize, i8, &[u8])> {
    let (&marker, rest) = bytes.split_first()?;
    let (len, rest) = match marker {
        0xd4..=0xd8 => (1 << (marker - 0xd4), rest),
        0xc7..=0xc9 => big_endian(rest, 1 << (marker - 0xc7))?,
        _ => return None,
    };
    let (&type_code, rest) = rest.split_first()?;
    Some((len, i8::from_be_bytes([type_code]), rest))
}

/// Takes an unsigned number of `width` bytes.
fn big_endian(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(width)?;
    let number = number.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    Some((usize::try_from(number).ok()?, rest))
}

/// Checks that `payload` is one MessagePack value that nests at most [`PAYLOAD_DEPTH_MAX`] levels, extensions that
/// hold CRDTs included, without recursion: what decodes it recurses, and begins to count anew in each extension.
fn check_shape(payload: &[u8]) -> Result<(), ExtensionError> {
    /// How many values are to come, and how many bytes remain where they end, if that is laid down.
    struct Level {
        values: usize,
        left: Option<usize>,
    }
    const TRUNCATED: ExtensionError = ExtensionError::Malformed("not one whole MessagePack value");

    let mut rest = payload;
    let mut level = Level { values: 1, left: Some(0) };
    let mut outer: Vec<Level> = Vec::new();
    loop {
        if level.values == 0 {
            if level.left.is_some_and(|left| left != rest.len()) {
                return Err(TRUNCATED);
            }
            let Some(next) = outer.pop() else { return Ok(()) };
            level = next;
            continue;
        }
        level.values -= 1;
        let (inner, after) = step(rest).ok_or(TRUNCATED)?;
        rest = after;
        let inner = match inner {
            Step::Skipped => continue,
            Step::Values(values) => Level { values, left: None },
            Step::Payload(len) => {
                Level { values: 1, left: Some(rest.len().checked_sub(len).ok_or(TRUNCATED)?) }
            }
        };
        if outer.len() >= PAYLOAD_DEPTH_MAX {
            return Err(ExtensionError::TooDeep);
        }
        outer.push(std::mem::replace(&mut level, inner));
    }
}

enum Step {
    /// A value without values inside, which was taken.
    Skipped,
    /// The head of a list or map of that many values was taken.
    Values(usize),
    /// The head of a CRDT with a payload of that many bytes was taken.
    Payload(usize),
}

/// Takes one value or the head of one from the front.
#[inline]
fn step(bytes: &[u8]) -> Option<(Step, &[u8])> {
    let (&marker, rest) = bytes.split_first()?;
    let (skipped, rest) = match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, rest),
        0x80..=0x8f => return Some((Step::Values(2 * usize::from(marker & 0x0f)), rest)),
        0x90..=0x9f => return Some((Step::Values(usize::from(marker & 0x0f)), rest)),
        0xa0..=0xbf => (usize::from(marker & 0x1f), rest),
        0xc1 => return None,
        0xc4..=0xc6 => big_endian(rest, 1 << (marker - 0xc4))?,
        0xc7..=0xc9 | 0xd4..=0xd8 => {
            let (len, type_code, rest) = split_extension(bytes)?;
            if type_code == EXTENSION_TYPE {
                return Some((Step::Payload(len), rest));
            }
            (len, rest)
        }
        0xca => (4, rest),
        0xcb => (8, rest),
        0xcc..=0xcf => (1 << (marker - 0xcc), rest),
        0xd0..=0xd3 => (1 << (marker - 0xd0), rest),
        0xd9..=0xdb => big_endian(rest, 1 << (marker - 0xd9))?,
        0xdc | 0xdd => {
            let (values, rest) = big_endian(rest, 2 << (marker - 0xdc))?;
            return Some((Step::Values(values), rest));
        }
        0xde | 0xdf => {
            let (entries, rest) = big_endian(rest, 2 << (marker - 0xde))?;
            return Some((Step::Values(entries.checked_mul(2)?), rest));
        }
    };
    Some((Step::Skipped, rest.get(skipped..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_the_shortest_and_names_the_type() {
        for len in [1, 2, 3, 4, 8, 15, 16, 17, 255, 256, 65_535, 65_536] {
            let payload = vec![0xc0; len];
            let bytes = wrap(&payload).unwrap();
            assert_eq!(payload_of(&bytes), Some(&payload[..]));
            assert!(is_extension(&bytes));
            let reference = rmp_serde::to_vec(&Raw(&payload)).unwrap();
            assert_eq!(bytes, reference, "{len}");
            assert_eq!(payload_of(&bytes[..bytes.len() - 1]), None);
            assert_eq!(payload_of(&[&bytes[..], &[0]].concat()), None);
        }
        assert!(!is_extension(&[0xd4, 68, 0]) && !is_extension(&[]) && !is_extension(&[0xc9, 0]));
    }

    struct Raw<'a>(&'a [u8]);

    impl serde::Serialize for Raw<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let bytes = crate::state::Bytes(self.0);
            serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(EXTENSION_TYPE, bytes))
        }
    }

    #[test]
    fn nesting_is_bounded_through_lists_maps_and_extensions() {
        let lists = |levels: usize| [&[0x91].repeat(levels)[..], &[0xc0]].concat();
        assert_eq!(check_shape(&lists(PAYLOAD_DEPTH_MAX)), Ok(()));
        assert_eq!(check_shape(&lists(PAYLOAD_DEPTH_MAX + 1)), Err(ExtensionError::TooDeep));
        let extensions = |levels: usize| (0..levels).fold(vec![0xc0], |inner, _| wrap(&inner).unwrap());
        assert_eq!(check_shape(&extensions(PAYLOAD_DEPTH_MAX)), Ok(()));
        assert_eq!(check_shape(&extensions(100_000)), Err(ExtensionError::TooDeep));
    }

    #[test]
    fn an_extension_that_lies_about_its_end_is_refused() {
        // One list: an extension of 3 bytes whose content claims 200, and then deep lists.
        let lie = [&[0x92, 0xc7, 3, 67, 0xd9, 200, 0][..], &[0x91; 300]].concat();
        assert!(check_shape(&lie).is_err());
        assert!(check_shape(&[0xd5, 67, 0xc0, 0xc0]).is_err());
        assert!(check_shape(&[0xc0, 0xc0]).is_err() && check_shape(&[]).is_err());
    }
}
