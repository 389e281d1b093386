use std::sync::{Arc, atomic::Ordering};

use archipelago_clock::VersionVector;
use archipelago_engine::{Round, Useless};

use super::{
    RepairError,
    peer::Peer,
    progress::Progress,
    staging::{Slot, Staged},
};
use crate::shared::Shared;

/// How many rounds are asked for what came during the round before.
const ROUNDS_MAX: usize = 64;
/// How often a fetch is begun anew because what was staged became useless.
const ANEW_MAX: usize = 3;

/// Brings pieces from a master into the store until nothing is missing.
pub(super) struct Fetch<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) peer: Peer<'a>,
    pub(super) bytes_max: u64,
}

enum End {
    Whole,
    Useless(Useless),
}

impl Fetch<'_> {
    /// Nothing yet, of what this master lacks.
    pub(super) fn begin(&self) -> Staged<Round> {
        // What is lacking below a floor is most likely reclaimed there, and then a part is of no use.
        let lacks = self.shared.is_below_floor.load(Ordering::Relaxed);
        self.begin_since(if lacks { VersionVector::new() } else { self.shared.vector.borrow().clone() })
    }

    fn begin_since(&self, since: VersionVector) -> Staged<Round> {
        Staged::begin(self.shared, Slot::Repair, self.peer.replica.to_string(), since)
    }

    /// Goes on from what is staged until all of it is there. If this fails, what is staged stays, to be gone on from.
    pub(super) async fn run(&self, mut staged: Staged<Round>) -> Result<Staged<Round>, RepairError> {
        let mut anew = 0;
        loop {
            let useless = match self.fill(&mut staged).await? {
                End::Whole => return Ok(staged),
                End::Useless(useless) => useless,
            };
            tracing::warn!(from = %self.peer.replica, reason = useless.reason(), "the fetch begins anew");
            staged.remove().await?;
            if anew == ANEW_MAX {
                return Err(RepairError::Restless { times: anew, reason: useless.reason() });
            }
            anew += 1;
            staged = match useless {
                Useless::Reclaimed => self.begin_since(VersionVector::new()),
                _ => self.begin(),
            };
        }
    }

    async fn fill(&self, staged: &mut Staged<Round>) -> Result<End, RepairError> {
        let mut progress = Progress::begin();
        let mut rounds = 0;
        while rounds < ROUNDS_MAX {
            let round = match staged.pieces() {
                0 => Round::first(staged.since().clone()),
                _ => staged.place().clone(),
            };
            let (piece, message) = self.peer.ask(&round).await?;
            let next = match round.behind(&piece, staged.vector()) {
                Ok(next) => next,
                Err(useless) => return Ok(End::Useless(useless)),
            };
            let (is_end, is_whole) = (piece.next.is_none(), next.is_whole);
            staged.put(message, &piece, next, self.bytes_max).await?;
            if is_whole {
                progress.tell(self.shared, self.peer.replica, staged);
                return Ok(End::Whole);
            }
            progress.moved(self.shared, self.peer.replica, staged);
            rounds += usize::from(is_end);
        }
        Err(RepairError::Endless { rounds })
    }
}
