//! Each law holds for a sound type, and each is found broken by a type that breaks it.

use std::fmt::Debug;

use archipelago_crdt::{Crdt, DeltaCrdt, GCounter, GSet};
use archipelago_testkit::{crdt_laws, laws, proptest::prelude::*, search};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

mod gcounter {
    use super::*;

    fn counters() -> impl Strategy<Value = GCounter<u8>> {
        proptest::collection::vec((0..3u8, 0..4u64), 0..4).prop_map(|counts| {
            let mut counter = GCounter::new();
            for (actor, by) in counts {
                counter.increment(actor, by).expect("small counts");
            }
            counter
        })
    }

    crdt_laws!(GCounter<u8>, counters());
}

mod of_arbitrary_states {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Max(u8);

    impl Crdt for Max {
        fn merge(&mut self, other: &Self) {
            self.0 = self.0.max(other.0);
        }
    }

    impl DeltaCrdt for Max {
        type Delta = Self;

        fn merge_delta(&mut self, delta: &Self) {
            self.merge(delta);
        }

        fn delta_since(&self, since: &Self) -> Option<Self> {
            (self.0 > since.0).then(|| self.clone())
        }
    }

    impl Arbitrary for Max {
        type Parameters = ();
        type Strategy = BoxedStrategy<Self>;

        fn arbitrary_with((): ()) -> Self::Strategy {
            any::<u8>().prop_map(Max).boxed()
        }
    }

    crdt_laws!(Max);
}

/// The greatest number; its deltas lose the highest bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Number(u8);

macro_rules! broken {
    ($name:ident, |$a:ident, $b:ident| $merge:expr) => {
        #[derive(Clone, Debug, PartialEq)]
        struct $name(u8);

        impl Crdt for $name {
            fn merge(&mut self, other: &Self) {
                let ($a, $b) = (self.0, other.0);
                self.0 = $merge;
            }
        }

        impl $name {
            fn any() -> impl Strategy<Value = Self> {
                any::<u8>().prop_map($name)
            }
        }
    };
}

fn message<T: Debug>(found: Result<(), T>) -> String {
    format!("{:?}", found.expect_err("a counterexample"))
}

#[test]
fn keeping_ones_own_is_not_commutative() {
    broken!(First, |ours, _theirs| ours);
    let found = search(&(First::any(), First::any()), |(a, b)| laws::commutative(a, b));
    let found = found.expect_err("a counterexample");
    assert_eq!(found.input.len(), "(First(0), First(1))".len(), "shrunk: {found}");
    assert!(found.reason.starts_with("not commutative: a ⊔ b = First("), "{found}");
}

#[test]
fn the_mean_is_not_associative() {
    broken!(Mean, |a, b| a.midpoint(b));
    let found = search(&(Mean::any(), Mean::any(), Mean::any()), |(a, b, c)| laws::associative(a, b, c));
    assert!(message(found).contains("not associative: (a ⊔ b) ⊔ c = Mean("));
}

#[test]
fn a_sum_is_not_idempotent() {
    broken!(Sum, |a, b| a.wrapping_add(b));
    let found = search(&Sum::any(), laws::idempotent);
    assert!(message(found).contains("not idempotent: a ⊔ a = Sum(2), but a = Sum(1)"));
}

#[test]
fn a_difference_is_not_monotone() {
    broken!(Difference, |a, b| a.abs_diff(b));
    let found = search(&(Difference::any(), Difference::any()), |(a, b)| laws::monotone(a, b));
    assert!(message(found).contains("does not cover"));
}

impl Crdt for Number {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }
}

impl DeltaCrdt for Number {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        (self.0 > since.0).then_some(Number(self.0 & 0x7f))
    }
}

#[test]
fn a_delta_that_lacks_news_is_found() {
    let numbers = || any::<u8>().prop_map(Number);
    let found = search(&(numbers(), numbers(), numbers()), |(a, b, x)| laws::delta(a, b, x));
    let found = found.expect_err("a counterexample");
    assert!(found.reason.contains("merged with a.delta_since(b)"), "{found}");
    assert!(found.input.ends_with("Number(0), Number(0))"), "shrunk: {found}");
}

#[test]
fn a_delta_where_nothing_is_new_is_found() {
    #[derive(Clone, Debug, PartialEq)]
    struct Chatty(GSet<u8>);

    impl Crdt for Chatty {
        fn merge(&mut self, other: &Self) {
            self.0.merge(&other.0);
        }
    }

    impl DeltaCrdt for Chatty {
        type Delta = Self;

        fn merge_delta(&mut self, delta: &Self) {
            self.merge(delta);
        }

        fn delta_since(&self, _: &Self) -> Option<Self> {
            Some(self.clone())
        }
    }

    let a = Chatty(GSet::from_iter([1]));
    let found = message(laws::delta(&a, &a, &a));
    assert!(found.contains("a.delta_since(a).is_none() = false, but a.covers(a) = true"), "{found}");
}

#[test]
fn a_lossy_decoding_is_found() {
    #[derive(Debug, PartialEq, Serialize)]
    struct Lossy(u8);

    impl<'de> Deserialize<'de> for Lossy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u8::deserialize(deserializer).map(|number| Lossy(number.min(9)))
        }
    }

    let found = search(&any::<u8>().prop_map(Lossy), laws::encoding);
    assert_eq!(found.expect_err("a counterexample").input, "Lossy(10)");
}

#[test]
fn an_encoding_in_order_of_arrival_is_not_canonical() {
    /// A set to `PartialEq`, a list to serde.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Arrivals(Vec<u8>);

    impl PartialEq for Arrivals {
        fn eq(&self, other: &Self) -> bool {
            let all_in = |a: &Self, b: &Self| a.0.iter().all(|item| b.0.contains(item));
            all_in(self, other) && all_in(other, self)
        }
    }

    impl Crdt for Arrivals {
        fn merge(&mut self, other: &Self) {
            let news: Vec<u8> = other.0.iter().copied().filter(|item| !self.0.contains(item)).collect();
            self.0.extend(news);
        }
    }

    fn joins<C: Crdt + Clone + PartialEq + Debug + Serialize + DeserializeOwned>(a: &C, b: &C) -> bool {
        laws::commutative(a, b).is_ok() && laws::encoding(a).is_ok()
    }

    let (a, b, c) = (Arrivals(vec![1]), Arrivals(vec![2]), Arrivals(vec![]));
    assert!(joins(&a, &b), "all else is well");
    let found = laws::canonical(&a, &b, &c).expect_err("two orders").to_string();
    assert!(found.contains("not canonical") && found.contains("[1,2]") && found.contains("[2,1]"), "{found}");
}
