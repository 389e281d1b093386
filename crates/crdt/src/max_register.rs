use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Crdt, DeltaCrdt, Kind,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A register that keeps the greatest value it was ever given.
///
/// Of concurrent raises the greater wins; nothing can lower it. Encoded as the list of its value, `[5]`, empty if
/// it has none. Updates and merges may come in any order, by any actor.
///
/// The simplest join-semilattice, a total order: Shapiro et al. 2011, section 2.3.
///
/// ```
/// use archipelago_crdt::{Crdt, MaxRegister};
///
/// let (mut us, mut eu) = (MaxRegister::new(), MaxRegister::new());
/// us.raise(3);
/// eu.raise(5);
/// us.merge(&eu);
/// assert_eq!(us.value(), Some(&5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxRegister<T> {
    // `None` is less than any value.
    greatest: Option<T>,
}

impl<T> MaxRegister<T> {
    /// A register without a value.
    pub const fn new() -> Self {
        MaxRegister { greatest: None }
    }

    /// The greatest value that was given, if any was.
    pub const fn value(&self) -> Option<&T> {
        self.greatest.as_ref()
    }
}

impl<T: Ord + Clone> MaxRegister<T> {
    /// Makes the value at least `value` and returns the delta, which is empty if it was already.
    pub fn raise(&mut self, value: T) -> Self {
        if self.value() >= Some(&value) {
            return MaxRegister::new();
        }
        self.greatest = Some(value);
        self.clone()
    }
}

impl<T> Default for MaxRegister<T> {
    fn default() -> Self {
        MaxRegister::new()
    }
}

impl<T: Ord + Clone> Crdt for MaxRegister<T> {
    fn kind() -> Option<Kind> {
        Some(Kind::MaxRegister)
    }

    fn merge(&mut self, other: &Self) {
        if self.greatest < other.greatest {
            self.greatest.clone_from(&other.greatest);
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.greatest >= other.greatest
    }
}

impl<T: Ord + Clone> DeltaCrdt for MaxRegister<T> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        (!since.covers(self)).then(|| self.clone())
    }
}

carry_kind!([T] MaxRegister<T>, Some(Kind::MaxRegister));

impl<T: Serialize> SerializeState for MaxRegister<T> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A list, since the value itself may be one that encodes as null.
        serializer.collect_seq(&self.greatest)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeState<'de> for MaxRegister<T> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtMostOne<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for AtMostOne<T> {
            type Value = MaxRegister<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of at most one value")
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let greatest = list.next_element()?;
                if greatest.is_some() && list.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::invalid_length(2, &self));
                }
                Ok(MaxRegister { greatest })
            }
        }
        deserializer.deserialize_seq(AtMostOne(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Value,
        executions::{self, History, Subject, executions},
    };

    struct Registers;

    impl Subject for Registers {
        type State = MaxRegister<u8>;
        type Op = u8;
        type Value = Option<u8>;

        fn update(register: &mut Self::State, _: u8, value: &u8) -> Option<Self::State> {
            Some(register.raise(*value))
        }

        fn value(register: &Self::State) -> Option<u8> {
            register.value().copied()
        }

        fn model(history: &History<u8>) -> Option<u8> {
            history.iter().map(|(_, value)| *value).max()
        }
    }

    #[test]
    fn a_null_is_a_value() {
        let mut register = MaxRegister::new();
        assert_eq!(serde_json::to_string(&register).unwrap(), "[]");
        register.raise(Value::Null);
        assert_eq!(serde_json::to_string(&register).unwrap(), "[null]");
        assert_eq!(serde_json::from_str::<MaxRegister<Value>>("[null]").unwrap(), register);
        assert!(serde_json::from_str::<MaxRegister<u8>>("[1,2]").is_err());
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(any::<u8>())) {
            executions::check::<Registers>(&run);
        }
    }
}
