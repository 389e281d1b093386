//! What is told: tables and sentences for people, JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::OperateError;

/// One line on standard output.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), OperateError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).map_err(failed)
}

/// One document on one line.
pub(crate) fn json(document: &impl Serialize) -> Result<(), OperateError> {
    line(serde_json::to_string(document).map_err(|error| OperateError::Output(error.into()))?)
}

/// Why the output cannot be written.
pub(crate) fn failed(error: io::Error) -> OperateError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OperateError::NobodyReads,
        _ => OperateError::Output(error),
    }
}

/// An empty table.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// Milliseconds, as people read them.
pub(crate) fn span(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        3_600_000..172_800_000 => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// Milliseconds by which a clock is ahead or behind.
pub(crate) fn offset(ms: i64) -> String {
    match ms {
        0 => "0 ms".to_owned(),
        _ => format!("{}{}", if ms > 0 { '+' } else { '-' }, span(ms.unsigned_abs())),
    }
}
