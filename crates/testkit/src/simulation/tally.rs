use std::collections::BTreeMap;

use serde::Serialize;

/// What was done to the replicas, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Of each kind of fault, how often it was injected and how often it was felt.
    pub faults: BTreeMap<&'static str, Injected>,
    /// What the replicas did about it, by kind: waited, repaired, took another identity.
    pub effects: BTreeMap<&'static str, u64>,
}

/// How often a fault was injected and felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Injected {
    /// How often it was injected.
    pub injected: u64,
    /// How often something went otherwise for it: a message was held up, a commit failed, a clock told another time.
    pub felt: u64,
}

impl Tally {
    pub(super) fn injected(&mut self, fault: &'static str) {
        self.faults.entry(fault).or_default().injected += 1;
    }

    pub(super) fn felt(&mut self, fault: &'static str, times: u64) {
        if times > 0 {
            self.faults.entry(fault).or_default().felt += times;
        }
    }

    pub(super) fn effect(&mut self, effect: &'static str, times: u64) {
        if times > 0 {
            *self.effects.entry(effect).or_default() += times;
        }
    }

    /// The sums of both.
    pub fn add(&mut self, other: &Tally) {
        for (fault, count) in &other.faults {
            let sum = self.faults.entry(fault).or_default();
            sum.injected += count.injected;
            sum.felt += count.felt;
        }
        for (effect, times) in &other.effects {
            *self.effects.entry(effect).or_default() += times;
        }
    }
}
