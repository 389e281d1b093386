use std::sync::Arc;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{DeltaError, Giver};
use archipelago_proto::{DeltaPiece, DeltaRequest, Heartbeat, LogPlace, Member, MemberState};

use super::{Happening, World, process::Input};
use crate::simulation::{
    island::{Fetch, Standing},
    network::BROKER,
};

/// How long the answer to a question is waited for.
const ANSWER_MS: u64 = 1_500;
/// How often what came during a round is asked for.
const ROUNDS_MAX: u64 = 64;

impl World<'_> {
    pub(super) fn beat(&mut self, at: usize) {
        let life = self.islands[at].life;
        self.agenda.put(self.now_ms + self.case.settings.heartbeat_ms, Happening::Beat { island: at, life });
        if self.is_slow(at) {
            return;
        }
        self.announce(at);
        if self.islands[at].standing == Standing::Leaving && self.islands[at].disk.rows.outbox.is_empty() {
            self.leave(at, true);
        }
        // Others will count on what a heartbeat says.
        self.islands[at].disk.sync();
        let place = self.islands[at].running.as_ref().and_then(|running| {
            let reader = running.reader?;
            Some(LogPlace { created_unix_ns: reader.log, sequence: running.engine.checkpoint() })
        });
        let Some((engine, _, now)) = self.process(at) else { return };
        let heartbeat = Arc::new(engine.heartbeat(place, now));
        self.steps += 1;
        for to in (0..self.islands.len()).filter(|to| *to != at) {
            if !self.broker.is_up() || !self.network.reaches(at, BROKER, self.now_ms) {
                continue;
            }
            if !self.network.reaches(BROKER, to, self.now_ms) {
                continue;
            }
            match self.network.send(at, to, self.now_ms) {
                Ok(journey) => {
                    for arrives_ms in [Some(journey.first_ms), journey.again_ms].into_iter().flatten() {
                        let heartbeat = heartbeat.clone();
                        self.agenda.put(arrives_ms, Happening::Hear { island: to, heartbeat });
                    }
                }
                Err(stray) => self.strayed(stray),
            }
        }
    }

    pub(super) fn hear(&mut self, at: usize, heartbeat: &Arc<Heartbeat>) {
        if !self.islands[at].is_up() || self.is_slow(at) {
            return;
        }
        self.steps += 1;
        self.input(at, Input::Other, |engine, _, now| {
            engine.handle_heartbeat(heartbeat.clone(), now);
            Ok(())
        });
        let island = &self.islands[at];
        let has_left =
            |member: &Member| member.replica == *island.replica() && member.state == MemberState::Left;
        if island.standing == Standing::Leaving && heartbeat.members.iter().any(has_left) {
            self.goes_away(at);
        }
    }

    /// This replica is about to go, or gone.
    pub(super) fn leave(&mut self, at: usize, is_done: bool) {
        self.input(at, Input::Other, |engine, _, now| {
            engine.leave(is_done, now).map_err(|error| error.to_string())
        });
    }

    /// The engine wants what another replica has.
    pub(super) fn wants_repair(&mut self, at: usize, from: ReplicaId, session: u64) {
        self.fetches += 1;
        let number = self.fetches;
        let Some(running) = self.islands[at].running.as_mut().filter(|running| running.fetch.is_none())
        else {
            return;
        };
        // What is lacking below a floor is most likely reclaimed there, and then a part is of no use.
        let lacks = !running.engine.vector().dominates(running.engine.floor());
        let since = if lacks { VersionVector::new() } else { running.engine.vector().clone() };
        running.fetch = Some(Fetch::begin(number, from, session, since));
        self.tally.effect("repairs_begun", 1);
        self.ask(at);
    }

    /// Asks for the next piece.
    fn ask(&mut self, at: usize) {
        let (replica, life) = (self.islands[at].replica().clone(), self.islands[at].life);
        let Some(fetch) = self.islands[at].running.as_ref().and_then(|running| running.fetch.as_ref()) else {
            return;
        };
        let request = DeltaRequest {
            namespace: "simulated".into(),
            replica,
            since: fetch.round.since.clone(),
            from: fetch.round.from.clone(),
            bytes_max: self.case.settings.piece_bytes as u64,
        };
        let (number, pieces, session) = (fetch.number, fetch.pieces, fetch.session);
        self.agenda
            .put(self.now_ms + ANSWER_MS, Happening::NoPiece { island: at, life, fetch: number, pieces });
        let is_asked = |island: &super::Island| {
            island.running.as_ref().is_some_and(|running| running.engine.config().session == session)
        };
        let Some(to) = self.islands.iter().position(is_asked) else { return };
        match self.network.send(at, to, self.now_ms) {
            Ok(journey) => {
                for arrives_ms in [Some(journey.first_ms), journey.again_ms].into_iter().flatten() {
                    let request = Box::new(request.clone());
                    self.agenda.put(
                        arrives_ms,
                        Happening::Asked { island: to, by: at, fetch: (number, pieces), request },
                    );
                }
            }
            Err(stray) => self.strayed(stray),
        }
    }

    /// Gives a piece of what another replica lacks.
    pub(super) fn asked(&mut self, at: usize, by: usize, fetch: (u64, u64), request: &DeltaRequest) {
        if self.is_slow(at) {
            return;
        }
        let is_newer = self.islands[at].is_newer_build && self.case.settings.old_builds > 0;
        self.islands[at].disk.sync();
        let bytes_max = usize::try_from(request.bytes_max).unwrap_or(usize::MAX);
        let Some((engine, rows, now)) = self.process(at) else { return };
        let delta = engine.delta_since(&request.since, request.from.as_ref(), bytes_max, now, rows);
        let piece = match delta {
            Ok(delta) => DeltaPiece {
                namespace: request.namespace.clone(),
                replica: engine.config().replica.clone(),
                session: engine.config().session,
                vector: delta.vector,
                entities: delta.entities,
                next: delta.next,
                floor: engine.reclaimed().clone(),
                told_floor: engine.floor().clone(),
                members: engine.members().cloned().collect(),
                held: engine.held(),
            },
            Err(error) => return self.violates("digest", error.to_string()),
        };
        self.steps += 1;
        self.tally.effect("pieces_given", 1);
        if let Ok(journey) = self.network.send(at, by, self.now_ms) {
            for arrives_ms in [Some(journey.first_ms), journey.again_ms].into_iter().flatten() {
                let piece = Box::new(piece.clone());
                self.agenda.put(arrives_ms, Happening::Piece { island: by, fetch, piece, is_newer });
            }
        }
    }

    /// A piece comes, the answer to a question that was asked with so many pieces there. Once all are there they are taken in as a whole.
    pub(super) fn piece(
        &mut self,
        at: usize,
        (number, pieces): (u64, u64),
        mut piece: DeltaPiece,
        is_newer: bool,
    ) {
        if is_newer && !self.islands[at].is_newer_build {
            // It does not decode.
            self.tally.felt("old_build", 1);
            return;
        }
        let Some(running) = &mut self.islands[at].running else { return };
        let Some(fetch) = running.fetch.as_mut().filter(|fetch| fetch.number == number) else { return };
        if pieces != fetch.pieces || piece.replica != fetch.from || piece.session != fetch.session {
            return;
        }
        let next = match fetch.round.behind(&piece, &fetch.last) {
            Ok(next) => next,
            Err(useless) => {
                self.tally.effect("repairs_begun_anew", 1);
                let everything = useless == archipelago_engine::Useless::Reclaimed;
                let lacks = everything || !running.engine.vector().dominates(running.engine.floor());
                let since = if lacks { VersionVector::new() } else { running.engine.vector().clone() };
                let (from, session, rounds) = (fetch.from.clone(), fetch.session, fetch.rounds + 1);
                self.fetches += 1;
                let anew = Fetch { rounds, ..Fetch::begin(self.fetches, from, session, since) };
                running.fetch = (rounds < ROUNDS_MAX).then_some(anew);
                return self.ask(at);
            }
        };
        fetch.rounds += u64::from(piece.next.is_none());
        fetch.pieces += 1;
        fetch.last.clone_from(&piece.vector);
        fetch.floor.merge(&piece.floor);
        fetch.members = piece.members;
        fetch.entities.extend(std::mem::take(&mut piece.entities));
        fetch.round = next;
        if fetch.round.is_whole {
            self.take(at);
        } else if fetch.rounds >= ROUNDS_MAX {
            running.fetch = None;
        } else {
            self.ask(at);
        }
    }

    fn take(&mut self, at: usize) {
        let Some(running) = &mut self.islands[at].running else { return };
        let Some(fetch) = running.fetch.take() else { return };
        // Of what the first round did not ask for nothing may be lacking by now.
        if !running.engine.vector().dominates(&fetch.began_with) {
            return;
        }
        self.trace.note(self.now_ms, || format!("{at} takes what {} has: {:?}", fetch.from, fetch.last));
        let giver = Giver {
            replica: fetch.from,
            vector: fetch.last,
            floor: fetch.floor,
            is_complete: fetch.began_with.is_empty(),
            members: fetch.members,
        };
        self.steps += 1 + fetch.entities.len() as u64;
        let Some((engine, rows, now)) = self.process(at) else { return };
        match engine.handle_delta(giver, fetch.entities, now, rows) {
            Ok(_) => self.tally.effect("repairs", 1),
            Err(DeltaError::Read(error)) => self.violates("digest", error.to_string()),
            Err(error) => {
                self.tally.effect("repairs_refused", 1);
                self.trace.note(self.now_ms, || format!("{at} does not take it: {error}"));
            }
        }
        self.flush(at, Input::Other);
    }

    /// No answer came.
    pub(super) fn no_piece(&mut self, at: usize, number: u64, pieces: u64) {
        let Some(running) = &mut self.islands[at].running else { return };
        if running.fetch.as_ref().is_some_and(|fetch| fetch.number == number && fetch.pieces == pieces) {
            running.fetch = None;
            self.tally.effect("repairs_given_up", 1);
        }
    }
}
