use archipelago::clock::{Dot, Hlc};

use super::Findings;
use crate::protocol::{Held, HeldValue};

/// What is known of a register under last writer wins: the write with the greatest stamp is what must be read, whoever
/// was first, since a write that knew of another has the greater stamp.
#[derive(Debug, Default)]
pub(crate) struct Register {
    /// The acknowledged writes with the greatest time: numbers, or `None` for a removal. Almost always one. Where times are
    /// equal the name of the write decides, which a master that parts from a copy changes; so any of them may win.
    best: Vec<Option<u64>>,
    best_hlc: Option<Hlc>,
    /// One of `best`, for a person to look up.
    best_dot: Option<Dot>,
    /// Writes of which nobody knows whether they happened.
    maybe: Vec<Option<u64>>,
}

impl Register {
    pub(crate) fn acknowledge(&mut self, hlc: Hlc, dot: &Dot, value: Option<u64>) {
        if self.best_hlc.is_some_and(|best| best > hlc) {
            return;
        }
        if self.best_hlc != Some(hlc) {
            self.best.clear();
            self.best_hlc = Some(hlc);
        }
        self.best.push(value);
        self.best_dot = Some(dot.clone());
    }

    pub(crate) fn doubt(&mut self, value: Option<u64>) {
        self.maybe.push(value);
    }

    /// Compares what a master holds with what it must.
    pub(crate) fn judge(&self, id: &str, master: &str, held: Option<&Held>, findings: &mut Findings) {
        let value = match held.map(|held| &held.value) {
            None | Some(HeldValue::Removed) => None,
            Some(HeldValue::Number(number)) => Some(*number),
            Some(HeldValue::Damaged(what)) => {
                return findings.lost(|| format!("{id:?} on {master} is damaged: {what}"));
            }
        };
        let is_later = held.is_none_or(|held| Some(held.hlc) > self.best_hlc);
        let is_sound = match self.best.is_empty() {
            true => value.is_none() || self.maybe.contains(&value),
            false => self.best.contains(&value) || (self.maybe.contains(&value) && is_later),
        };
        if !is_sound {
            let (best, dot) = (&self.best, &self.best_dot);
            findings.lost(|| {
                let dot = dot.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{id:?} on {master} is {held:?} and not {best:?} of {dot}, {:?}", self.best_hlc)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use archipelago::clock::{Incarnation, ReplicaId};

    use super::*;

    fn dot() -> Dot {
        Dot::new(ReplicaId::new("m", Incarnation::from_bits(1)).unwrap(), 1)
    }

    fn held(ms: u64, value: HeldValue) -> Held {
        Held { dot: dot(), hlc: Hlc::new(ms, 0), value }
    }

    fn is_sound(register: &Register, held: Option<Held>) -> bool {
        let mut findings = Findings::default();
        register.judge("id", "m", held.as_ref(), &mut findings);
        assert_eq!(findings.duplicated, 0);
        findings.is_clean()
    }

    #[test]
    fn only_the_latest_acknowledged_write_or_a_later_doubtful_one_is_sound() {
        let mut register = Register::default();
        register.acknowledge(Hlc::new(5, 0), &dot(), Some(50));
        register.acknowledge(Hlc::new(3, 0), &dot(), Some(30));
        register.doubt(Some(70));
        assert!(is_sound(&register, Some(held(5, HeldValue::Number(50)))));
        assert!(is_sound(&register, Some(held(7, HeldValue::Number(70)))));
        for wrong in [
            None,
            Some(held(9, HeldValue::Removed)),
            Some(held(3, HeldValue::Number(30))),
            Some(held(4, HeldValue::Number(70))),
            Some(held(9, HeldValue::Number(99))),
            Some(held(5, HeldValue::Damaged(String::new()))),
        ] {
            assert!(!is_sound(&register, wrong.clone()), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_removed_stays_removed_with_or_without_its_tombstone() {
        let mut register = Register::default();
        register.acknowledge(Hlc::new(3, 0), &dot(), Some(30));
        register.acknowledge(Hlc::new(5, 0), &dot(), None);
        assert!(is_sound(&register, None));
        assert!(is_sound(&register, Some(held(5, HeldValue::Removed))));
        assert!(!is_sound(&register, Some(held(3, HeldValue::Number(30)))));
    }

    #[test]
    fn of_equal_times_any_may_win_and_a_doubtful_write_need_not_be_there() {
        let mut register = Register::default();
        register.acknowledge(Hlc::new(5, 0), &dot(), Some(50));
        register.acknowledge(Hlc::new(5, 0), &dot(), Some(51));
        assert!(is_sound(&register, Some(held(5, HeldValue::Number(50)))));
        assert!(is_sound(&register, Some(held(5, HeldValue::Number(51)))));
        let mut doubtful = Register::default();
        doubtful.doubt(Some(1));
        assert!(is_sound(&doubtful, None) && is_sound(&doubtful, Some(held(1, HeldValue::Number(1)))));
        assert!(!is_sound(&doubtful, Some(held(1, HeldValue::Number(2)))));
    }
}
