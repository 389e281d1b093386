//! The tests of the dashboard in Chromium, which must be there or be had first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo_test::{self, TestRun};
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
    let driver = find_or_install()?;
    let args = ["-p", "archipelago-server", "--features", "browser", "--test", "browser"];
    let args: Vec<String> = args.map(String::from).to_vec();
    cargo_test::run_with(server, &args, &[("CHROMEDRIVER", driver.as_os_str())])
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
