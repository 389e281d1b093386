use std::ops::Range;

use archipelago::Value;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{MASTERS, records::Record};

/// How many records most conflicts happen on.
const HOT_RECORDS_MAX: usize = 8;
/// How many of a hundred edits hit one of them.
const HOT_PERCENT: u32 = 20;

/// One change of one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edit {
    /// Which record, by its place in the list of records.
    pub(crate) record: usize,
    pub(crate) field: String,
    /// Unique in the run, so that each edit changes something.
    pub(crate) value: String,
}

/// When an edit is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// While all masters are linked.
    Linked,
    /// While one is cut off.
    Cut,
    /// From the moment on at which the cut is healed.
    Healed,
}

/// Which master makes which edits when. The same seed and records give the same plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    masters: Vec<MasterPlan>,
}

#[derive(Clone, Debug, PartialEq)]
struct MasterPlan {
    edits: Vec<Edit>,
    cut: Range<usize>,
}

impl Plan {
    /// At least three edits are needed: while one master is cut off, each master begins with the same field of the
    /// same record, so that there is a conflict in any case.
    pub(crate) fn new(records: &[Record], writes: u64, seed: u64) -> Plan {
        let mut random = StdRng::seed_from_u64(seed);
        let hot: Vec<usize> =
            (0..HOT_RECORDS_MAX.min(records.len())).map(|_| random.random_range(0..records.len())).collect();
        let counts = (0..MASTERS.len() as u64).map(|at| share(writes, at));
        let masters = MASTERS.iter().zip(counts).map(|(name, count)| {
            let cut_count = (count * 2 / 5).max(1);
            let cut_start = (count - cut_count) / 2;
            let edits = (0..count).map(|at| {
                let number = at + 1;
                let from_hot = at == cut_start || random.random_range(0..100) < HOT_PERCENT;
                let record = match (at == cut_start, from_hot) {
                    (true, _) => hot[0],
                    (false, true) => hot[random.random_range(0..hot.len())],
                    (false, false) => random.random_range(0..records.len()),
                };
                let fields = text_fields(&records[record].value);
                let field = match (from_hot, fields.len()) {
                    (_, 0) => ("note", ""),
                    (true, _) => fields[0],
                    (false, count) => fields[random.random_range(0..count)],
                };
                let value = format!("{} ({name}, edit {number})", field.1).trim_start().to_owned();
                Edit { record, field: field.0.to_owned(), value }
            });
            MasterPlan { edits: edits.collect(), cut: place(cut_start)..place(cut_start + cut_count) }
        });
        Plan { masters: masters.collect() }
    }

    /// The edits of one master in one stage, in order.
    pub(crate) fn edits(&self, master: usize, stage: Stage) -> &[Edit] {
        let MasterPlan { edits, cut } = &self.masters[master];
        match stage {
            Stage::Linked => &edits[..cut.start],
            Stage::Cut => &edits[cut.clone()],
            Stage::Healed => &edits[cut.end..],
        }
    }

    /// How many edits all masters make in one stage.
    pub(crate) fn count(&self, stage: Stage) -> u64 {
        (0..self.masters.len()).map(|master| self.edits(master, stage).len() as u64).sum()
    }
}

/// The part of `writes` that falls to the `at`th master.
fn share(writes: u64, at: u64) -> u64 {
    let masters = MASTERS.len() as u64;
    writes / masters + u64::from(at < writes % masters)
}

fn place(count: u64) -> usize {
    usize::try_from(count).expect("the edits were counted in memory")
}

/// The fields of text, which an edit can make out as an edit, but for the id.
fn text_fields(record: &Value) -> Vec<(&str, &str)> {
    let fields = record.as_map().into_iter().flatten().filter(|(name, _)| *name != "id");
    fields.filter_map(|(name, value)| Some((name.as_str(), value.as_text()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::builtin, *};

    #[test]
    fn a_seed_fixes_the_plan() {
        let records = builtin::records();
        assert_eq!(Plan::new(&records, 500, 7), Plan::new(&records, 500, 7));
        assert_ne!(Plan::new(&records, 500, 7), Plan::new(&records, 500, 8));
    }

    #[test]
    fn every_write_is_planned_once() {
        let records = builtin::records();
        for writes in [3, 4, 5, 6, 7, 100, 3_000] {
            let plan = Plan::new(&records, writes, 1);
            let planned: u64 =
                [Stage::Linked, Stage::Cut, Stage::Healed].map(|stage| plan.count(stage)).iter().sum();
            assert_eq!(planned, writes);
        }
    }

    #[test]
    fn while_one_is_cut_off_all_begin_with_the_same_field() {
        let one = vec![builtin::records().swap_remove(0)];
        for (records, writes) in [(builtin::records(), 3), (builtin::records(), 3_000), (one, 3)] {
            let plan = Plan::new(&records, writes, 1);
            let first = |master| plan.edits(master, Stage::Cut)[0].clone();
            for master in 1..MASTERS.len() {
                assert_eq!(first(0).record, first(master).record);
                assert_eq!(first(0).field, first(master).field);
            }
        }
    }
}
