use std::{collections::BTreeSet, fmt};

use super::{Consistency, KvOp, KvResult, Model, Operation, Version};

/// A key-value store whose writes are entries of one log: each key is a register with a version, which grows with each
/// write to it, by one or more.
///
/// Linearizable reads and all writes are looked at; other reads are not. An expected version on a missing key matches
/// if it is 0. An update or delete of a missing key that also expects another version may be answered by `Refused` or
/// `Conflict`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KvRegister;

/// A key: its value, and what its last write's version may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyState {
    value: Option<String>,
    last: Last,
}

/// The version of the last write, a delete included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Last {
    Exactly(Version),
    /// After a write whose result nobody knows: `least` or more, except these, which are greater than `least`. They
    /// are what a conflict has ruled out.
    From {
        least: Version,
        except: BTreeSet<Version>,
    },
}

impl Last {
    fn least(&self) -> Version {
        match self {
            Last::Exactly(least) | Last::From { least, .. } => *least,
        }
    }

    fn may_be(&self, version: Version) -> bool {
        match self {
            Last::Exactly(exactly) => *exactly == version,
            Last::From { least, except } => version >= *least && !except.contains(&version),
        }
    }

    /// What is left if it is not this one.
    fn without(&self, version: Version) -> Option<Last> {
        match self {
            Last::Exactly(exactly) => (*exactly != version).then(|| self.clone()),
            Last::From { least, except } => {
                let (mut least, mut except) = (*least, except.clone());
                if version >= least {
                    except.insert(version);
                }
                while except.remove(&least) {
                    least += 1;
                }
                Some(Last::From { least, except })
            }
        }
    }

    /// Whether it may be everything that the other may be.
    fn covers(&self, other: &Last) -> bool {
        match (self, other) {
            (_, Last::Exactly(version)) => self.may_be(*version),
            (Last::Exactly(_), Last::From { .. }) => false,
            (Last::From { least, except }, Last::From { least: others, except: ruled_out }) => {
                least <= others && except.range(others..).all(|version| ruled_out.contains(version))
            }
        }
    }
}

impl KeyState {
    /// The state if the key has the expected version.
    fn matching(&self, expected: Option<Version>) -> Option<KeyState> {
        let Some(expected) = expected else { return Some(self.clone()) };
        match &self.value {
            None => (expected == 0).then(|| self.clone()),
            Some(_) => self.last.may_be(expected).then(|| self.at(expected)),
        }
    }

    /// The state if the key does not have the expected version.
    fn mismatching(&self, expected: Version) -> Option<KeyState> {
        match &self.value {
            None => (expected != 0).then(|| self.clone()),
            Some(_) => {
                let last = self.last.without(expected)?;
                Some(KeyState { value: self.value.clone(), last })
            }
        }
    }

    fn at(&self, version: Version) -> KeyState {
        KeyState { value: self.value.clone(), last: Last::Exactly(version) }
    }

    fn written(&self, value: Option<&str>, version: Option<Version>) -> Option<KeyState> {
        let before = self.last.least();
        let last = match (version, value) {
            (Some(version), _) if version <= before => return None,
            (Some(version), _) => Last::Exactly(version),
            (None, Some(_)) => Last::From { least: before + 1, except: BTreeSet::new() },
            // Nobody sees the version of a missing key; only that later ones are greater matters.
            (None, None) => Last::Exactly(before + 1),
        };
        Some(KeyState { value: value.map(str::to_owned), last })
    }
}

impl Model for KvRegister {
    type Op = KvOp;
    type Result = KvResult;
    type State = KeyState;

    fn part<'o>(&self, op: &'o KvOp) -> Option<&'o str> {
        match op.consistency() {
            None | Some(Consistency::Linearizable) => Some(op.key()),
            Some(_) => None,
        }
    }

    fn initial(&self) -> KeyState {
        KeyState { value: None, last: Last::Exactly(0) }
    }

    fn step(&self, state: &KeyState, op: &KvOp, result: Option<&KvResult>) -> Option<KeyState> {
        let exists = state.value.is_some();
        let version = match (op, result) {
            (KvOp::Read { .. }, Some(KvResult::Value(None))) => return (!exists).then(|| state.clone()),
            (KvOp::Read { .. }, Some(KvResult::Value(Some((value, version))))) => {
                let is_it = state.value.as_ref() == Some(value) && state.last.may_be(*version);
                return is_it.then(|| state.at(*version));
            }
            (KvOp::Create { .. }, Some(KvResult::Refused)) => return exists.then(|| state.clone()),
            (KvOp::Update { .. } | KvOp::Delete { .. }, Some(KvResult::Refused)) => {
                return (!exists).then(|| state.clone());
            }
            (_, Some(KvResult::Conflict)) => return state.mismatching(op.expected()?),
            (KvOp::Read { .. }, _) | (_, Some(KvResult::Refused | KvResult::Value(_))) => return None,
            (_, Some(KvResult::Written(version))) => Some(*version),
            (_, None) => None,
        };
        let is_refused = match op {
            KvOp::Create { .. } => exists,
            KvOp::Update { .. } | KvOp::Delete { .. } => !exists,
            KvOp::Upsert { .. } | KvOp::Read { .. } => false,
        };
        if is_refused { None } else { state.matching(op.expected())?.written(op.value(), version) }
    }

    fn covers(&self, state: &KeyState, other: &KeyState) -> bool {
        match (&state.value, &other.value) {
            (None, None) => state.last.least() <= other.last.least(),
            (value, others) => value == others && state.last.covers(&other.last),
        }
    }

    fn order(&self, _op: &KvOp, result: &KvResult) -> u64 {
        match result {
            KvResult::Written(version) | KvResult::Value(Some((_, version))) => *version,
            KvResult::Value(None) | KvResult::Refused | KvResult::Conflict => 0,
        }
    }

    /// Reads are left out. Writes are not, not even those whose value nobody has read: their version may be why a
    /// condition did not hold, and that they exist, why a create was refused or an update done. But which value they
    /// wrote makes no difference then, so they all get the same one, and only one of each kind has to be tried.
    fn unknowns(&self, part: &[&Operation]) -> Vec<Option<KvOp>> {
        let mut seen = BTreeSet::new();
        for operation in part {
            if let Some(KvResult::Value(Some((value, _)))) = operation.result() {
                seen.insert(value.as_str());
            }
        }
        let unknown = part.iter().filter(|operation| operation.is_unknown()).map(|operation| &operation.op);
        let unseen = unknown.clone().filter_map(KvOp::value).find(|value| !seen.contains(value));
        let taken_for = |op: &KvOp| {
            let mut op = op.clone();
            match (&mut op, unseen) {
                (KvOp::Read { .. }, _) => return None,
                (
                    KvOp::Upsert { value, .. } | KvOp::Create { value, .. } | KvOp::Update { value, .. },
                    Some(unseen),
                ) if !seen.contains(value.as_str()) => unseen.clone_into(value),
                _ => {}
            }
            Some(op)
        };
        unknown.map(taken_for).collect()
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.last.least();
        match (&self.value, &self.last) {
            (None, _) if least == 0 => f.write_str("missing"),
            (None, _) => write!(f, "missing, last written at version {least} or later"),
            (Some(value), Last::Exactly(version)) => write!(f, "{value:?} at version {version}"),
            (Some(value), Last::From { .. }) => write!(f, "{value:?} at version {least} or later"),
        }
    }
}
