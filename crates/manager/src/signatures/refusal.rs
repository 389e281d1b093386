use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use metrics::{Counter, Label, Unit, counter, describe_counter};

use crate::{recording::Recording, seldom::Seldom};

const REFUSED: &str = "archipelago_signatures_refused_total";

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody signed it.
    Unsigned,
    /// What is appended to it is no signature that this build can read.
    Unreadable,
    /// The key is not on the list for that name, or was withdrawn.
    Untrusted,
    /// It is signed by another one than it says, or than was asked.
    Misnamed,
    /// The signature is not that of this message.
    Forged,
    /// It was signed too long ago, or is from the future: it may be a repetition, or a clock is wrong.
    Stale,
    /// It was heard already.
    Repeated,
}

impl Refusal {
    const ALL: [Refusal; 7] = [
        Refusal::Unsigned,
        Refusal::Unreadable,
        Refusal::Untrusted,
        Refusal::Misnamed,
        Refusal::Forged,
        Refusal::Stale,
        Refusal::Repeated,
    ];

    const fn name(self) -> &'static str {
        match self {
            Refusal::Unsigned => "unsigned",
            Refusal::Unreadable => "unreadable",
            Refusal::Untrusted => "untrusted",
            Refusal::Misnamed => "misnamed",
            Refusal::Forged => "forged",
            Refusal::Stale => "stale",
            Refusal::Repeated => "repeated",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Unsigned => "it is not signed",
            Refusal::Unreadable => "its signature cannot be read",
            Refusal::Untrusted => "its key is not trusted for that name: let it in, if it is to be believed",
            Refusal::Misnamed => "it is signed in another name",
            Refusal::Forged => "its signature is not true",
            Refusal::Stale => "it was signed at another time: it is a repetition, or a clock is wrong",
            Refusal::Repeated => "it was heard before",
        })
    }
}

/// How often what was refused.
#[derive(Debug)]
pub(super) struct Refusals {
    counts: [Count; Refusal::ALL.len()],
    seldom: Seldom,
}

#[derive(Debug)]
struct Count {
    counter: Counter,
    refused: AtomicU64,
}

impl Refusals {
    pub(super) fn new(namespace: &str, recording: &Recording) -> Refusals {
        recording.with(|| {
            describe_counter!(REFUSED, Unit::Count, "Messages that were not believed, by reason.");
            Refusals {
                counts: Refusal::ALL.map(|refusal| Count {
                    counter: counter!(
                        REFUSED,
                        vec![
                            Label::new("namespace", namespace.to_owned()),
                            Label::new("reason", refusal.name())
                        ]
                    ),
                    refused: AtomicU64::new(0),
                }),
                seldom: Seldom::default(),
            }
        })
    }

    /// Counts it, and says it unless that was said a moment ago: whoever sends such messages is not to fill the log.
    pub(super) fn count(&self, refusal: Refusal, what: &str, from: &str) {
        let count = &self.counts[refusal as usize];
        count.counter.increment(1);
        count.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(refused) = self.seldom.happened(refusal.name()) {
            tracing::warn!(what, from, reason = %refusal, refused, "a message is not believed and was skipped");
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.refused.load(Ordering::Relaxed)).sum()
    }
}
