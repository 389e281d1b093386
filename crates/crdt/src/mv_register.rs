use archipelago_clock::{MintError, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::{Causal, Crdt, Kind, dot_fun::DotFun, dot_store::delegate_dot_store, nested::nest_causal};

/// A register that keeps every value of concurrent writes, until a write that has seen them replaces them.
///
/// Clearing drops the values that were seen; a concurrent write remains. Encoded as
/// `{"store":[["us",1,"Alice"]],"context":{"clock":{"us":1}}}`. For the orders of operations see [`Causal`].
///
/// Shapiro et al. 2011, section 3.2.2, in the form of Almeida, Shoker, Baquero 2018, section 7.3.3 (`MVReg`).
///
/// ```
/// use archipelago_crdt::{Crdt, MvRegister};
///
/// let (mut us, mut eu) = (MvRegister::new(), MvRegister::new());
/// us.write("us", "Alice")?;
/// eu.write("eu", "Bob")?;
/// us.merge(&eu);
/// assert_eq!(us.values().collect::<Vec<_>>(), [&"Bob", &"Alice"]);
/// us.write("us", "Carol")?;
/// assert_eq!(us.values().collect::<Vec<_>>(), [&"Carol"]);
/// # Ok::<(), archipelago_crdt::MintError>(())
/// ```
pub type MvRegister<T, A = ReplicaId> = Causal<MvRegisterDots<T, A>>;

/// The values of an [`MvRegister`] with their dots; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    transparent,
    bound(
        serialize = "T: Serialize, A: Serialize",
        deserialize = "T: Deserialize<'de>, A: Ord + Deserialize<'de>"
    )
)]
pub struct MvRegisterDots<T, A = ReplicaId> {
    writes: DotFun<Written<T>, A>,
}

/// The value of one write. There is one to a dot, unless the dot was reused; then the greater counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
struct Written<T>(T);

impl<T: Ord + Clone> Crdt for Written<T> {
    fn merge(&mut self, other: &Self) {
        if self.0 < other.0 {
            self.0.clone_from(&other.0);
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.0 >= other.0
    }
}

impl<T, A> MvRegisterDots<T, A> {
    /// The values, in the order of their writers. Equal ones that were written concurrently are all there.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.writes.iter().map(|(_, written)| &written.0)
    }

    /// Whether there is no value: nothing was written, or it was cleared.
    pub fn is_empty(&self) -> bool {
        self.writes.iter().len() == 0
    }
}

impl<T: Ord + Clone, A: Ord + Clone> MvRegister<T, A> {
    /// Writes `value` for `actor`, which must be the caller's own id, in place of the values that were seen, and
    /// returns the delta.
    ///
    /// # Errors
    /// [`MintError`] if this is not the actor's own current state, or its sequence is exhausted; the register is
    /// unchanged.
    pub fn write(&mut self, actor: A, value: T) -> Result<Self, MintError> {
        let mut live = MvRegisterDots::default();
        live.writes.insert(self.context.mint(actor)?, Written(value));
        let replaced = std::mem::replace(&mut self.store, live.clone());
        Ok(Causal::delta(live, Some(replaced)))
    }

    /// As [`write`](Causal::write), without the delta: cheaper for who ships
    /// [`delta_since`](crate::DeltaCrdt::delta_since) or whole states.
    ///
    /// # Errors
    /// As [`write`](Causal::write).
    #[inline]
    pub fn write_in_place(&mut self, actor: A, value: T) -> Result<(), MintError> {
        let dot = self.context.mint(actor)?;
        self.store.writes.replace_all(dot, Written(value));
        Ok(())
    }

    /// Drops the values that were seen and returns the delta.
    pub fn clear(&mut self) -> Self {
        Causal::delta(MvRegisterDots::default(), Some(std::mem::take(&mut self.store)))
    }
}

impl<T, A> Default for MvRegisterDots<T, A> {
    fn default() -> Self {
        MvRegisterDots { writes: DotFun::new() }
    }
}

delegate_dot_store!([T: Ord + Clone, A: Ord + Clone] MvRegisterDots<T, A>, writes, A, kind: Some(Kind::MvRegister));
nest_causal!([T: Ord + Clone, A: Ord + Clone] MvRegisterDots<T, A>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        executions::{self, History, Subject, executions},
        laws,
    };

    struct Registers;

    impl Subject for Registers {
        type State = MvRegister<u8, u8>;
        /// What to write; nothing clears.
        type Op = Option<u8>;
        type Value = Vec<u8>;

        fn update(register: &mut Self::State, actor: u8, op: &Option<u8>) -> Option<Self::State> {
            match op {
                Some(value) => laws::in_place(
                    register,
                    |register| register.write_in_place(actor, *value).is_ok(),
                    |register| register.write(actor, *value).ok(),
                ),
                None => Some(register.clear()),
            }
        }

        fn value(register: &Self::State) -> Vec<u8> {
            let mut values: Vec<u8> = register.values().copied().collect();
            values.sort_unstable();
            values
        }

        /// The values of the writes that happened before no other operation.
        fn model(history: &History<Option<u8>>) -> Vec<u8> {
            let latest = history.iter().filter(|&(event, _)| history.after(event).next().is_none());
            let mut values: Vec<u8> = latest.filter_map(|(_, op)| *op).collect();
            values.sort_unstable();
            values
        }
    }

    #[test]
    fn a_reused_dot_leaves_the_greater_value_everywhere() {
        let (mut one, mut two) = (MvRegister::new(), MvRegister::new());
        one.write("us", 1).unwrap();
        two.write("us", 2).unwrap();
        let before = one.clone();
        one.merge(&two);
        two.merge(&before);
        assert_eq!(one, two);
        assert_eq!(one.values().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn encodes_as_writes_with_values() {
        let mut register: MvRegister<String, String> = MvRegister::new();
        register.write("us".into(), "Alice".into()).unwrap();
        let json = r#"{"store":[["us",1,"Alice"]],"context":{"clock":{"us":1}}}"#;
        assert_eq!(serde_json::to_string(&register).unwrap(), json);
        let twice = r#"{"store":[["us",1,"a"],["us",1,"b"]],"context":{"clock":{"us":1}}}"#;
        assert!(serde_json::from_str::<MvRegister<String, String>>(twice).is_err());
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(proptest::option::of(0..4u8))) {
            executions::check::<Registers>(&run);
        }
    }
}
