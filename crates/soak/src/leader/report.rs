use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::stage::{self, Ending};

/// What happened in a run, as `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) nodes: u64,
    pub(crate) servers: u64,
    pub(crate) lease_ms: u64,
    /// Faults that were brought about, healed and checked.
    pub(crate) rounds: BTreeMap<String, u64>,
    /// What clients asked for, reads and writes.
    pub(crate) operations: u64,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Writes of which nobody knows whether they were done.
    pub(crate) unknown: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) linearizability_violations: u64,
    /// Histories of which it would take too long to say.
    pub(crate) undecided: u64,
    /// Acknowledged to a deposed leader, two leaders of one term, and the like.
    pub(crate) term_violations: u64,
    /// Messages of deposed leaders that the log took.
    pub(crate) stale_appends: u64,
    /// The same in a log that had lost its end, where they must not count.
    pub(crate) stale_ignored: u64,
    /// What else is wrong with the log: gaps, an index used twice, entries that nobody wrote.
    pub(crate) log_violations: u64,
    /// Nodes with the same history and another state, or the same index and another history.
    pub(crate) divergent: u64,
    /// How many terms there were.
    pub(crate) terms: u64,
    /// How often nodes told that they put entries back into the log.
    pub(crate) mended: u64,
    /// How often a leader told that it goes on without entries that somebody had had.
    pub(crate) missing: u64,
    /// How often a node told that entries it had applied are in nobody's history.
    pub(crate) orphaned: u64,
    /// By fault: from the fault until a write is acknowledged that was asked for after it, by another leader where one is
    /// deposed; of `broker` and `tail` from when the server is back, with a cluster from the kill.
    pub(crate) failover_ms: BTreeMap<String, Spread>,
    /// Of `partition`: from the fault until the leader told that it leads no more; of `pause` from SIGCONT.
    pub(crate) demoted_ms: BTreeMap<String, Spread>,
    /// From the end of a fault until all nodes agree.
    pub(crate) settle_ms_max: u64,
    /// The first things found wrong, in words.
    pub(crate) findings: Vec<String>,
    #[serde(flatten)]
    pub(crate) ending: Ending,
}

/// How long something took, in each round.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) max: u64,
    #[serde(skip)]
    all: Vec<u64>,
}

/// How many findings are kept in words.
const FINDINGS_MAX: usize = 20;

impl Spread {
    pub(crate) fn add(&mut self, ms: u64) {
        self.all.push(ms);
        self.all.sort_unstable();
        self.count = self.all.len() as u64;
        self.p50 = self.all[self.all.len() / 2];
        self.max = self.all[self.all.len() - 1];
    }
}

impl Report {
    pub(crate) fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn wrongs(&self) -> [(&'static str, u64); 9] {
        [
            ("LOST", self.lost),
            ("DUPLICATED", self.duplicated),
            ("NOT LINEARIZABLE", self.linearizability_violations),
            ("UNDECIDED", self.undecided),
            ("TERMS VIOLATED", self.term_violations),
            ("STALE APPENDS", self.stale_appends),
            ("LOG VIOLATED", self.log_violations),
            ("DIVERGENT", self.divergent),
            ("ENTRIES MISSING", self.missing),
        ]
    }
}

impl stage::Report for Report {
    fn ending(&mut self) -> &mut Ending {
        &mut self.ending
    }

    fn findings(&self) -> &[String] {
        &self.findings
    }

    fn is_clean(&self) -> bool {
        self.wrongs().iter().all(|(_, count)| *count == 0)
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["what", "count"]);
        let mut rows: Vec<(String, String)> = Vec::new();
        for (fault, rounds) in &self.rounds {
            rows.push((format!("rounds of {fault}"), rounds.to_string()));
            for (what, spreads) in [("served again", &self.failover_ms), ("demoted", &self.demoted_ms)] {
                if let Some(Spread { p50, max, .. }) = spreads.get(fault) {
                    rows.push((format!("  {what} after, half and at most"), format!("{p50} and {max} ms")));
                }
            }
        }
        for (what, count) in [
            ("terms", self.terms),
            ("operations", self.operations),
            ("writes acknowledged", self.acknowledged),
            ("writes with unknown outcome", self.unknown),
            ("logs mended", self.mended),
        ] {
            rows.push((what.to_owned(), count.to_string()));
        }
        rows.push(("nodes agreed after, at most".into(), format!("{} ms", self.settle_ms_max)));
        rows.extend(self.wrongs().map(|(what, count)| (what.to_owned(), count.to_string())));
        for (what, count) in rows {
            table.add_row([what, count]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}
