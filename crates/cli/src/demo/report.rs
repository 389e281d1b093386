use archipelago::Value;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::protocol::{Conflict, Side};

/// How many conflicts are shown.
pub(crate) const CONFLICTS_SHOWN: usize = 5;

/// How long a value may be where it is shown, in characters.
const VALUE_CHARS_MAX: usize = 48;

/// The outcome of a run, as `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) masters: Vec<MasterReport>,
    /// Records that are visible on all masters.
    pub(crate) records: u64,
    /// Lines of the file that were left out.
    pub(crate) malformed: u64,
    /// Edits that were acknowledged.
    pub(crate) writes: u64,
    /// Loads and edits that were acknowledged while the pipeline was away.
    pub(crate) queued: u64,
    /// Events of others applied, summed over the masters.
    pub(crate) events_applied: u64,
    /// Conflicts detected, summed over the masters.
    pub(crate) conflicts: u64,
    /// Messages skipped because nobody can read them, summed over the masters.
    pub(crate) messages_unreadable: u64,
    /// How often a master found the shared log lost, replaced or trimmed, and followed it from a new beginning.
    pub(crate) logs_lost: u64,
    /// How often a master fetched from another one what the log did not bring.
    pub(crate) repairs: u64,
    /// Processes killed.
    pub(crate) kills: u64,
    /// Writes under way at a kill, of which nothing was promised; they were made again.
    pub(crate) unacknowledged: u64,
    pub(crate) acknowledged_lost: u64,
    pub(crate) converged: bool,
    pub(crate) digests: Vec<String>,
    pub(crate) strategy: String,
    pub(crate) seed: u64,
    pub(crate) namespace: String,
    pub(crate) elapsed_ms: u64,
    pub(crate) error: Option<String>,
}

/// One master at the end.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct MasterReport {
    pub(crate) name: String,
    /// Records loaded here.
    pub(crate) loads: u64,
    /// Edits made here.
    pub(crate) writes: u64,
    /// Events of the others that are applied here.
    pub(crate) applied: u64,
    pub(crate) conflicts: u64,
    /// Events that the others have and this master lacks.
    pub(crate) lag_events: u64,
    /// Events that the broker does not have yet.
    pub(crate) outbox: u64,
    pub(crate) messages_unreadable: u64,
    pub(crate) logs_lost: u64,
    pub(crate) repairs: u64,
}

impl Report {
    /// A row for each master.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["master", "loaded", "writes", "applied", "conflicts", "lag", "outbox", "skipped"]);
        for master in &self.masters {
            let counts = [
                master.loads,
                master.writes,
                master.applied,
                master.conflicts,
                master.lag_events,
                master.outbox,
                master.messages_unreadable,
            ];
            table.add_row([master.name.clone()].into_iter().chain(counts.map(|count| count.to_string())));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// What was proved, in words.
    pub(crate) fn proof(&self) -> String {
        let digest = self.digests.first().map_or("", String::as_str);
        let digests = match self.converged {
            true => format!("Equal digests of the whole state on all masters: {digest}"),
            false => format!("The digests of the states differ: {}", self.digests.join(", ")),
        };
        let loads: u64 = self.masters.iter().map(|master| master.loads).sum();
        let lost = match self.acknowledged_lost {
            0 => format!("No acknowledged write is missing: {} on every master", loads + self.writes),
            lost => format!("{lost} acknowledged writes are missing"),
        };
        let mut lines = format!(
            "{digests}\n{lost}\n{} records on all masters; {} writes were acknowledged while the pipeline was away",
            self.records, self.queued
        );
        if self.kills > 0 {
            lines += &format!(
                "\n{} process killed (SIGKILL) and restarted on its store; {} writes under way then were made again",
                self.kills, self.unacknowledged
            );
        }
        if self.logs_lost > 0 {
            lines += &format!(
                "\nThe shared log was lost, as {} of the masters found; what it did not bring came by {} repairs",
                self.logs_lost, self.repairs
            );
        }
        if self.messages_unreadable > 0 {
            let skipped = self.messages_unreadable;
            lines += &format!(
                "\n{skipped} messages on the shared log were skipped: nobody can read them (RUST_LOG=warn shows why)"
            );
        }
        lines
    }
}

/// Conflicts for a person to read.
pub(crate) fn conflicts_table(conflicts: &[Conflict]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["record", "won", "lost", "why"]);
    for conflict in conflicts {
        let place = match &conflict.field {
            Some(field) if !field.is_empty() => format!("{}\n{field}", conflict.entity),
            _ => conflict.entity.clone(),
        };
        let (winner, loser) = (&conflict.winner, &conflict.loser);
        table.add_row([place, side(winner, loser), side(loser, winner), conflict.reason.clone()]);
    }
    table.to_string()
}

/// Master, time and value; of a record only what differs from the other side.
fn side(side: &Side, other: &Side) -> String {
    let value = match (&side.value, &other.value) {
        (Some(Value::Map(mine)), Some(Value::Map(theirs))) => {
            let differing = mine.iter().filter(|(name, value)| theirs.get(*name) != Some(value));
            let shown: Vec<String> =
                differing.map(|(name, value)| format!("{name}: {}", short(value))).collect();
            shown.join("\n")
        }
        (Some(value), _) => short(value),
        (None, _) => "removed".to_owned(),
    };
    let time = side.hlc.to_string();
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
    format!("{value}\n{} at {time}", side.master)
}

fn short(value: &Value) -> String {
    let text = value.as_text().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
