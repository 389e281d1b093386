//! How a part of a payload says in the headers of its message which one it is.

use archipelago_pipeline::{
    PipelineError,
    parts::{Part, split},
};
use async_nats::HeaderMap;
use bytes::Bytes;

/// The headers of a part: the id of the whole payload, the place of the part from 0 on, how many parts there are, and
/// how many bytes the whole has.
const WHOLE: &str = "Archipelago-Whole";
const INDEX: &str = "Archipelago-Part";
const COUNT: &str = "Archipelago-Parts";
const BYTES: &str = "Archipelago-Bytes";

/// What the broker's limit on a message has to hold besides a whole payload: a message id and what surrounds it.
pub(crate) const HEADER_BYTES_MAX: usize = 512;

/// The same for a part, whose headers name the id twice.
pub(crate) const PART_HEADER_BYTES_MAX: usize = 1_024;

/// How many parts of one payload are under way without an answer.
pub(crate) const PARTS_IN_FLIGHT_MAX: usize = 8;

/// How large payloads may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) payload_bytes_max: usize,
    /// The broker's limit on a message with its headers, once it is known.
    pub(crate) message_bytes_max: Option<usize>,
    pub(crate) assembly_bytes_max: usize,
}

impl Sizes {
    /// The largest payload that travels as one message.
    pub(crate) fn payload_bytes_good(&self) -> Option<usize> {
        let message_bytes_max = self.message_bytes_max?.saturating_sub(HEADER_BYTES_MAX);
        Some(message_bytes_max.min(self.payload_bytes_max))
    }

    /// The largest payload at all. A server of which a part's headers alone would be too large gets no parts.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        match self.message_bytes_max {
            Some(bytes) if bytes <= PART_HEADER_BYTES_MAX => bytes.saturating_sub(HEADER_BYTES_MAX),
            _ => self.payload_bytes_max,
        }
    }

    /// Fails if the payload is over the limit.
    pub(crate) fn check(&self, payload: &Bytes) -> Result<(), PipelineError> {
        let (bytes, bytes_max) = (payload.len(), self.payload_bytes_max());
        if bytes > bytes_max { Err(PipelineError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Whether a payload of so many bytes takes several messages.
    pub(crate) fn splits(&self, bytes: usize) -> bool {
        self.payload_bytes_good().is_some_and(|bytes_max| bytes > bytes_max)
    }

    /// The parts of a payload, each with its bytes.
    pub(crate) fn split<'a>(
        &self,
        whole: &str,
        payload: &'a Bytes,
    ) -> impl Iterator<Item = (Part, Bytes)> + Send + use<'a> {
        let room = self.message_bytes_max.unwrap_or(usize::MAX).saturating_sub(PART_HEADER_BYTES_MAX);
        let parts = split(whole, payload.len(), room).into_iter();
        parts.map(|(part, place)| (part, payload.slice(place)))
    }
}

pub(crate) fn headers_of(part: &Part) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(WHOLE, part.whole.as_str());
    headers.insert(INDEX, part.index.to_string());
    headers.insert(COUNT, part.count.to_string());
    headers.insert(BYTES, part.bytes.to_string());
    headers
}

/// The part that these headers speak of, if they do. What they lack or say wrongly makes it a part without a place in
/// any payload.
pub(crate) fn part_of(headers: Option<&HeaderMap>) -> Option<Part> {
    let headers = headers?;
    let whole = headers.get(WHOLE)?.as_str().to_owned();
    let text = |name: &str| headers.get(name).map_or("", |value| value.as_str());
    let number = |name| text(name).parse().unwrap_or(0);
    let bytes = text(BYTES).parse().unwrap_or(0);
    Some(Part { whole, index: number(INDEX), count: number(COUNT), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_which_part_it_is() {
        let part = Part { whole: "paris@1:7-9".into(), index: 2, count: 9, bytes: 100 };
        assert_eq!(part_of(Some(&headers_of(&part))), Some(part.clone()));
        assert_eq!(part_of(None), None);
        assert_eq!(part_of(Some(&HeaderMap::new())), None);
        for name in [INDEX, COUNT, BYTES] {
            let mut headers = headers_of(&part);
            headers.insert(name, "-1");
            let forged = part_of(Some(&headers)).expect("a part");
            assert_ne!(forged, part, "{name}");
        }
    }

    #[test]
    fn the_longest_id_fits_into_the_room_for_headers() {
        let whole = "i".repeat(256);
        let part = Part { whole, index: u32::MAX, count: u32::MAX, bytes: usize::MAX };
        let mut headers = headers_of(&part);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, part.message_id());
        let bytes: usize = headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .map(|(name, value)| name.to_string().len() + value.as_str().len() + 4)
            .sum();
        assert!(bytes + "NATS/1.0\r\n\r\n".len() <= PART_HEADER_BYTES_MAX, "{bytes}");
    }
}
