use archipelago_benches::contest::OURS;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use crate::{
    measure::CaseResult,
    memory::{self, BYTES_MAX},
};

/// Everything that was measured.
pub(crate) struct Report {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) results: Vec<CaseResult>,
    /// What the program `memory` said.
    pub(crate) memory: Option<Value>,
}

/// How one case ended.
struct Verdict<'a> {
    ours: f64,
    rivals: Vec<(&'a str, f64)>,
    fastest: (&'a str, f64),
    ratio: f64,
}

impl CaseResult {
    fn verdict(&self) -> Verdict<'_> {
        let ours = self.times.iter().find(|(library, _)| *library == OURS);
        let ours = ours.expect("this project takes part in every case").1;
        let rivals: Vec<(&str, f64)> =
            self.times.iter().filter(|(library, _)| *library != OURS).copied().collect();
        let fastest = rivals.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let fastest = fastest.expect("every case has a rival");
        Verdict { ours, rivals, fastest, ratio: fastest.1 / ours }
    }
}

impl Report {
    /// One JSON object.
    pub(crate) fn json(&self) -> String {
        let cases: Vec<Value> = self.results.iter().map(case_json).collect();
        let mut report = json!({
            "quick": self.quick,
            "rounds": self.rounds,
            "statistic": "minimum",
            "ratio_is": "time of the fastest rival divided by ours; above 1, ours is faster",
            "versions": versions(),
            "cases": cases,
        });
        if let Some(memory) = &self.memory {
            report["memory_per_entity_bytes"] = memory["memory_per_entity_bytes"].clone();
            report["memory_per_entity_bytes_limit"] = json!(BYTES_MAX);
            report["memory"] = memory.clone();
        }
        format!("{report:#}\n")
    }

    /// A table for people, ratios first.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if !self.results.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::UTF8_HORIZONTAL_ONLY);
            table.set_header(["ratio", "goal", "case", "ours", "rivals"]);
            for result in &self.results {
                let verdict = result.verdict();
                let rivals = verdict.rivals.iter().map(|(name, ns)| format!("{name} {}", duration(*ns)));
                let goal = result
                    .case
                    .goal
                    .map(|goal| format!("{goal:.0}{}", if verdict.ratio < goal { " missed" } else { "" }));
                table.add_row([
                    format!("{:.2}", verdict.ratio),
                    goal.unwrap_or_default(),
                    result.case.name.clone(),
                    duration(verdict.ours),
                    rivals.collect::<Vec<_>>().join(", "),
                ]);
            }
            table.column_mut(0).expect("five columns").set_cell_alignment(CellAlignment::Right);
            text += &format!("{table}\n");
            text += "A ratio is the time of the fastest rival divided by ours: above 1, ours is faster. Times are of one\n";
            text += &format!("operation, the best of {} rounds in turns.\n", self.rounds);
        }
        if let Some(memory) = &self.memory {
            text += &format!(
                "{}: {} bytes a record beyond key and value with {} records (limit {BYTES_MAX})\n",
                memory::CASE,
                memory["memory_per_entity_bytes"],
                memory["records"]
            );
        }
        if self.quick {
            text += "This was a quick run: it shows that everything works, not how fast.\n";
        }
        text
    }
}

fn case_json(result: &CaseResult) -> Value {
    let verdict = result.verdict();
    let theirs: Map<String, Value> =
        verdict.rivals.iter().map(|(name, ns)| (name.to_string(), json!(rounded(*ns)))).collect();
    json!({
        "case": result.case.name,
        "about": result.case.about,
        "unit": "ns/operation",
        "ours": rounded(verdict.ours),
        "theirs": theirs,
        "fastest_rival": verdict.fastest.0,
        "ratio": (verdict.ratio * 100.0).round() / 100.0,
        "goal": result.case.goal,
        "goal_met": result.case.goal.map(|goal| verdict.ratio >= goal),
    })
}

fn rounded(ns: f64) -> f64 {
    (ns * 100.0).round() / 100.0
}

fn duration(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// Which versions took part, from the lock file that this was built with.
fn versions() -> Map<String, Value> {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    const LIBRARIES: [&str; 6] = [OURS, "crdts", "crdt-kit", "automerge", "yrs", "loro"];
    let version = |library: &str| {
        let (_, package) = LOCK.split_once(&format!("name = \"{library}\"\nversion = \""))?;
        Some(package.split_once('"')?.0.to_owned())
    };
    LIBRARIES.into_iter().filter_map(|library| Some((library.to_owned(), version(library)?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use archipelago_benches::contest::Case;

    use super::*;

    fn result(times: Vec<(&'static str, f64)>) -> CaseResult {
        let case = Case { name: "case".into(), about: "A case.".into(), operations: 1, goal: Some(3.0) };
        CaseResult { case, times }
    }

    #[test]
    fn the_ratio_is_that_to_the_fastest_rival() {
        let json = case_json(&result(vec![(OURS, 10.0), ("crdts", 50.0), ("crdt-kit", 25.0)]));
        assert_eq!(json["ratio"], 2.5);
        assert_eq!(json["fastest_rival"], "crdt-kit");
        assert_eq!(json["goal_met"], false);
        assert_eq!(json["theirs"], json!({"crdts": 50.0, "crdt-kit": 25.0}));
    }

    #[test]
    fn every_library_has_a_version() {
        assert_eq!(versions().len(), 6);
    }

    #[test]
    fn the_memory_of_a_record_stands_at_the_top_with_its_limit() {
        let memory = Some(json!({"records": 10, "memory_per_entity_bytes": 51.5}));
        let report = Report { quick: true, rounds: 3, results: Vec::new(), memory };
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["memory_per_entity_bytes"], 51.5);
        assert_eq!(json["memory_per_entity_bytes_limit"], 150.0);
    }
}
