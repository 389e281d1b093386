use std::{process::ExitCode, time::Instant};

use serde::Serialize;

use super::options::{Bulk, Writing};
use crate::{
    bench::{
        BenchError,
        options::{Common, Output},
        session::{broker, end, namespace},
    },
    interrupt::Interrupt,
    progress::{Progress, millis},
};

/// What a measurement comes to.
pub(crate) trait Report: Serialize {
    /// For a person.
    fn text(&self) -> String;

    /// Whether anything was measured.
    fn has_results(&self) -> bool;
}

/// What the masters were told, and where they ran.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) size: u32,
    pub(crate) keys: u32,
    pub(crate) tasks: u32,
    /// How many writes were handed over together, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) together: Option<u32>,
    pub(crate) broker: &'static str,
    pub(crate) replicas: u8,
    pub(crate) seed: u64,
    pub(crate) namespace: String,
}

impl Setting {
    pub(crate) fn new(common: &Common, writing: Writing) -> Setting {
        let Writing { size, keys, tasks } = writing;
        Setting {
            size,
            keys,
            tasks,
            together: None,
            broker: broker(common),
            replicas: common.replicas,
            seed: common.seed,
            namespace: namespace(),
        }
    }

    /// The same, of writes that are handed over together.
    pub(crate) fn bulk(common: &Common, bulk: Bulk) -> Setting {
        Setting { together: Some(bulk.together), ..Setting::new(common, bulk.writing) }
    }

    /// For a person, before it begins.
    pub(crate) fn text(&self) -> String {
        format!("namespace {}, broker {}", self.namespace, self.broker)
    }
}

/// As `--json` prints it.
#[derive(Serialize)]
struct Ended<'a, R> {
    bench: &'static str,
    #[serde(flatten)]
    report: &'a R,
    elapsed_ms: u64,
    error: Option<String>,
}

/// Measures, tells of it, and gives the exit status. `report` is filled in as far as it comes.
pub(crate) async fn measured<R: Report>(
    bench: &'static str,
    setting: &str,
    output: Output,
    interrupt: &Interrupt,
    mut report: R,
    measure: impl AsyncFnOnce(&Progress, &mut R) -> Result<(), BenchError>,
) -> ExitCode {
    let (started, progress) = (Instant::now(), Progress::new());
    progress.say(format!("archipelago bench {bench}: {setting}"));
    let outcome = interrupt.unless(measure(&progress, &mut report)).await;
    let error = outcome.as_ref().err().map(ToString::to_string);
    let ended = Ended { bench, report: &report, elapsed_ms: millis(started.elapsed()), error };
    end(output, outcome, &report.text(), report.has_results(), &ended)
}
