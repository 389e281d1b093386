use archipelago_proto::{Body, Record, Slot};

use super::wall_clock::START_UNIX_MS;

/// What happened, line by line, for people.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(is_wanted: bool) -> Self {
        Trace { lines: is_wanted.then(Vec::new) }
    }

    /// Notes what `say` says, if anybody wants to know.
    pub(super) fn note(&mut self, now_ms: u64, say: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>7}.{:03} {}", now_ms / 1_000, now_ms % 1_000, say()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A stamp relative to the start, short.
pub(super) fn stamp(hlc: archipelago_clock::Hlc) -> String {
    let ms = i128::from(hlc.unix_ms()) - i128::from(START_UNIX_MS);
    format!("{ms}ms+{}", hlc.counter())
}

/// What is live in a record: each write with its stamp, and what it did.
pub(super) fn live(record: &Record) -> String {
    let versions = record.versions.iter().map(|version| {
        let what = match &version.body {
            Body::Tombstone => "removed".to_owned(),
            Body::Whole(_) => "value".to_owned(),
            Body::Fields(fields) => {
                let fields = fields.iter().map(|(slot, value)| {
                    let name = match slot {
                        Slot::Root => "root",
                        Slot::Field(name) => name,
                    };
                    match value {
                        Some(value) => format!("{name}:{}", value.len()),
                        None => format!("-{name}"),
                    }
                });
                fields.collect::<Vec<_>>().join(" ")
            }
        };
        format!("{} at {} ({what})", version.dot, stamp(version.hlc))
    });
    versions.collect::<Vec<_>>().join(", ")
}
