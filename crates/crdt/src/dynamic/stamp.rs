use std::cmp::Ordering;

use archipelago_clock::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::Value;

/// A value as the stamp of a write. It has the order of values, except that the texts of replica ids have the order of
/// replica ids: so that of two writes at one time, by `us@...` and `us-east@...`, the same one wins as by type.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Stamp(Value);

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp(&self.0, &other.0)
    }
}

fn cmp(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            let mut pairs = one.iter().zip(other);
            let difference = pairs.find_map(|(one, other)| Some(cmp(one, other)).filter(|it| it.is_ne()));
            difference.unwrap_or_else(|| one.len().cmp(&other.len()))
        }
        (Value::Text(text), Value::Text(other_text)) if text != other_text => {
            match (text.parse::<ReplicaId>(), other_text.parse::<ReplicaId>()) {
                (Ok(id), Ok(other_id)) => id.cmp(&other_id),
                // Ids come before all other texts, or the order would not be transitive.
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => text.cmp(other_text),
            }
        }
        _ => one.cmp(other),
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Stamp {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        let texts = prop_oneof![
            "(us|us-east|us2|b)@0000000000000001",
            "(us|us-east|us2|b|)@?",
            Just("us@0000000000000002".to_owned()),
        ];
        let stamp = (0..2i64, texts).prop_map(|(time, text)| Value::List(vec![time.into(), text.into()]));
        stamp.prop_map(Stamp)
    }

    #[test]
    fn a_name_that_begins_another_comes_first() {
        let stamp = |id: &str| Stamp(Value::List(vec![1.into(), id.into()]));
        assert!(stamp("us@0000000000000001") < stamp("us-east@0000000000000001"));
        assert!(Value::from("us@0000000000000001") > Value::from("us-east@0000000000000001"));
    }

    #[test]
    fn a_list_that_begins_another_comes_first() {
        let stamp = |times: &[i64]| Stamp(Value::List(times.iter().map(|&time| time.into()).collect()));
        assert!(stamp(&[1]) < stamp(&[1, 0]) && stamp(&[1, 0]) < stamp(&[2]));
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in stamps(), b in stamps(), c in stamps()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.0 == b.0);
            let mut sorted = [&a, &b, &c];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
        }
    }
}
