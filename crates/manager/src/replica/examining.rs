//! What is asked about what this replica has stored, and its mending.

use archipelago_engine::{Comparison, Mend, Scrubbed, Theirs};
use archipelago_proto::{EntityId, Holding, StateAbout, StateAnswer, StateTold};
use tokio::sync::oneshot;

use super::Replica;
use crate::{metrics, repair::PIECE_BYTES_TARGET};

/// How many entities of a pass that somebody waits for are read at a time.
const SCRUB_STEP: usize = 1_000;

/// Something that is looked at, or done, once all that came before is stored.
pub(crate) enum Examine {
    /// A question of this or another master.
    Tell { about: StateAbout, reply: oneshot::Sender<StateAnswer> },
    /// What another master holds, compared with what is stored here.
    Compare { theirs: Box<StateAnswer>, reply: oneshot::Sender<Vec<(EntityId, Comparison)>> },
    /// What another master holds, in the place of what is stored here.
    Mend { theirs: Box<StateAnswer>, reply: oneshot::Sender<Vec<(EntityId, Mend)>> },
    /// A whole pass over what is stored.
    Scrub { reply: oneshot::Sender<Scrubbed> },
}

/// What of the reading of all that is stored is wanted.
#[derive(Debug, Default)]
pub(crate) struct Scrubbing {
    /// How many entities are read at each heartbeat interval.
    pub(crate) entities_per_beat: usize,
    /// The pass up to which somebody waits.
    pub(crate) wanted: u64,
    /// Who waits, and for which pass.
    pub(crate) waiting: Vec<(u64, oneshot::Sender<Scrubbed>)>,
    /// An interval has passed.
    pub(crate) is_due: bool,
}

impl Replica {
    /// True if somebody waits for a pass.
    pub(super) fn is_scrubbing(&self) -> bool {
        self.failed.is_none() && self.engine.scrubs() < self.scrubbing.wanted
    }

    /// Reads some more of what is stored, if it is time or somebody waits for it.
    pub(super) async fn scrub(&mut self) {
        let is_due = std::mem::take(&mut self.scrubbing.is_due);
        let entities_max = match self.is_scrubbing() {
            true => SCRUB_STEP,
            false if is_due => self.scrubbing.entities_per_beat,
            false => return,
        };
        if self.failed.is_some() {
            return;
        }
        match self.engine.scrub(entities_max, &self.shared.stored()) {
            Ok(None) => {}
            Ok(Some(scrubbed)) => {
                metrics::add(&self.shared.counters.scrubs, 1);
                // What it found is told before whoever waits goes on.
                self.carry_out().await;
                let waiting = std::mem::take(&mut self.scrubbing.waiting);
                for (pass, reply) in waiting {
                    match pass <= scrubbed.pass {
                        true => drop(reply.send(scrubbed.clone())),
                        false => self.scrubbing.waiting.push((pass, reply)),
                    }
                }
            }
            Err(error) => self.fail(error.to_string()),
        }
        if self.failed.is_some() {
            self.scrubbing.waiting.clear();
        }
    }

    /// What was asked for, now that all of it is stored. Whoever gets no answer knows that the store failed.
    pub(super) async fn examine(&mut self) {
        for examine in std::mem::take(&mut self.examines) {
            if self.failed.is_some() {
                continue;
            }
            match examine {
                Examine::Tell { about, reply } => {
                    if let Some(told) = self.tell(about) {
                        let _ = reply.send(self.state_answer(told));
                    }
                }
                Examine::Compare { theirs, reply } => {
                    let compared = self.each(&theirs, |replica, entity, theirs| {
                        replica.engine.compare(entity, theirs, &replica.shared.stored())
                    });
                    compared.map(|compared| reply.send(compared));
                }
                Examine::Mend { theirs, reply } => {
                    let now = self.clock.now_unix_ms();
                    let mended = self.each(&theirs, |replica, entity, theirs| {
                        replica.engine.mend(entity, theirs, now, &replica.shared.stored())
                    });
                    self.carry_out().await;
                    if self.failed.is_none() {
                        mended.map(|mended| reply.send(mended));
                    }
                }
                Examine::Scrub { reply } => {
                    let pass = self.engine.next_scrub();
                    self.scrubbing.wanted = self.scrubbing.wanted.max(pass);
                    self.scrubbing.waiting.push((pass, reply));
                }
            }
        }
    }

    /// Does something with each entity of an answer; `None` if the store failed.
    fn each<T>(
        &mut self,
        theirs: &StateAnswer,
        mut each: impl FnMut(&mut Self, &EntityId, Theirs<'_>) -> Result<T, archipelago_engine::ReadError>,
    ) -> Option<Vec<(EntityId, T)>> {
        let StateTold::Records { entities } = &theirs.told else { return Some(Vec::new()) };
        let (vector, reclaimed) = (&theirs.vector, &theirs.reclaimed);
        let mut done = Vec::with_capacity(entities.len());
        for (entity, holding) in entities {
            match each(self, entity, Theirs { vector, reclaimed, holding }) {
                Ok(outcome) => done.push((entity.clone(), outcome)),
                Err(error) => {
                    self.fail(error.to_string());
                    return None;
                }
            }
        }
        Some(done)
    }

    fn tell(&mut self, about: StateAbout) -> Option<StateTold> {
        let shared = self.shared.clone();
        let records = shared.stored();
        let told = match about {
            StateAbout::Buckets { pass: Some(pass) } if pass <= self.engine.scrubs() => {
                let unreadable = self.engine.unreadable_buckets();
                Ok(StateTold::Buckets { buckets: self.engine.digest().buckets().to_vec(), unreadable })
            }
            StateAbout::Buckets { pass } => {
                let next = self.engine.next_scrub();
                // Of a pass far ahead nobody was ever told.
                let pass = pass.unwrap_or(next).min(next);
                self.scrubbing.wanted = self.scrubbing.wanted.max(pass);
                Ok(StateTold::Scrubbing { pass })
            }
            StateAbout::Digests { buckets, after } => {
                let page = self.engine.digests(&buckets, after.as_ref(), PIECE_BYTES_TARGET, &records);
                page.map(|page| StateTold::Digests { entities: page.entities, next: page.next })
            }
            StateAbout::Records { entities } => {
                let mut held = Vec::new();
                let mut bytes = 0;
                let holdings = entities.into_iter().map(|(entity, dots)| {
                    let holding = self.engine.holding(&entity, &dots, &records)?;
                    Ok((entity, holding))
                });
                let mut failed = None;
                for holding in holdings {
                    match holding {
                        Ok((entity, holding)) => {
                            bytes += entity.len() + size(&holding);
                            held.push((entity, holding));
                        }
                        Err(error) => failed = Some(error),
                    }
                    if failed.is_some() || bytes >= PIECE_BYTES_TARGET {
                        break;
                    }
                }
                failed.map_or(Ok(StateTold::Records { entities: held }), Err)
            }
            // A question of a newer build has no answer here.
            _ => return None,
        };
        told.map_err(|error| self.fail(error.to_string())).ok()
    }

    fn state_answer(&self, told: StateTold) -> StateAnswer {
        StateAnswer {
            namespace: self.shared.namespace.clone(),
            replica: self.shared.replica(),
            session: self.engine.config().session,
            vector: self.engine.vector().clone(),
            reclaimed: self.engine.reclaimed().clone(),
            told,
        }
    }
}

/// About how many bytes a holding takes.
fn size(holding: &Holding) -> usize {
    use archipelago_proto::{Body, HeldContent};
    let HeldContent::Record(record) = &holding.content else { return 0 };
    let contents = record.versions.iter().map(|version| match &version.body {
        Body::Tombstone => 0,
        Body::Whole(value) => value.len(),
        Body::Fields(fields) => {
            fields.iter().map(|(_, value)| 16 + value.as_ref().map_or(0, |value| value.len())).sum()
        }
    });
    contents.map(|bytes| bytes + 32).sum()
}
