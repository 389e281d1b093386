use archipelago_clock::{CausalContext, Dot, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeSeed, de::Error};

use super::{
    map::{Stores, StoresOf},
    stamp::Stamp,
};
use crate::{
    Contributions, DotStore, DwFlagDots, EwFlagDots, GCounter, GSet, Kind, ListDots, LwwMap, LwwRegister,
    MaxRegister, MinRegister, MvRegisterDots, OrSetDots, PnCounter, RwSetDots, Value, dot_map::DotMap,
};

type Context = CausalContext<ReplicaId>;

macro_rules! stores {
    ($($kind:ident($store:ty),)*) => {
        /// What a map keeps for a key: the store of a CRDT of any kind that can be nested.
        ///
        /// Only stores of one kind are ever joined, since a map and all that it is merged with hold one kind.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(super) enum DynamicStore {
            /// No dots, of whatever kind.
            #[default]
            Nothing,
            $($kind($store),)*
            OrMap(Box<DotMap<Value, DynamicStore>>),
        }

        impl DotStore for DynamicStore {
            type Actor = ReplicaId;

            const SETTLES: bool = true;

            fn settle(&mut self, context: &Context) {
                match self {
                    DynamicStore::Nothing => {}
                    $(DynamicStore::$kind(store) => store.settle(context),)*
                    DynamicStore::OrMap(store) => store.settle(context),
                }
            }

            fn is_empty(&self) -> bool {
                match self {
                    DynamicStore::Nothing => true,
                    $(DynamicStore::$kind(store) => DotStore::is_empty(store),)*
                    DynamicStore::OrMap(store) => DotStore::is_empty(&**store),
                }
            }

            fn join(&mut self, context: &Context, other: &Self, other_context: &Context) -> u128 {
                if matches!(self, DynamicStore::Nothing) {
                    *self = other.emptied();
                }
                match (self, other) {
                    $(
                        (DynamicStore::$kind(ours), DynamicStore::$kind(theirs)) => {
                            ours.join(context, theirs, other_context)
                        }
                        (DynamicStore::$kind(ours), DynamicStore::Nothing) => {
                            ours.join(context, &Default::default(), other_context)
                        }
                    )*
                    (DynamicStore::OrMap(ours), DynamicStore::OrMap(theirs)) => {
                        ours.join(context, theirs, other_context)
                    }
                    (DynamicStore::OrMap(ours), DynamicStore::Nothing) => {
                        ours.join(context, &DotMap::new(), other_context)
                    }
                    (ours, theirs) => {
                        debug_assert!(ours.is_empty() && theirs.is_empty(), "stores of different kinds");
                        0
                    }
                }
            }

            fn news(
                &self,
                context: &Context,
                since: &Self,
                since_context: &Context,
                known: &mut Vec<Dot<ReplicaId>>,
            ) -> Self {
                match (self, since) {
                    $(
                        (DynamicStore::$kind(ours), DynamicStore::$kind(theirs)) => {
                            DynamicStore::$kind(ours.news(context, theirs, since_context, known))
                        }
                        (DynamicStore::$kind(ours), DynamicStore::Nothing) => {
                            DynamicStore::$kind(ours.news(context, &Default::default(), since_context, known))
                        }
                        (DynamicStore::Nothing, DynamicStore::$kind(theirs)) => {
                            let nothing = <$store>::default();
                            DynamicStore::$kind(nothing.news(context, theirs, since_context, known))
                        }
                    )*
                    (DynamicStore::OrMap(ours), DynamicStore::OrMap(theirs)) => {
                        DynamicStore::OrMap(Box::new(ours.news(context, theirs, since_context, known)))
                    }
                    (DynamicStore::OrMap(ours), DynamicStore::Nothing) => {
                        DynamicStore::OrMap(Box::new(ours.news(context, &DotMap::new(), since_context, known)))
                    }
                    (DynamicStore::Nothing, DynamicStore::OrMap(theirs)) => {
                        let nothing = DotMap::new();
                        DynamicStore::OrMap(Box::new(nothing.news(context, theirs, since_context, known)))
                    }
                    (ours, theirs) => {
                        debug_assert!(ours.is_empty() && theirs.is_empty(), "stores of different kinds");
                        DynamicStore::Nothing
                    }
                }
            }

            fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<ReplicaId>)) {
                match self {
                    DynamicStore::Nothing => {}
                    $(DynamicStore::$kind(store) => store.visit_dots(visit),)*
                    DynamicStore::OrMap(store) => store.visit_dots(visit),
                }
            }
        }

        impl DynamicStore {
            /// An empty store of the same kind.
            fn emptied(&self) -> Self {
                match self {
                    DynamicStore::Nothing => DynamicStore::Nothing,
                    $(DynamicStore::$kind(_) => DynamicStore::$kind(Default::default()),)*
                    DynamicStore::OrMap(_) => DynamicStore::OrMap(Box::default()),
                }
            }
        }

        impl Serialize for DynamicStore {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    DynamicStore::Nothing => serializer.serialize_unit(),
                    $(DynamicStore::$kind(store) => store.serialize(serializer),)*
                    DynamicStore::OrMap(store) => Stores(store).serialize(serializer),
                }
            }
        }

        impl<'de> DeserializeSeed<'de> for StoresOfKind<'_> {
            type Value = DynamicStore;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DynamicStore, D::Error> {
                match self.0 {
                    $(Kind::$kind => <$store>::deserialize(deserializer).map(DynamicStore::$kind),)*
                    Kind::OrMap(values) => {
                        let stores = StoresOf { values }.deserialize(deserializer)?;
                        Ok(DynamicStore::OrMap(Box::new(stores)))
                    }
                    other => Err(D::Error::custom(format_args!("a map cannot hold CRDTs of kind {other}"))),
                }
            }
        }
    };
}

/// Reads stores of a kind.
pub(super) struct StoresOfKind<'a>(pub(super) &'a Kind);

stores! {
    GCounter(Contributions<GCounter>),
    PnCounter(Contributions<PnCounter>),
    GSet(Contributions<GSet<Value>>),
    OrSet(OrSetDots<Value>),
    RwSet(RwSetDots<Value>),
    LwwRegister(Contributions<LwwRegister<Value, Stamp>>),
    MvRegister(MvRegisterDots<Value>),
    MaxRegister(Contributions<MaxRegister<Value>>),
    MinRegister(Contributions<MinRegister<Value>>),
    EwFlag(EwFlagDots),
    DwFlag(DwFlagDots),
    LwwMap(Contributions<LwwMap<Value, Value, Stamp>>),
    List(ListDots<Value>),
}
