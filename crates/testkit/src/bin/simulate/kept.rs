use std::{collections::BTreeMap, path::PathBuf};

use archipelago_testkit::simulation::{RUNS_MAX, Regression, Survey};

use crate::{interrupt::Interrupt, options::Options, subject::Subject};

/// How many failing seeds of one checker are made small. What else it finds is most likely the same.
const OF_ONE_CHECKER_MAX: usize = 3;

/// Makes failing seeds small and keeps them as files; tells which seed is in which. Whole managers cannot be made smaller:
/// their steps are drawn as they run.
pub(crate) fn keep(
    survey: &Survey,
    subject: &Subject,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<BTreeMap<u64, PathBuf>, String> {
    let mut files = BTreeMap::new();
    let Subject::Engines(scenario) = subject else { return Ok(files) };
    let mut of_checker: BTreeMap<&str, usize> = BTreeMap::new();
    for (seed, violation) in &survey.failing {
        let kept = of_checker.entry(violation.checker).or_default();
        if *kept == OF_ONE_CHECKER_MAX || interrupt.is_wanted() {
            continue;
        }
        *kept += 1;
        let case = scenario.case(*seed);
        let Some(found) = scenario.minimise(&case, RUNS_MAX) else {
            return Err(format!(
                "seed {seed} failed, and did not when it was run again: it is not deterministic"
            ));
        };
        let path =
            Regression::new(&found).write(&options.regressions()).map_err(|error| error.to_string())?;
        eprintln!(
            "seed {seed}: {} of {} steps are left after {} runs, in {}",
            found.case.steps.len(),
            case.steps.len(),
            found.runs,
            path.display()
        );
        files.insert(*seed, path);
    }
    Ok(files)
}
