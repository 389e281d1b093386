use std::collections::BTreeSet;

use super::Findings;
use crate::protocol::{Amounts, Counted};

/// What is known of an entity of two counters and a set under CRDT merge.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counted: Amounts,
    /// Increments of which nobody knows whether they happened.
    maybe_counted: Vec<Amounts>,
    pub(crate) added: BTreeSet<u64>,
    pub(crate) maybe_added: BTreeSet<u64>,
    pub(crate) taken: BTreeSet<u64>,
    pub(crate) maybe_taken: BTreeSet<u64>,
}

/// Beyond so many sums of doubtful increments, any value between the least and the greatest of them is let pass.
const SUMS_MAX: usize = 65_536;

impl Tally {
    pub(crate) fn count(&mut self, by: Amounts) {
        self.counted += by;
    }

    pub(crate) fn doubt(&mut self, by: Amounts) {
        self.maybe_counted.push(by);
    }

    /// Compares what a master holds with what it must: exactly all acknowledged increments and any of the doubtful ones,
    /// each at most once; each element that was added and not taken, and no other.
    pub(crate) fn judge(&self, id: &str, master: &str, held: Option<&Counted>, findings: &mut Findings) {
        let nothing = Counted::default();
        let held = held.unwrap_or(&nothing);
        if !self.allows(held.amounts) {
            let (is, must) = (held.amounts, self.counted);
            let doubtful = &self.maybe_counted;
            let example =
                || format!("{id:?} on {master} counts {is:?} and not {must:?}; doubtful are {doubtful:?}");
            match is.hits < must.hits {
                true => findings.lost(example),
                false => findings.duplicated(example),
            }
        }
        for element in self.added.difference(&held.elements) {
            if !self.taken.contains(element) && !self.maybe_taken.contains(element) {
                findings.lost(|| format!("{id:?} on {master} lacks the element {element}"));
            }
        }
        for element in &held.elements {
            if self.taken.contains(element) {
                findings.lost(|| format!("{id:?} on {master} has the element {element} again"));
            } else if !self.added.contains(element) && !self.maybe_added.contains(element) {
                findings.duplicated(|| format!("{id:?} on {master} has the element {element} of nobody"));
            }
        }
    }

    fn allows(&self, held: Amounts) -> bool {
        let mut sums = BTreeSet::from([self.counted]);
        for doubtful in &self.maybe_counted {
            let more: Vec<Amounts> = sums
                .iter()
                .map(|sum| {
                    let mut sum = *sum;
                    sum += *doubtful;
                    sum
                })
                .collect();
            sums.extend(more);
            if sums.len() > SUMS_MAX {
                let most: u64 = self.maybe_counted.iter().map(|doubtful| doubtful.hits).sum();
                return (self.counted.hits..=self.counted.hits + most).contains(&held.hits);
            }
        }
        sums.contains(&held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(hits: u64, balance: i64) -> Amounts {
        Amounts { hits, balance }
    }

    fn judged(tally: &Tally, amounts: Amounts, elements: &[u64]) -> (u64, u64) {
        let mut findings = Findings::default();
        let held = Counted { amounts, elements: elements.iter().copied().collect() };
        tally.judge("id", "m", Some(&held), &mut findings);
        (findings.lost, findings.duplicated)
    }

    #[test]
    fn doubtful_increments_count_once_or_not_at_all_and_acknowledged_ones_exactly_once() {
        let mut tally = Tally::default();
        tally.count(amounts(100, -5));
        tally.doubt(amounts(7, 1));
        tally.doubt(amounts(30, -2));
        for sound in [(100, -5), (107, -4), (130, -7), (137, -6)] {
            assert_eq!(judged(&tally, amounts(sound.0, sound.1), &[]), (0, 0));
        }
        assert_eq!(judged(&tally, amounts(99, -5), &[]), (1, 0));
        assert_eq!(judged(&tally, amounts(114, -3), &[]), (0, 1), "a doubtful one twice");
        assert_eq!(judged(&tally, amounts(200, -10), &[]), (0, 1), "an acknowledged one twice");
        assert_eq!(judged(&tally, amounts(107, -5), &[]), (0, 1), "half a write");
    }

    #[test]
    fn elements_are_those_that_were_added_and_not_taken() {
        let tally = Tally {
            added: [1, 2, 3].into(),
            maybe_added: [4].into(),
            taken: [2].into(),
            maybe_taken: [3].into(),
            ..Tally::default()
        };
        for sound in [&[1, 3, 4][..], &[1, 3], &[1]] {
            assert_eq!(judged(&tally, amounts(0, 0), sound), (0, 0));
        }
        assert_eq!(judged(&tally, amounts(0, 0), &[3]), (1, 0), "lacks an element");
        assert_eq!(judged(&tally, amounts(0, 0), &[1, 2]), (1, 0), "a removal is lost");
        assert_eq!(judged(&tally, amounts(0, 0), &[1, 9]), (0, 1), "of nobody");
    }
}
