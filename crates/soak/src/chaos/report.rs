use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::options::{Fault, Mode};
use crate::{
    broker::Servers,
    fault::Kind,
    leader::report::Report as LeaderReport,
    own_mounts::Mounting,
    report::Report as MastersReport,
    stage::{self, Ending},
};

/// What happened in all runs, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// Runs that came to their end, whatever that was.
    pub(crate) runs: u64,
    /// Faults that were brought about, healed and checked, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(crate) sums: Sums,
    /// How a disk is made full: `tmpfs`, or where nobody may mount `file-size-limit`.
    pub(crate) disk_full_by: &'static str,
    /// Each run.
    pub(crate) targets: Vec<Run>,
    /// The first things found wrong, in words.
    pub(crate) findings: Vec<String>,
    #[serde(flatten)]
    pub(crate) ending: Ending,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sums {
    /// What clients asked for, reads and writes.
    pub(crate) operations: u64,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Writes of which nobody knows whether they were done.
    pub(crate) unknown: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) divergent: u64,
    pub(crate) linearizability_violations: u64,
    /// Histories of which it would take too long to say whether they are linearizable.
    pub(crate) undecided: u64,
    /// Reads of a session with masters that went back.
    pub(crate) session_violations: u64,
    /// Acknowledged to a deposed leader, two leaders of one term, and the like.
    pub(crate) term_violations: u64,
    /// What else is wrong with a leader's log: appends of deposed leaders, gaps, indexes used twice, entries missing.
    pub(crate) log_violations: u64,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) target: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) seed: u64,
    pub(crate) faults: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(crate) sums: Sums,
    /// From the end of a fault until all agree.
    pub(crate) settle_ms_max: u64,
    #[serde(flatten)]
    pub(crate) ending: Ending,
    #[serde(skip)]
    findings: Vec<String>,
}

/// How many findings are kept in words.
const FINDINGS_MAX: usize = 20;

impl Sums {
    fn add(&mut self, other: Sums) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        for ((_, sum), (_, more)) in self.wrongs_mut().into_iter().zip(other.wrongs()) {
            *sum += more;
        }
    }

    fn wrongs(mut self) -> [(&'static str, u64); 8] {
        self.wrongs_mut().map(|(what, count)| (what, *count))
    }

    fn wrongs_mut(&mut self) -> [(&'static str, &mut u64); 8] {
        [
            ("LOST", &mut self.lost),
            ("DUPLICATED", &mut self.duplicated),
            ("DIVERGENT", &mut self.divergent),
            ("NOT LINEARIZABLE", &mut self.linearizability_violations),
            ("UNDECIDED", &mut self.undecided),
            ("SESSIONS WENT BACK", &mut self.session_violations),
            ("TERMS VIOLATED", &mut self.term_violations),
            ("LOG VIOLATED", &mut self.log_violations),
        ]
    }
}

impl Run {
    pub(crate) fn of_masters(servers: Servers, report: MastersReport) -> Run {
        let name = |fault: &Fault| fault.of_masters().name();
        Run {
            target: servers.name(),
            mode: Mode::Masters.name(),
            seed: report.seed,
            faults: renamed(&report.faults, name),
            sums: Sums {
                operations: report.acknowledged + report.unknown + report.refused + report.session_reads,
                acknowledged: report.acknowledged,
                unknown: report.unknown,
                lost: report.lost,
                duplicated: report.duplicated,
                divergent: report.divergent,
                session_violations: report.session_violations,
                ..Sums::default()
            },
            settle_ms_max: report.settle_ms_max,
            ending: report.ending,
            findings: report.findings,
        }
    }

    pub(crate) fn of_leader(servers: Servers, report: LeaderReport) -> Run {
        let name = |fault: &Fault| fault.of_leader().name();
        Run {
            target: servers.name(),
            mode: Mode::Leader.name(),
            seed: report.seed,
            faults: renamed(&report.rounds, name),
            sums: Sums {
                operations: report.operations,
                acknowledged: report.acknowledged,
                unknown: report.unknown,
                lost: report.lost,
                duplicated: report.duplicated,
                divergent: report.divergent,
                linearizability_violations: report.linearizability_violations,
                undecided: report.undecided,
                session_violations: 0,
                term_violations: report.term_violations,
                log_violations: report.log_violations + report.stale_appends + report.missing,
            },
            settle_ms_max: report.settle_ms_max,
            ending: report.ending,
            findings: report.findings,
        }
    }
}

/// Each fault goes by the name that it has here.
fn renamed(counts: &BTreeMap<String, u64>, name: impl Fn(&Fault) -> String) -> BTreeMap<String, u64> {
    use clap::ValueEnum as _;
    let known = Fault::value_variants().iter();
    known.filter_map(|fault| Some((fault.name(), *counts.get(&name(fault))?))).collect()
}

impl Report {
    pub(crate) fn new(seed: u64) -> Report {
        Report {
            seed,
            runs: 0,
            faults: BTreeMap::new(),
            sums: Sums::default(),
            disk_full_by: match Mounting::here() {
                Mounting::Possible => "tmpfs",
                Mounting::Refused => "file-size-limit",
            },
            targets: Vec::new(),
            findings: Vec::new(),
            ending: Ending::default(),
        }
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs += 1;
        self.sums.add(run.sums);
        for (fault, count) in &run.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        let name = format!("{} on {}", run.mode, run.target);
        let told =
            run.findings.iter().chain(run.ending.error.as_ref().filter(|_| !run.ending.is_interrupted));
        let told = told.map(|finding| format!("{name}, seed {}: {finding}", run.seed));
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(told.take(room));
        self.targets.push(run);
    }
}

impl stage::Report for Report {
    fn ending(&mut self) -> &mut Ending {
        &mut self.ending
    }

    fn is_clean(&self) -> bool {
        self.sums.wrongs().iter().all(|(_, count)| *count == 0)
    }

    fn findings(&self) -> &[String] {
        &self.findings
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let names = self.targets.iter().map(|run| format!("{}\n{}", run.mode, run.target));
        table.set_header([String::new()].into_iter().chain(names).chain(["all".to_owned()]));
        let mut row = |what: &str, of: &dyn Fn(&Run) -> u64, all: Option<u64>| {
            let runs = self.targets.iter().map(|run| of(run).to_string());
            let all = all.map_or(String::new(), |all| all.to_string());
            table.add_row([what.to_owned()].into_iter().chain(runs).chain([all]));
        };
        for (fault, count) in &self.faults {
            row(fault, &|run| run.faults.get(fault).copied().unwrap_or(0), Some(*count));
        }
        row("operations", &|run| run.sums.operations, Some(self.sums.operations));
        row("writes acknowledged", &|run| run.sums.acknowledged, Some(self.sums.acknowledged));
        row("writes with unknown outcome", &|run| run.sums.unknown, Some(self.sums.unknown));
        row("agreed after at most, ms", &|run| run.settle_ms_max, None);
        for (at, (what, count)) in self.sums.wrongs().into_iter().enumerate() {
            row(what, &|run| run.sums.wrongs()[at].1, Some(count));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let kinds = format!("disks are made full by {}", self.disk_full_by);
        format!("{table}\n{kinds}; {} s", self.ending.elapsed_ms / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Report as _;

    #[test]
    fn what_is_wrong_in_one_run_is_wrong_in_all_and_said_with_its_seed() {
        let mut all = Report::new(1);
        let leader = LeaderReport { seed: 7, operations: 10, acknowledged: 4, ..LeaderReport::default() };
        all.add(Run::of_leader(Servers::Single, leader.clone()));
        assert!(all.is_clean());
        let rounds = BTreeMap::from([("delete".to_owned(), 2)]);
        let findings = vec!["a stale read".to_owned()];
        let wrong =
            LeaderReport { linearizability_violations: 1, stale_appends: 2, rounds, findings, ..leader };
        all.add(Run::of_leader(Servers::Cluster, wrong));
        let masters =
            MastersReport { lost: 3, acknowledged: 5, session_violations: 1, ..MastersReport::default() };
        all.add(Run::of_masters(Servers::Single, masters));
        assert!(!all.is_clean());
        let expected = Sums {
            operations: 25,
            acknowledged: 13,
            lost: 3,
            linearizability_violations: 1,
            session_violations: 1,
            log_violations: 2,
            ..Sums::default()
        };
        assert_eq!((all.runs, all.sums), (3, expected));
        assert_eq!(all.faults, BTreeMap::from([("log-deleted".to_owned(), 2)]));
        assert_eq!(all.findings, ["leader on cluster, seed 7: a stale read"]);
    }
}
