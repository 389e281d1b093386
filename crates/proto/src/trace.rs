use std::{fmt, num::NonZeroU128, str::FromStr};

/// The name of what a write is a part of, given by whoever asked for it: it travels with the event, so that one request can be
/// followed across islands. 128 bits that are not all zero, as the trace ids of
/// [W3C Trace Context](https://www.w3.org/TR/trace-context/#trace-id) are.
///
/// ```
/// use archipelago_proto::TraceId;
///
/// let trace: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse()?;
/// assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!("00000000000000000000000000000000".parse::<TraceId>().is_err());
/// # Ok::<(), archipelago_proto::InvalidTraceId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// Why a text is no [`TraceId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace id has 32 hexadecimal digits in lower case, not all of them zero")]
pub struct InvalidTraceId;

impl TraceId {
    /// The id of these bits; `None` if they are all zero.
    pub fn from_bits(bits: u128) -> Option<TraceId> {
        NonZeroU128::new(bits).map(TraceId)
    }

    /// Its bits.
    pub fn bits(self) -> u128 {
        self.0.get()
    }

    /// The trace of a header `traceparent` of version 00, or of a later one, which begins alike; `None` if it is not valid.
    pub fn from_traceparent(header: &str) -> Option<TraceId> {
        let (version, rest) = header.trim().split_once('-')?;
        let is_version = version.len() == 2 && version != "ff" && is_lower_hex(version);
        let (trace, rest) = rest.split_once('-').filter(|_| is_version)?;
        let parent = rest.split('-').next().filter(|parent| parent.len() == 16 && is_lower_hex(parent))?;
        trace.parse().ok().filter(|_| parent.bytes().any(|digit| digit != b'0'))
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for TraceId {
    type Err = InvalidTraceId;

    fn from_str(text: &str) -> Result<Self, InvalidTraceId> {
        if text.len() != 32 || !is_lower_hex(text) {
            return Err(InvalidTraceId);
        }
        u128::from_str_radix(text, 16).ok().and_then(TraceId::from_bits).ok_or(InvalidTraceId)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_that_is_not_valid_is_none() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |header: &str| TraceId::from_traceparent(header).map(|trace| trace.to_string());
        for valid in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(of(valid).as_deref(), Some(trace), "{valid}");
        }
        for invalid in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(invalid), None, "{invalid}");
        }
    }
}
