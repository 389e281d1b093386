//! The tests of the dashboard in Chromium, which must be there or be had first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo_test::{self, Gated, TestRun};
use crate::packages::{install, named_or_on_path, on_path};
use crate::{Outcome, step};

const HOW_TO_MEND: &str = "\
The tests of the dashboard need Chromium and its driver, of the same version. Any one of these mends it:
  - on Debian and Ubuntu: apt-get install chromium chromium-driver;
  - install chromedriver (https://googlechromelabs.github.io/chrome-for-testing) and a browser, both on PATH;
  - set CHROMEDRIVER to the path of the driver.";

const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs them against `server`.
pub(crate) fn run(server: &Path) -> Outcome<TestRun> {
    cargo_test::run_only("browser", server, &gated(find_or_install()?))
}

/// What builds and runs them with `driver`.
pub(crate) fn gated(driver: PathBuf) -> Gated {
    Gated { features: vec!["archipelago-server/browser"], variables: vec![("CHROMEDRIVER", driver)] }
}

/// The path of a chromedriver that runs here.
pub(crate) fn find_or_install() -> Outcome<PathBuf> {
    let missing = match find() {
        Ok(driver) => return Ok(driver),
        Err(missing) => missing,
    };
    step::announce(&missing);
    install(&PACKAGES).and_then(|()| find()).map_err(|why| format!("{missing}; {why}\n{HOW_TO_MEND}"))
}

fn find() -> Outcome<PathBuf> {
    let driver = named_or_on_path("CHROMEDRIVER", "chromedriver").ok_or("no chromedriver was found")?;
    let output = Command::new(&driver).arg("--version").output();
    let output = output.map_err(|error| format!("{} does not run: {error}", driver.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        return Err(format!("{} does not run ({})", driver.display(), output.status));
    }
    if !BROWSERS.iter().any(|name| on_path(name).is_some()) {
        return Err("no Chromium was found".to_owned());
    }
    step::announce(&format!("{version}: {}", driver.display()));
    Ok(driver)
}
