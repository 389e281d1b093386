use archipelago_clock::{MintError, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::{Causal, DotSet, DotStore, Kind, dot_store::delegate_dot_store, nested::nest_causal};

/// A flag in which enabling wins over concurrent disabling; it starts disabled.
///
/// Enabling gives a new dot in place of those there were; disabling drops the dots that were seen. Encoded as
/// `{"store":[["us",1]],"context":{"clock":{"us":1}}}`, disabled when the store is empty. For the orders of
/// operations see [`Causal`].
///
/// Almeida, Shoker, Baquero 2018, section 7.3.1 (`EWFlag`).
///
/// ```
/// use archipelago_crdt::{Crdt, EwFlag};
///
/// let mut us = EwFlag::new();
/// us.enable("us")?;
/// let mut eu = us.clone();
/// eu.disable();
/// us.enable("us")?; // concurrently
/// us.merge(&eu);
/// assert!(us.is_enabled());
/// # Ok::<(), archipelago_crdt::MintError>(())
/// ```
pub type EwFlag<A = ReplicaId> = Causal<EwFlagDots<A>>;

/// The enabling dots of an [`EwFlag`]; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "A: Serialize", deserialize = "A: Ord + Deserialize<'de>"))]
pub struct EwFlagDots<A = ReplicaId> {
    dots: DotSet<A>,
}

impl<A: Ord + Clone> EwFlagDots<A> {
    /// Whether the flag is enabled.
    pub fn is_enabled(&self) -> bool {
        !self.dots.is_empty()
    }
}

impl<A: Ord + Clone> EwFlag<A> {
    /// Enables the flag for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`MintError`] if this is not the actor's own current state, or its sequence is exhausted; the flag is
    /// unchanged.
    pub fn enable(&mut self, actor: A) -> Result<Self, MintError> {
        let live = EwFlagDots { dots: DotSet::from(self.context.mint(actor)?) };
        let replaced = std::mem::replace(&mut self.store, live.clone());
        Ok(Causal::delta(live, Some(replaced)))
    }

    /// Disables the flag as far as it was seen enabled and returns the delta.
    pub fn disable(&mut self) -> Self {
        Causal::delta(EwFlagDots::default(), Some(std::mem::take(&mut self.store)))
    }
}

impl<A> Default for EwFlagDots<A> {
    fn default() -> Self {
        EwFlagDots { dots: DotSet::new() }
    }
}

delegate_dot_store!([A: Ord + Clone] EwFlagDots<A>, dots, A, kind: Some(Kind::EwFlag));
nest_causal!([A: Ord + Clone] EwFlagDots<A>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executions::{self, History, Subject, executions};

    struct Flags;

    impl Subject for Flags {
        type State = EwFlag<u8>;
        /// Whether to enable.
        type Op = bool;
        type Value = bool;

        fn update(flag: &mut Self::State, actor: u8, enable: &bool) -> Option<Self::State> {
            if *enable { flag.enable(actor).ok() } else { Some(flag.disable()) }
        }

        fn value(flag: &Self::State) -> bool {
            flag.is_enabled()
        }

        /// Enabled if some enabling happened before no disabling.
        fn model(history: &History<bool>) -> bool {
            history.iter().any(|(event, enable)| *enable && history.after(event).all(|enable| *enable))
        }
    }

    #[test]
    fn starts_disabled_and_encodes_as_its_dots() {
        let mut flag: EwFlag<String> = EwFlag::new();
        assert!(!flag.is_enabled());
        flag.enable("us".to_owned()).unwrap();
        let json = serde_json::to_string(&flag).unwrap();
        assert_eq!(json, r#"{"store":[["us",1]],"context":{"clock":{"us":1}}}"#);
        assert!(
            serde_json::from_str::<EwFlag<String>>(r#"{"store":[["us",1]],"context":{"clock":{}}}"#).is_err()
        );
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(any::<bool>())) {
            executions::check::<Flags>(&run);
        }
    }
}
