use archipelago_clock::{MintError, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::{Causal, DotSet, DotStore, Kind, dot_store::delegate_dot_store, nested::nest_causal};

/// A flag in which disabling wins over concurrent enabling; it starts enabled.
///
/// Disabling gives a new dot in place of those there were; enabling drops the dots that were seen. Encoded as
/// `{"store":[["us",1]],"context":{"clock":{"us":1}}}`, enabled when the store is empty. For the orders of
/// operations see [`Causal`].
///
/// In an [`OrMap`](crate::OrMap) an enabled flag has no dots, so its key is absent.
///
/// Almeida, Shoker, Baquero 2018, section 7.3.1 (`DWFlag`).
///
/// ```
/// use archipelago_crdt::{Crdt, DwFlag};
///
/// let mut us = DwFlag::new();
/// us.disable("us")?;
/// let mut eu = us.clone();
/// eu.enable();
/// us.disable("us")?; // concurrently
/// us.merge(&eu);
/// assert!(!us.is_enabled());
/// # Ok::<(), archipelago_crdt::MintError>(())
/// ```
pub type DwFlag<A = ReplicaId> = Causal<DwFlagDots<A>>;

/// The disabling dots of a [`DwFlag`]; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "A: Serialize", deserialize = "A: Ord + Deserialize<'de>"))]
pub struct DwFlagDots<A = ReplicaId> {
    dots: DotSet<A>,
}

impl<A: Ord + Clone> DwFlagDots<A> {
    /// Whether the flag is enabled.
    pub fn is_enabled(&self) -> bool {
        self.dots.is_empty()
    }
}

impl<A: Ord + Clone> DwFlag<A> {
    /// Disables the flag for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`MintError`] if this is not the actor's own current state, or its sequence is exhausted; the flag is
    /// unchanged.
    pub fn disable(&mut self, actor: A) -> Result<Self, MintError> {
        let live = DwFlagDots { dots: DotSet::from(self.context.mint(actor)?) };
        let replaced = std::mem::replace(&mut self.store, live.clone());
        Ok(Causal::delta(live, Some(replaced)))
    }

    /// Enables the flag as far as it was seen disabled and returns the delta.
    pub fn enable(&mut self) -> Self {
        Causal::delta(DwFlagDots::default(), Some(std::mem::take(&mut self.store)))
    }
}

impl<A> Default for DwFlagDots<A> {
    fn default() -> Self {
        DwFlagDots { dots: DotSet::new() }
    }
}

delegate_dot_store!([A: Ord + Clone] DwFlagDots<A>, dots, A, kind: Some(Kind::DwFlag));
nest_causal!([A: Ord + Clone] DwFlagDots<A>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executions::{self, History, Subject, executions};

    struct Flags;

    impl Subject for Flags {
        type State = DwFlag<u8>;
        /// Whether to enable.
        type Op = bool;
        type Value = bool;

        fn update(flag: &mut Self::State, actor: u8, enable: &bool) -> Option<Self::State> {
            if *enable { Some(flag.enable()) } else { flag.disable(actor).ok() }
        }

        fn value(flag: &Self::State) -> bool {
            flag.is_enabled()
        }

        /// Disabled if some disabling happened before no enabling.
        fn model(history: &History<bool>) -> bool {
            !history.iter().any(|(event, enable)| !*enable && history.after(event).all(|enable| !*enable))
        }
    }

    #[test]
    fn starts_enabled_and_encodes_as_its_dots() {
        let mut flag: DwFlag<String> = DwFlag::new();
        assert!(flag.is_enabled());
        flag.disable("us".to_owned()).unwrap();
        let json = serde_json::to_string(&flag).unwrap();
        assert_eq!(json, r#"{"store":[["us",1]],"context":{"clock":{"us":1}}}"#);
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(any::<bool>())) {
            executions::check::<Flags>(&run);
        }
    }
}
