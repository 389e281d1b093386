//! Cases that failed once, made small: they are run again for ever.

use std::{fs, path::Path};

use archipelago_testkit::simulation::{Detail, Regression, Scenario};

#[test]
fn what_failed_once_does_not_fail_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let entries = fs::read_dir(&folder).expect("the folder of the regressions");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut failing = Vec::new();
    for path in paths {
        let kept = Regression::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(name, Some(kept.file_name()), "a file is called by what is in it");
        let scenario = Scenario::named(&kept.case.scenario).unwrap_or_else(|| panic!("{}", path.display()));
        let outcome = scenario.attempt(&kept.case, Detail::Traced);
        if let Some(violation) = outcome.violation {
            let trace = outcome.trace.join("\n");
            failing.push(format!("{trace}\n{}: {violation}", path.display()));
        }
    }
    assert!(failing.is_empty(), "{}", failing.join("\n\n"));
}
