//! Names of replicas and their text form.

use archipelago_clock::{Incarnation, NAME_BYTES_MAX, ParseReplicaIdError, ReplicaId};
use proptest::prelude::*;

#[test]
fn text_form_round_trips() {
    let id = ReplicaId::new("us-east", Incarnation::mint(1_795_220_962_123, 0xbeef)).unwrap();
    assert_eq!(id.to_string().parse::<ReplicaId>().unwrap(), id);
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, format!("\"{id}\""));
    assert_eq!(serde_json::from_str::<ReplicaId>(&json).unwrap(), id);
}

#[test]
fn a_later_incarnation_of_the_same_name_is_greater() {
    let early = ReplicaId::new("a", Incarnation::mint(1_000, u16::MAX)).unwrap();
    let late = ReplicaId::new("a", Incarnation::mint(1_001, 0)).unwrap();
    let other = ReplicaId::new("b", Incarnation::mint(0, 0)).unwrap();
    assert!(early < late && late < other);
}

#[test]
fn the_next_incarnation_is_greater_whatever_the_clock_says() {
    let now = Incarnation::mint(1_000, u16::MAX);
    for unix_ms in [0, 999, 1_000, 1_001, 2_000] {
        assert!(now.next(unix_ms, 0) > now, "{unix_ms}");
    }
    assert_eq!(now.next(2_000, 7), Incarnation::mint(2_000, 7));
}

#[test]
fn names_that_cannot_be_a_subject_token_are_refused() {
    for name in ["", "a.b", "a b", "a*", "a>", "ü", &"x".repeat(NAME_BYTES_MAX + 1)] {
        let error = ReplicaId::new(name, Incarnation::from_bits(1)).unwrap_err();
        assert!(matches!(error, ParseReplicaIdError::Name { .. }), "{name}");
    }
    for text in ["a", "a@", "a@12", "a@XYZ0000000000000", "@0000000000000000", "a@000000000000000A"] {
        assert!(text.parse::<ReplicaId>().is_err(), "{text}");
    }
}

proptest! {
    /// Names of few letters, shorter and longer than what is compared first of them.
    #[test]
    fn ids_are_ordered_and_equal_as_their_names_and_incarnations_are(
        one in "[ab-]{1,10}", other in "[ab-]{1,10}", ending in "[ab]{0,3}", same in "a{0,18}",
        incarnations in (0u64..3, 0u64..3),
    ) {
        let (one, other) = (format!("{same}{one}"), format!("{same}{other}"));
        for other in [other, one.clone(), format!("{one}{ending}"), format!("aaaaaaaa{one}")] {
            let left = ReplicaId::new(&one, Incarnation::from_bits(incarnations.0)).unwrap();
            let right = ReplicaId::new(&other, Incarnation::from_bits(incarnations.1)).unwrap();
            let (named_left, named_right) = ((one.as_str(), incarnations.0), (other.as_str(), incarnations.1));
            prop_assert_eq!(left.cmp(&right), named_left.cmp(&named_right));
            prop_assert_eq!(left == right, named_left == named_right);
            prop_assert_eq!(left.cmp(&left.clone()), std::cmp::Ordering::Equal);
        }
    }
}
