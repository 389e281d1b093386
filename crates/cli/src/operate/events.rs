//! Server-sent events, as the HTML standard has them, in so far as a node sends them.

/// The largest event that is read, far above the largest value that nodes take unless configured otherwise.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: String,
}

/// Takes a stream apart.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// What has come of a line that is not whole yet.
    line: Vec<u8>,
    event: Event,
    bytes: usize,
}

/// An event is too large.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Events {
    /// The events that are whole with what has come.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut whole = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                self.bytes += 1;
                if self.bytes > EVENT_BYTES_MAX {
                    return Err(TooLarge);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
            self.line.clear();
            if line.is_empty() {
                self.bytes = 0;
                let event = std::mem::take(&mut self.event);
                if !event.name.is_empty() {
                    whole.push(event);
                }
                continue;
            }
            self.field(&line);
        }
        Ok(whole)
    }

    fn field(&mut self, line: &str) {
        // A line that begins with a colon is a comment: the stream lives.
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.event.name = value.to_owned(),
            "id" => self.event.id = value.to_owned(),
            "data" if self.event.data.is_empty() => self.event.data = value.to_owned(),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: &str, data: &str) -> Event {
        Event { name: name.into(), id: id.into(), data: data.into() }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = ": alive\n\nevent: change\nid: a1\ndata: {\"n\":\ndata: 1}\n\nevent:reset\r\nid: b\r\ndata: {}\r\n\r\nevent: cut";
        let wanted = [event("change", "a1", "{\"n\":\n1}"), event("reset", "b", "{}")];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let cut = stream.as_bytes().chunks(size).flat_map(|chunk| events.take(chunk).expect("small"));
            assert_eq!(cut.collect::<Vec<_>>(), wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let refused = (0..=EVENT_BYTES_MAX / chunk.len()).find_map(|_| events.take(&chunk).err());
        assert_eq!(refused, Some(TooLarge));
    }
}
