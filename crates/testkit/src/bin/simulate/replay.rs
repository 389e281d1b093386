use std::{path::Path, process::ExitCode};

use archipelago_testkit::simulation::{Detail, Outcome, Regression, Scenario};

use crate::{Done, subject::Subject};

/// Runs a seed, and tells what happens.
pub(crate) fn seed(subject: &Subject, seed: u64) -> Done {
    if let Subject::Engines(scenario) = subject {
        println!("{:?}", scenario.case(seed).settings);
    }
    Ok(tell(&subject.run(seed, Detail::Traced)))
}

/// Runs the case of a file, and tells what happens.
pub(crate) fn file(path: &Path) -> Done {
    let kept = Regression::read(path).map_err(|error| error.to_string())?;
    let name = &kept.case.scenario;
    let Some(scenario) = Scenario::named(name) else {
        return Err(format!(
            "{} is of the scenario {name:?}, which this program does not have",
            path.display()
        ));
    };
    println!("{:?}", kept.case.settings);
    println!("kept because of {}, {}", kept.checker, kept.note);
    Ok(tell(&scenario.attempt(&kept.case, Detail::Traced)))
}

fn tell(outcome: &Outcome) -> ExitCode {
    for line in &outcome.trace {
        println!("{line}");
    }
    let Outcome { seed, steps, writes, virtual_ms, .. } = outcome;
    println!("seed {seed}: {steps} steps, {writes} writes, {virtual_ms} ms");
    match &outcome.violation {
        None => {
            println!("every promise held");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}
