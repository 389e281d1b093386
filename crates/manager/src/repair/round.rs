use archipelago_clock::{Dot, VersionVector};
use archipelago_proto::DeltaPiece;
use serde::{Deserialize, Serialize};

/// Where a fetch is: what the round at hand asks for, and from where on.
///
/// Pieces that are read one after another are of different states. So rounds follow one another, each for what came since
/// the *first* piece of the one before, until one is a single piece: then what was live at its vector and was not sent
/// again had not changed since it was sent (see [`Delta::is_whole`](archipelago_engine::Delta::is_whole)). How long that
/// takes does not matter, as long as three things hold. They are what resuming rests on:
///
/// - The giver's state has only grown, so each vector dominates the one before. Another session of the same replica
///   continues the same state; a store that was restored from an old copy shows by its vector, until it has applied
///   the same writes again.
/// - This replica still has all that the first round did not ask for. Its vector only grows, unless it lost the end of
///   its store, or took another identity: [`Staged::get`](super::staging::Staged::get) looks at that.
/// - No tombstone was reclaimed that a round needed, see [`Useless::Reclaimed`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// What is asked for: all that a holder of this lacks.
    pub(super) since: VersionVector,
    /// What the giver had applied at the first piece of this round.
    first: Option<VersionVector>,
    /// Where the next piece begins.
    pub(super) from: Option<Dot>,
    /// Nothing is missing: the round before was one piece. The next round would bring what has come since.
    pub(super) is_whole: bool,
}

/// Why all that was fetched is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// The giver had applied more when it gave the piece before: its store was restored from an old copy, or lost its end.
    Regressed,
    /// The giver may have reclaimed tombstones of writes that the round asks for. Whether an entity that is not sent was
    /// removed cannot be told, unless everything is asked for.
    Reclaimed,
}

impl Useless {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Useless::Regressed => "the other master lost what it had applied",
            Useless::Reclaimed => "the other master reclaims tombstones meanwhile",
        }
    }
}

impl Round {
    /// The first round for a holder of `since`; everything if that is empty.
    pub(super) fn first(since: VersionVector) -> Self {
        Round { since, ..Round::default() }
    }

    /// Where to go on behind this piece, the answer to what this round asks for. `last` is the vector of the piece before.
    pub(super) fn behind(&self, piece: &DeltaPiece, last: &VersionVector) -> Result<Round, Useless> {
        if !piece.vector.dominates(last) {
            return Err(Useless::Regressed);
        }
        if !self.since.is_empty() && !self.since.dominates(&piece.floor) {
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
            None => Round { since: first.clone(), first: None, from: None, is_whole: self.first.is_none() },
        })
    }
}
