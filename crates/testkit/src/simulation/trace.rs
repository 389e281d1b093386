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
