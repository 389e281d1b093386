use std::cmp::Reverse;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Crdt, DeltaCrdt, Kind, MaxRegister,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A register that keeps the least value it was ever given: a [`MaxRegister`] in the reverse order.
///
/// Of concurrent lowerings the lesser wins; nothing can raise it. Encoded as the list of its value, `[5]`, empty if
/// it has none. Updates and merges may come in any order, by any actor.
///
/// Shapiro et al. 2011, section 2.3.
///
/// ```
/// use archipelago_crdt::{Crdt, MinRegister};
///
/// let (mut us, mut eu) = (MinRegister::new(), MinRegister::new());
/// us.lower(3);
/// eu.lower(5);
/// us.merge(&eu);
/// assert_eq!(us.value(), Some(&3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinRegister<T> {
    least: MaxRegister<Reverse<T>>,
}

impl<T> MinRegister<T> {
    /// A register without a value.
    pub const fn new() -> Self {
        MinRegister { least: MaxRegister::new() }
    }

    /// The least value that was given, if any was.
    pub fn value(&self) -> Option<&T> {
        self.least.value().map(|Reverse(value)| value)
    }
}

impl<T: Ord + Clone> MinRegister<T> {
    /// Makes the value at most `value` and returns the delta, which is empty if it was already.
    pub fn lower(&mut self, value: T) -> Self {
        MinRegister { least: self.least.raise(Reverse(value)) }
    }
}

impl<T> Default for MinRegister<T> {
    fn default() -> Self {
        MinRegister::new()
    }
}

impl<T: Ord + Clone> Crdt for MinRegister<T> {
    fn kind() -> Option<Kind> {
        Some(Kind::MinRegister)
    }

    fn merge(&mut self, other: &Self) {
        self.least.merge(&other.least);
    }

    fn covers(&self, other: &Self) -> bool {
        self.least.covers(&other.least)
    }
}

impl<T: Ord + Clone> DeltaCrdt for MinRegister<T> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        self.least.delta_since(&since.least).map(|least| MinRegister { least })
    }
}

carry_kind!([T] MinRegister<T>, Some(Kind::MinRegister));

impl<T: Serialize> SerializeState for MinRegister<T> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.least.serialize_state(serializer)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeState<'de> for MinRegister<T> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MaxRegister::deserialize_state(deserializer).map(|least| MinRegister { least })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executions::{self, History, Subject, executions};

    struct Registers;

    impl Subject for Registers {
        type State = MinRegister<u8>;
        type Op = u8;
        type Value = Option<u8>;

        fn update(register: &mut Self::State, _: u8, value: &u8) -> Option<Self::State> {
            Some(register.lower(*value))
        }

        fn value(register: &Self::State) -> Option<u8> {
            register.value().copied()
        }

        fn model(history: &History<u8>) -> Option<u8> {
            history.iter().map(|(_, value)| *value).min()
        }
    }

    #[test]
    fn encodes_as_a_list_of_its_value() {
        let mut register = MinRegister::new();
        register.lower(5);
        assert_eq!(serde_json::to_string(&register).unwrap(), "[5]");
        assert!(register.lower(7).value().is_none());
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(any::<u8>())) {
            executions::check::<Registers>(&run);
        }
    }
}
