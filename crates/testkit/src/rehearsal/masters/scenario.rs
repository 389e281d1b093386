use std::{ops::RangeInclusive, time::Duration};

use archipelago_pipeline::FaultRates;

use crate::simulation::{Case, Dice, Scenario as Simulated, Settings};

/// What a seed decides before anything runs: the same case as that of a simulation of engines, and what managers have
/// beyond that.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) simulated: Simulated,
    pub(super) case: Case,
    pub(super) options: Options,
}

/// What managers, disks and the broker are given.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) outbox_events_max: u64,
    pub(super) conflict_journal_max: u64,
    /// How long a disk takes at most.
    pub(super) disk_time_max: Duration,
    pub(super) snapshots: Snapshots,
    /// How long an acknowledgement is waited for.
    pub(super) ack_timeout: Duration,
}

/// Whether snapshots are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshots {
    Never,
    /// So often, and looked for from so many lacking writes on.
    Every {
        interval: Duration,
        threshold: u64,
    },
}

/// What breaks more and less often: most seeds break everything.
const WEATHERS: [&str; 8] = ["mixed", "mixed", "mixed", "mixed", "network", "machines", "broker", "clocks"];

/// Sets these dice apart from others of the same seed.
const OPTIONS: u64 = 101;

impl Scenario {
    pub(super) fn draw(seed: u64) -> Scenario {
        let mut dice = Dice::keyed(seed, [OPTIONS, 0, 0]);
        let mut simulated = Simulated::named(dice.pick::<&str>(&WEATHERS)).expect("it is built in");
        simulated.weather.writes = (80, 300);
        simulated.weather.old_builds = 0;
        let ms = Duration::from_millis;
        let every = |dice: &mut Dice| Snapshots::Every {
            interval: ms(*dice.pick(&[1_000, 4_000])),
            threshold: *dice.pick(&[1, 20, 100_000]),
        };
        Scenario {
            case: simulated.case(seed),
            simulated,
            options: Options {
                outbox_events_max: *dice.pick(&[6, 60, 1_000_000]),
                conflict_journal_max: *dice.pick(&[0, 4, 10_000]),
                disk_time_max: ms(*dice.pick(&[0, 0, 3, 25])),
                snapshots: if dice.permille(300) { every(&mut dice) } else { Snapshots::Never },
                ack_timeout: ms(*dice.pick(&[300, 2_000])),
            },
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.case.settings
    }

    /// How long a message takes, one way.
    pub(super) fn latency(&self) -> RangeInclusive<Duration> {
        let (least, most) = self.settings().latency_ms;
        Duration::from_millis(least)..=Duration::from_millis(most)
    }

    /// How often messages meet a mishap, as long as anything breaks.
    #[allow(clippy::cast_precision_loss, reason = "below a thousand")]
    pub(super) fn fault_rates(&self) -> FaultRates {
        let loss = self.settings().loss_permille as f64 / 3_000.0;
        FaultRates {
            unavailable: loss,
            lose_message: loss,
            lose_ack: loss,
            store_twice: self.settings().duplication_permille as f64 / 1_000.0,
        }
    }
}
