//! The sum of the `test result:` lines that test binaries print.

use std::fmt;

/// How many tests passed and failed, over all test binaries.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
}

impl Totals {
    /// Adds what `line` reports, if it is a binary's closing line.
    pub(crate) fn count(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        self.passed += number_before(counts, " passed;").unwrap_or(0);
        self.failed += number_before(counts, " failed;").unwrap_or(0);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn number_before(text: &str, unit: &str) -> Option<u64> {
    let (before, _) = text.split_once(unit)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_summed_and_others_ignored() {
        let mut totals = Totals::default();
        totals.count("running 3 tests");
        totals.count(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        totals.count("test result: \u{1b}[31mFAILED\u{1b}[m. 1 passed; 2 failed; 0 ignored; 0 measured");
        totals.count("test it_passed; failed; ... ok");
        assert_eq!(totals.to_string(), "13 passed, 2 failed");
    }
}
