use std::cmp::Ordering;

use super::Value;

impl Value {
    /// The place of this kind of value in the order of kinds.
    const fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::UInt(_) => 2,
            Value::Float(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::List(_) => 6,
            Value::Map(_) => 7,
            Value::Crdt(_) => 8,
        }
    }
}

/// The one float of those that count as equal: every NaN has the same sign and payload.
pub(super) const fn canonical(float: f64) -> f64 {
    // Written out, since the bits of `f64::NAN` are not promised and replicas must agree on them.
    if float.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { float }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::UInt(a), Value::UInt(b)) => a.cmp(b),
            (Value::Int(a), Value::UInt(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Value::UInt(a), Value::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Value::Float(a), Value::Float(b)) => canonical(*a).total_cmp(&canonical(*b)),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::List(a), Value::List(b)) => a.cmp(b),
            (Value::Map(a), Value::Map(b)) => a.cmp(b),
            (Value::Crdt(a), Value::Crdt(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::values;

    #[test]
    fn kinds_order_before_contents() {
        let ascending = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Int(0),
            Value::UInt(u64::MAX),
            Value::Float(f64::NEG_INFINITY),
            Value::Float(-0.0),
            Value::Float(0.0),
            Value::Float(f64::INFINITY),
            Value::Float(f64::NAN),
            Value::from(""),
            Value::from("a"),
            Value::from(vec![0u8]),
            Value::from(vec![Value::Null]),
            crate::value!({ "a": 1 }),
            crate::value!({ "a": 2 }),
            crate::value!({ "b": 1 }),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_integer_equals_itself_in_either_variant_and_no_float() {
        assert_eq!(Value::UInt(5), Value::Int(5));
        assert_ne!(Value::Int(1), Value::Float(1.0));
    }

    #[test]
    fn nan_equals_nan_whatever_its_bits() {
        let encoded = |nan: f64| rmp_serde::to_vec_named(&Value::Float(nan)).unwrap();
        assert_eq!(encoded(f64::NAN), encoded(-f64::NAN));
        assert_eq!(Value::Float(f64::NAN), Value::Float(-f64::NAN));
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::from_bits(0x7ff0_0000_0000_0001)));
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in values(), b in values(), c in values()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.clone(), a.clone());
            let mut sorted = [&a, &b, &c];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
        }

        #[test]
        fn values_are_equal_exactly_when_their_encodings_are(a in values(), b in values()) {
            let encoded = |value: &Value| rmp_serde::to_vec_named(value).unwrap();
            prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
        }
    }
}
