//! The maps of one entry that stand for what a format cannot say itself, and their words.

use std::fmt::Write;

/// What the key of such a map begins with.
pub(super) const SIGIL: char = '!';
/// Bytes, in formats without them.
pub(super) const BYTES: &str = "!bytes";
/// A float that is not finite, in formats without such floats.
pub(super) const FLOAT: &str = "!float";
/// The payload of a CRDT, in formats that people read.
pub(super) const CRDT: &str = "!crdt";

/// The key to write for the only `key` of a map if it would look like a tag: with one more sigil.
pub(super) fn escaped(key: &str) -> Option<String> {
    key.starts_with(SIGIL).then(|| format!("{SIGIL}{key}"))
}

/// The key that was written as `key` if that is an escaped one.
pub(super) fn unescaped(key: &str) -> Option<&str> {
    key.strip_prefix(SIGIL).filter(|rest| rest.starts_with(SIGIL))
}

/// The word for a float that is not finite.
pub(super) fn float_word(float: f64) -> &'static str {
    match float {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "NaN",
    }
}

/// The float that a word stands for.
pub(super) fn float_of(word: &str) -> Option<f64> {
    match word {
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => None,
    }
}

/// Bytes as lower-case hexadecimal digits, two a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// The bytes that pairs of hexadecimal digits stand for.
pub(super) fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    fn digit(ascii: u8) -> Option<u8> {
        match ascii {
            b'0'..=b'9' => Some(ascii - b'0'),
            b'a'..=b'f' => Some(ascii - b'a' + 10),
            b'A'..=b'F' => Some(ascii - b'A' + 10),
            _ => None,
        }
    }
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}
