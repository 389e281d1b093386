//! In what order the pieces of a [`Delta`](crate::Delta) are asked for, so that together they are a whole.

use archipelago_clock::{Dot, VersionVector};
use archipelago_proto::DeltaPiece;
use serde::{Deserialize, Serialize};

use crate::mutated;

/// Where a fetch is: what the round at hand asks for, and from where on.
///
/// Pieces that are read one after another are of different states. So rounds follow one another, each for what came since
/// the *first* piece of the one before, until one is a single piece: then what was live at its vector and was not sent
/// again had not changed since it was sent (see [`Delta::is_whole`](crate::Delta::is_whole)). How long that
/// takes does not matter, as long as three things hold. They are what resuming rests on:
///
/// - The giver's state has only grown, so each vector dominates the one before. Another session of the same replica
///   continues the same state; a store that was restored from an old copy shows by its vector, until it has applied
///   the same writes again.
/// - This replica still has all that the first round did not ask for. Its vector only grows, unless it lost the end of
///   its store, or took another identity: whoever keeps pieces over a restart looks at that.
/// - No tombstone was reclaimed that a round needed, see [`Useless::Reclaimed`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// What is asked for: all that a holder of this lacks.
    pub since: VersionVector,
    /// What the giver had applied at the first piece of this round.
    first: Option<VersionVector>,
    /// Where the next piece begins.
    pub from: Option<Dot>,
    /// Nothing is missing: the round before was one piece. The next round would bring what has come since.
    pub is_whole: bool,
}

/// Why all that was fetched is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Useless {
    /// The giver had applied more when it gave the piece before: its store was restored from an old copy, or lost its end.
    Regressed,
    /// The giver may have reclaimed tombstones of writes that the round asks for. Whether an entity that is not sent was
    /// removed cannot be told, unless everything is asked for.
    Reclaimed,
}

impl Useless {
    /// The same in words.
    pub fn reason(self) -> &'static str {
        match self {
            Useless::Regressed => "the other master lost what it had applied",
            Useless::Reclaimed => "the other master reclaims tombstones meanwhile",
        }
    }
}

impl Round {
    /// The first round for a holder of `since`; everything if that is empty.
    pub fn first(since: VersionVector) -> Self {
        Round { since, ..Round::default() }
    }

    /// Where to go on behind this piece, the answer to what this round asks for. `last` is the vector of the piece before,
    /// or the empty one.
    ///
    /// # Errors
    /// [`Useless`]: the fetch begins anew.
    pub fn behind(&self, piece: &DeltaPiece, last: &VersionVector) -> Result<Round, Useless> {
        if !piece.vector.dominates(last) {
            return Err(Useless::Regressed);
        }
        let covers = self.since.dominates(&piece.floor) || mutated!(TakePartBelowFloor);
        if !self.since.is_empty() && !covers {
            return Err(Useless::Reclaimed);
        }
        let first = self.first.as_ref().unwrap_or(&piece.vector);
        Ok(match &piece.next {
            Some(next) => Round {
                since: self.since.clone(),
                first: Some(first.clone()),
                from: Some(next.clone()),
                is_whole: false,
            },
            None => {
                let is_whole = self.first.is_none() || mutated!(PiecesAreWhole);
                Round { since: first.clone(), first: None, from: None, is_whole }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Incarnation, ReplicaId};

    use super::*;

    fn us() -> ReplicaId {
        ReplicaId::new("us", Incarnation::from_bits(1)).expect("a legal name")
    }

    fn vector(sequence: u64) -> VersionVector {
        let mut vector = VersionVector::new();
        vector.raise(us(), sequence);
        vector
    }

    fn piece(applied: u64, next: Option<u64>) -> DeltaPiece {
        DeltaPiece {
            namespace: "people".into(),
            replica: us(),
            session: 1,
            vector: vector(applied),
            entities: Vec::new(),
            next: next.map(|sequence| Dot::new(us(), sequence)),
            floor: VersionVector::new(),
            told_floor: VersionVector::new(),
            members: Vec::new(),
            held: 0,
        }
    }

    #[test]
    fn each_round_asks_for_what_came_since_the_first_piece_of_the_one_before_until_one_is_a_single_piece() {
        let mut round = Round::first(vector(3));
        for (answer, since, from, is_whole) in [
            (piece(5, Some(4)), 3, Some(4), false),
            (piece(7, Some(5)), 3, Some(5), false),
            (piece(8, None), 5, None, false),
            (piece(8, Some(7)), 5, Some(7), false),
            (piece(9, None), 8, None, false),
            (piece(9, None), 9, None, true),
            (piece(11, None), 11, None, true),
        ] {
            round = round.behind(&answer, &vector(3)).expect("of use");
            assert_eq!((&round.since, round.is_whole), (&vector(since), is_whole));
            assert_eq!(round.from, from.map(|sequence| Dot::new(us(), sequence)));
        }
    }

    #[test]
    fn a_giver_that_has_applied_less_than_before_is_not_gone_on_with() {
        let round = Round::first(vector(3));
        assert_eq!(round.behind(&piece(6, None), &vector(7)), Err(Useless::Regressed));
        assert!(round.behind(&piece(7, None), &vector(7)).is_ok());
    }

    #[test]
    fn a_floor_must_be_covered_by_what_was_asked_for_unless_that_is_everything() {
        let above = |floor| DeltaPiece { floor: vector(floor), ..piece(9, None) };
        let round = Round::first(vector(3));
        assert_eq!(round.behind(&above(4), &vector(0)), Err(Useless::Reclaimed));
        assert!(round.behind(&above(3), &vector(0)).is_ok());
        let everything = Round::first(VersionVector::new());
        let next = everything.behind(&DeltaPiece { next: Some(Dot::new(us(), 2)), ..above(4) }, &vector(0));
        let next = next.expect("of use").behind(&above(9), &vector(9)).expect("of use");
        assert_eq!(next.since, vector(9), "and the next round asks for less than everything");
        assert_eq!(next.behind(&above(10), &vector(9)), Err(Useless::Reclaimed));
    }
}
