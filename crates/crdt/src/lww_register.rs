use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    Crdt, DeltaCrdt, Kind, RegisterError,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A register of one value, in which the write with the greatest stamp wins.
///
/// Shapiro et al. 2011, section 3.2.1. The stamp `S` is anything with a total order that no two writes share: an
/// HLC timestamp together with the id of the replica that took it, in that order. Its default is never written
/// and loses to everything. Encoded as `{"stamp":[2000,"eu"],"value":"Bob"}`, never written as `null`.
///
/// # Equal stamps
///
/// Two writes that share a stamp break the premise. [`set`](LwwRegister::set) refuses to make one from the
/// other, but two replicas with the same id could. The paper leaves the outcome open; here the greater *value*
/// wins, so that a register is the maximum of (stamp, value) pairs, which is a join for any input, and replicas
/// agree even then.
///
/// ```
/// use archipelago_crdt::{Crdt, LwwRegister};
///
/// let mut us = LwwRegister::new("Alice", (1000, "us"));
/// us.merge(&LwwRegister::new("Bob", (2000, "eu")));
/// assert_eq!(us.value(), Some(&"Bob"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LwwRegister<T, S> {
    // `None` is less than any write, and the order of writes is that of their fields: the stamp comes first.
    write: Option<Write<T, S>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write<T, S> {
    stamp: S,
    value: T,
}

impl<T, S> LwwRegister<T, S> {
    /// A register that holds `value`, written at `stamp`.
    pub const fn new(value: T, stamp: S) -> Self {
        LwwRegister { write: Some(Write { value, stamp }) }
    }

    /// A register that was never written.
    pub const fn never_written() -> Self {
        LwwRegister { write: None }
    }

    /// The winning value, or `None` if the register was never written.
    pub fn value(&self) -> Option<&T> {
        self.write.as_ref().map(|write| &write.value)
    }

    /// The stamp of the winning value, or `None` if the register was never written.
    pub fn stamp(&self) -> Option<&S> {
        self.write.as_ref().map(|write| &write.stamp)
    }

    /// Takes the register apart into the winning value and its stamp.
    pub fn into_parts(self) -> Option<(T, S)> {
        self.write.map(|write| (write.value, write.stamp))
    }
}

impl<T: Clone, S: Ord + Clone> LwwRegister<T, S> {
    /// Writes `value` at `stamp` and returns the delta, which is the register as it is now.
    ///
    /// # Errors
    /// [`RegisterError::StaleStamp`] if the register holds a value of that stamp or a later one; the register is
    /// unchanged. A replica whose HLC has observed what it merged cannot run into this.
    pub fn set(&mut self, value: T, stamp: S) -> Result<Self, RegisterError> {
        if self.stamp().is_some_and(|current| *current >= stamp) {
            return Err(RegisterError::StaleStamp);
        }
        *self = LwwRegister::new(value, stamp);
        Ok(self.clone())
    }
}

impl<T, S> Default for LwwRegister<T, S> {
    fn default() -> Self {
        LwwRegister::never_written()
    }
}

impl<T: Ord + Clone, S: Ord + Clone> Crdt for LwwRegister<T, S> {
    fn kind() -> Option<Kind> {
        Some(Kind::LwwRegister)
    }

    fn merge(&mut self, other: &Self) {
        if other.write > self.write {
            self.write.clone_from(&other.write);
        }
    }
}

impl<T: Ord + Clone, S: Ord + Clone> DeltaCrdt for LwwRegister<T, S> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        (self.write > since.write).then(|| self.clone())
    }
}

carry_kind!([T, S] LwwRegister<T, S>, Some(Kind::LwwRegister));

impl<T: Serialize, S: Serialize> SerializeState for LwwRegister<T, S> {
    fn serialize_state<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.write.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, S: Deserialize<'de>> DeserializeState<'de> for LwwRegister<T, S> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written<T, S>(PhantomData<(T, S)>);

        // As of an option, but also from a map where an option is expected.
        impl<'de, T: Deserialize<'de>, S: Deserialize<'de>> Visitor<'de> for Written<T, S> {
            type Value = Option<Write<T, S>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("null or the stamp and value of a write")
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                Write::deserialize(deserializer).map(Some)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                Write::deserialize(MapAccessDeserializer::new(map)).map(Some)
            }
        }

        let write = deserializer.deserialize_option(Written(PhantomData))?;
        Ok(LwwRegister { write })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    type Register = LwwRegister<u8, (u64, String)>;

    fn registers() -> impl Strategy<Value = Register> {
        // So few stamps that writes share one: the laws must hold then too.
        proptest::option::of((0..4u8, 0..3u64, "[a-b]")).prop_map(|write| match write {
            Some((value, time, node)) => LwwRegister::new(value, (time, node)),
            None => LwwRegister::default(),
        })
    }

    #[test]
    fn equal_stamps_converge_on_the_greater_value() {
        let (mut us, mut eu) = (LwwRegister::new("Alice", 1000), LwwRegister::new("Bob", 1000));
        let before = us.clone();
        us.merge(&eu);
        eu.merge(&before);
        assert_eq!(us, eu);
        assert_eq!(us.value(), Some(&"Bob"));
    }

    #[test]
    fn a_stale_write_is_an_error_that_changes_nothing() {
        let mut register = LwwRegister::new("Alice", 1000);
        let before = register.clone();
        for stamp in [999, 1000] {
            assert_eq!(register.set("Bob", stamp), Err(RegisterError::StaleStamp));
            assert_eq!(register, before);
        }
        register.set("Bob", 1001).unwrap();
        assert_eq!(register.value(), Some(&"Bob"));
    }

    #[test]
    fn encodes_as_value_and_stamp() {
        let register = LwwRegister::new("Bob", (2000, "eu"));
        assert_eq!(serde_json::to_string(&register).unwrap(), r#"{"stamp":[2000,"eu"],"value":"Bob"}"#);
        assert_eq!(serde_json::to_string(&Register::default()).unwrap(), "null");
    }

    proptest! {
        #[test]
        fn is_a_join_semilattice(a in registers(), b in registers(), c in registers()) {
            laws::join(&a, &b, &c);
        }

        #[test]
        fn deltas_say_what_states_say(a in registers(), b in registers(), x in registers()) {
            laws::delta(&a, &b, &x);
        }

        #[test]
        fn writes_move_up_and_return_their_delta(a in registers(), y in registers(), time in 0..5u64) {
            laws::update(&a, &y, |register| register.set(3, (time, "c".to_owned())).ok());
        }

        #[test]
        fn survives_encoding(a in registers(), b in registers()) {
            laws::encoding(&a, &b);
        }
    }
}
