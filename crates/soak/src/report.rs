use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    ledger::Findings,
    stage::{self, Ending},
};

/// What happened in a run, as `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) masters: u64,
    pub(crate) heartbeat_ms: u64,
    /// Faults that were brought about, healed and checked.
    pub(crate) rounds: u64,
    /// The same by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) kills: u64,
    /// Of the log: its stream, or the files of its server.
    pub(crate) wipes: u64,
    pub(crate) restores: u64,
    pub(crate) twins: u64,
    pub(crate) empty_disks: u64,
    pub(crate) pauses: u64,
    pub(crate) laggards: u64,
    /// Writes of the load that were acknowledged, and those of `deletes` and `laggard`.
    pub(crate) acknowledged: u64,
    /// Writes whose master was killed before it answered: they may be there or not, once.
    pub(crate) unknown: u64,
    /// Writes that a master refused; nothing was written.
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) divergent: u64,
    /// What sessions wrote and read.
    pub(crate) session_operations: u64,
    /// Those that were reads.
    pub(crate) session_reads: u64,
    /// Reads of a session that did not see what it had written or read.
    pub(crate) session_violations: u64,
    /// From the loss of the log, or from when its server is back, until a master noticed.
    pub(crate) notice_ms_max: Option<u64>,
    pub(crate) notice_ms_p50: Option<u64>,
    /// From the end of a fault until all masters agree.
    pub(crate) settle_ms_max: u64,
    /// Changes of identity after a restore or beside a twin.
    pub(crate) reincarnations: u64,
    /// Entities that were removed in bulk; their tombstones are gone from all masters.
    pub(crate) removed: u64,
    /// The largest round of removals.
    pub(crate) removals: Option<Removals>,
    /// The first things found wrong, in words.
    pub(crate) findings: Vec<String>,
    #[serde(flatten)]
    pub(crate) ending: Ending,
    #[serde(skip)]
    pub(crate) notices_ms: Vec<u64>,
}

/// A round of mass removals, over all masters.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Removals {
    pub(crate) entities: u64,
    pub(crate) write_ms: u64,
    pub(crate) remove_ms: u64,
    /// From the last removal until no master has a tombstone.
    pub(crate) reclaim_ms: u64,
    /// Of the folders of all masters.
    pub(crate) disk_bytes_before: u64,
    pub(crate) disk_bytes_written: u64,
    pub(crate) disk_bytes_removed: u64,
    pub(crate) disk_bytes_reclaimed: u64,
    /// The most that one master's process has used so far.
    pub(crate) memory_bytes_max: Option<u64>,
}

/// How many findings are kept in words.
const FINDINGS_MAX: usize = 20;

impl Report {
    pub(crate) fn find(&mut self, findings: Findings) {
        self.lost += findings.lost;
        self.duplicated += findings.duplicated;
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(findings.examples.into_iter().take(room));
    }

    pub(crate) fn diverged(&mut self, example: String) {
        self.divergent += 1;
        self.tell(example);
    }

    /// Tells in words what was found wrong.
    pub(crate) fn tell(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Computes what is computed from the rest.
    pub(crate) fn close(&mut self) {
        self.notices_ms.sort_unstable();
        self.notice_ms_max = self.notices_ms.last().copied();
        self.notice_ms_p50 = self.notices_ms.get(self.notices_ms.len() / 2).copied();
    }
}

impl stage::Report for Report {
    fn ending(&mut self) -> &mut Ending {
        &mut self.ending
    }

    fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.divergent == 0 && self.session_violations == 0
    }

    fn findings(&self) -> &[String] {
        &self.findings
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["what", "count"]);
        let notices = |value: Option<u64>| value.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        for (fault, rounds) in &self.faults {
            table.add_row([format!("rounds of {fault}"), rounds.to_string()]);
        }
        let rows = [
            ("kills", self.kills.to_string()),
            ("wipes of the log", self.wipes.to_string()),
            ("  noticed after, at most", notices(self.notice_ms_max)),
            ("  noticed after, half of them", notices(self.notice_ms_p50)),
            ("restores of an older copy", self.restores.to_string()),
            ("twins on one folder", self.twins.to_string()),
            ("changes of identity", self.reincarnations.to_string()),
            ("empty disks", self.empty_disks.to_string()),
            ("pauses", self.pauses.to_string()),
            ("laggards retired and returned", self.laggards.to_string()),
            ("entities removed and reclaimed", self.removed.to_string()),
            ("masters agreed after, at most", format!("{} ms", self.settle_ms_max)),
            ("writes acknowledged", self.acknowledged.to_string()),
            ("writes with unknown outcome", self.unknown.to_string()),
            ("writes refused", self.refused.to_string()),
            ("operations of sessions", self.session_operations.to_string()),
            ("LOST", self.lost.to_string()),
            ("DUPLICATED", self.duplicated.to_string()),
            ("DIVERGENT", self.divergent.to_string()),
            ("SESSIONS WENT BACK", self.session_violations.to_string()),
        ];
        for (what, count) in rows {
            table.add_row([what.to_owned(), count]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}
