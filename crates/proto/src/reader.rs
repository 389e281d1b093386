use std::ops::{Deref, Range};

use bytes::Bytes;
use rmp::{Marker, decode};

use crate::{DecodeError, Text};

/// Reads MessagePack without copying and without recursion. Lengths are checked before use.
///
/// What is taken out of shared bytes shares them; a borrowed slice can only be looked through.
pub(crate) struct Reader<B = Bytes> {
    bytes: B,
    at: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

pub(crate) fn malformed(what: &'static str, reason: impl ToString) -> DecodeError {
    DecodeError::Malformed { what, reason: reason.to_string() }
}

/// An error unless `found` is within the limit.
pub(crate) fn within(limit: &'static str, found: usize, max: usize) -> Result<()> {
    if found > max {
        return Err(DecodeError::OverLimit { limit, found: found as u64, max: max as u64 });
    }
    Ok(())
}

impl Reader {
    /// The bytes from `start` up to here.
    pub(crate) fn since(&self, start: usize) -> Bytes {
        self.bytes.slice(start..self.at)
    }

    pub(crate) fn text(&mut self, what: &'static str, limit: &'static str, max: usize) -> Result<Text> {
        let range = self.text_range(what, limit, max)?;
        Text::from_utf8(self.bytes.slice(range)).ok_or_else(|| malformed(what, "it is not UTF-8"))
    }

    /// Where a text is, for one that is looked at and not kept.
    pub(crate) fn text_range(
        &mut self,
        what: &'static str,
        limit: &'static str,
        max: usize,
    ) -> Result<Range<usize>> {
        let len = self.read(what, |rest| decode::read_str_len(rest))? as usize;
        within(limit, len, max)?;
        self.at_least(what, len)?;
        self.at += len;
        Ok(self.at - len..self.at)
    }

    /// The text that is there.
    pub(crate) fn text_at(&self, what: &'static str, range: Range<usize>) -> Result<&str> {
        str::from_utf8(&self.bytes[range]).map_err(|_| malformed(what, "it is not UTF-8"))
    }

    pub(crate) fn binary(&mut self, what: &'static str, limit: &'static str, max: usize) -> Result<Bytes> {
        let len = self.read(what, |rest| decode::read_bin_len(rest))? as usize;
        within(limit, len, max)?;
        self.take(what, len)
    }

    /// A number of 128 bits, as 16 big-endian bytes.
    pub(crate) fn u128(&mut self, what: &'static str) -> Result<u128> {
        let bytes = self.binary(what, "number bytes", size_of::<u128>())?;
        let bytes = bytes[..].try_into().map_err(|_| malformed(what, "expected 16 bytes"))?;
        Ok(u128::from_be_bytes(bytes))
    }

    fn take(&mut self, what: &'static str, len: usize) -> Result<Bytes> {
        self.at_least(what, len)?;
        self.at += len;
        Ok(self.since(self.at - len))
    }
}

impl<B: Deref<Target = [u8]>> Reader<B> {
    pub(crate) fn new(bytes: B) -> Self {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes behind these bytes, if they are what stands at `start`; true if so.
    pub(crate) fn pass(&mut self, start: usize, bytes: &[u8]) -> bool {
        let is_there = self.bytes[start..].starts_with(bytes);
        if is_there {
            self.at = start + bytes.len();
        }
        is_there
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn peek(&self, what: &'static str) -> Result<Marker> {
        self.bytes
            .get(self.at)
            .map(|byte| Marker::from_u8(*byte))
            .ok_or_else(|| malformed(what, "it ends too early"))
    }

    fn read<T, E: std::fmt::Display>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut &[u8]) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let mut rest = &self.bytes[self.at..];
        let value = read(&mut rest).map_err(|error| malformed(what, error))?;
        self.at = self.bytes.len() - rest.len();
        Ok(value)
    }

    /// The length of an array; each element takes a byte at least, so a forged length is refused here.
    pub(crate) fn array(&mut self, what: &'static str) -> Result<usize> {
        let len = self.read(what, |rest| decode::read_array_len(rest))? as usize;
        self.at_least(what, len)?;
        Ok(len)
    }

    /// The length of an array that begins with `known` elements, and may have more that a later build appended.
    pub(crate) fn array_of_at_least(&mut self, what: &'static str, known: usize) -> Result<usize> {
        match self.array(what)? {
            elements if elements < known => {
                Err(malformed(what, format!("{elements} elements instead of {known}")))
            }
            elements => Ok(elements),
        }
    }

    /// Skips `more` elements that a later build appended, and then the bytes must end.
    pub(crate) fn end(&mut self, what: &'static str, more: usize) -> Result<()> {
        for _ in 0..more {
            self.skip(what)?;
        }
        if self.is_at_end() { Ok(()) } else { Err(malformed(what, "bytes follow its end")) }
    }

    /// The number of pairs of a map.
    pub(crate) fn map(&mut self, what: &'static str) -> Result<usize> {
        let len = self.read(what, |rest| decode::read_map_len(rest))? as usize;
        self.at_least(what, len.saturating_mul(2))?;
        Ok(len)
    }

    fn at_least(&self, what: &'static str, bytes: usize) -> Result<()> {
        if self.bytes.len() - self.at < bytes {
            return Err(malformed(what, "it announces more than follows"));
        }
        Ok(())
    }

    pub(crate) fn unsigned(&mut self, what: &'static str) -> Result<u64> {
        self.read(what, |rest| decode::read_int(rest))
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64> {
        self.read(what, |rest| decode::read_int(rest))
    }

    pub(crate) fn is_nil(&mut self, what: &'static str) -> Result<bool> {
        let nil = self.peek(what)? == Marker::Null;
        if nil {
            self.at += 1;
        }
        Ok(nil)
    }

    pub(crate) fn is_at_map(&self, what: &'static str) -> Result<bool> {
        Ok(matches!(self.peek(what)?, Marker::FixMap(_) | Marker::Map16 | Marker::Map32))
    }

    pub(crate) fn is_at_text(&self, what: &'static str) -> Result<bool> {
        Ok(matches!(self.peek(what)?, Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32))
    }

    /// Skips one value of any kind, with everything inside it, however deep.
    pub(crate) fn skip(&mut self, what: &'static str) -> Result<()> {
        self.skip_within(what, usize::MAX)
    }

    /// Skips one value; an error if it nests deeper than `depth_max` (a scalar has depth 0).
    pub(crate) fn skip_within(&mut self, what: &'static str, depth_max: usize) -> Result<()> {
        // How many values are left to skip at each open level. Bounded by the bytes: each level took one.
        let mut open: Vec<u64> = Vec::new();
        loop {
            let children = self.skip_one(what)?;
            if children > 0 {
                within("value_depth_max", open.len() + 1, depth_max)?;
                open.push(children);
                continue;
            }
            while let Some(left) = open.last_mut() {
                *left -= 1;
                if *left > 0 {
                    break;
                }
                open.pop();
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Skips one scalar, or the head of one container, of which it gives the number of values inside.
    fn skip_one(&mut self, what: &'static str) -> Result<u64> {
        let head_bytes = |extra: usize| 1 + extra;
        let (skip, children) = match self.peek(what)? {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => (1, 0),
            Marker::U8 | Marker::I8 => (2, 0),
            Marker::U16 | Marker::I16 => (3, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (5, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (9, 0),
            Marker::FixStr(len) => (1 + usize::from(len), 0),
            Marker::Str8 | Marker::Bin8 => (head_bytes(1) + self.length(what, 1)?, 0),
            Marker::Str16 | Marker::Bin16 => (head_bytes(2) + self.length(what, 2)?, 0),
            Marker::Str32 | Marker::Bin32 => (head_bytes(4) + self.length(what, 4)?, 0),
            Marker::FixExt1 => (3, 0),
            Marker::FixExt2 => (4, 0),
            Marker::FixExt4 => (6, 0),
            Marker::FixExt8 => (10, 0),
            Marker::FixExt16 => (18, 0),
            Marker::Ext8 => (head_bytes(2) + self.length(what, 1)?, 0),
            Marker::Ext16 => (head_bytes(3) + self.length(what, 2)?, 0),
            Marker::Ext32 => (head_bytes(5) + self.length(what, 4)?, 0),
            Marker::FixArray(len) => (1, u64::from(len)),
            Marker::FixMap(len) => (1, u64::from(len) * 2),
            Marker::Array16 => (3, self.length(what, 2)? as u64),
            Marker::Array32 => (5, self.length(what, 4)? as u64),
            Marker::Map16 => (3, self.length(what, 2)? as u64 * 2),
            Marker::Map32 => (5, self.length(what, 4)? as u64 * 2),
            Marker::Reserved => return Err(malformed(what, "it has a byte that MessagePack never uses")),
        };
        self.at_least(what, skip)?;
        self.at += skip;
        Ok(children)
    }

    /// The big-endian length of `width` bytes behind the marker at hand.
    fn length(&self, what: &'static str, width: usize) -> Result<usize> {
        self.at_least(what, 1 + width)?;
        let digits = &self.bytes[self.at + 1..self.at + 1 + width];
        Ok(digits.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte)))
    }
}
