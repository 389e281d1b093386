use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use archipelago_engine::leader_follower::{Demand, Verdict};

use super::{
    Bounds, Coverage, Flaw,
    batches::{BatchId, Batches},
    broker::{Broker, Sent},
    node::{Answer, Claim, Flight, Node, Role, key},
    verdict::Counted,
};
use crate::search::Model;

/// How many messages of a leader are under way at a time.
const IN_FLIGHT_MAX: usize = 2;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    broker: Broker,
    nodes: Vec<Node>,
    /// What clients were told that it is written.
    acknowledged: BTreeSet<BatchId>,
    writes: u8,
    crashes: u8,
}

/// What may happen, at a node by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// A node acquires the lease, whatever others think who hold it.
    Acquire(usize),
    /// A node that holds the lease reads the log to its end. If its term starts there, it leads; else it sends its start.
    Claim(usize),
    Write(usize, Demanded),
    Arrive(Sent),
    /// The broker's answer to the oldest message of a node.
    Hear(usize),
    /// An answer does not come, or is not the expected one: a leader reads the log to its end, and sends what is not in it
    /// again, or finds that it was deposed.
    Resolve(usize),
    /// A node takes the lease for lost.
    Halt(usize),
    Crash(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demanded {
    Nothing,
    /// The version that the node has stored.
    Stored,
}

/// Nodes, and the rules by which they move.
#[derive(Debug)]
pub(crate) struct Fencing {
    bounds: Bounds,
    flaw: Flaw,
    batches: Batches,
    counted: HashMap<Vec<BatchId>, Rc<Counted>>,
    pub(crate) coverage: Coverage,
}

impl Fencing {
    pub(crate) fn new(bounds: Bounds, flaw: Flaw) -> Fencing {
        let (batches, counted) = (Batches::default(), HashMap::new());
        Fencing { bounds, flaw, batches, counted, coverage: Coverage::default() }
    }

    fn counted(&mut self, log: &[BatchId]) -> Result<Rc<Counted>, String> {
        if let Some(counted) = self.counted.get(log) {
            return Ok(counted.clone());
        }
        let counted = Rc::new(Counted::read(log, &self.batches)?);
        self.counted.insert(log.to_owned(), counted.clone());
        Ok(counted)
    }

    fn node_actions(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let node = &world.nodes[at];
        let answer = match &node.role {
            Role::Follower => {
                actions.extend((world.broker.token < self.bounds.tokens).then_some(Action::Acquire(at)));
                actions.extend(node.held.map(|_| Action::Claim(at)));
                None
            }
            Role::Candidate(claim) => {
                actions.extend([Action::Claim(at), Action::Halt(at)]);
                claim.flight.answer
            }
            Role::Leader(tenure) => {
                actions.extend([Action::Resolve(at), Action::Halt(at)]);
                if tenure.flights.len() < IN_FLIGHT_MAX && world.writes < self.bounds.writes {
                    let demands = [Demanded::Nothing, Demanded::Stored];
                    actions.extend(demands.map(|demanded| Action::Write(at, demanded)));
                }
                tenure.flights.first().and_then(|flight| flight.answer)
            }
        };
        actions.extend(answer.map(|_| Action::Hear(at)));
        actions.extend((world.crashes < self.bounds.crashes).then_some(Action::Crash(at)));
    }

    /// Reads the log to its end. Gives where a term newer than `term` begins, if it was found.
    fn read(&mut self, world: &mut World, at: usize, term: u64) -> Result<Option<u64>, String> {
        let node = &mut world.nodes[at];
        let mut newer = None;
        for number in &world.broker.log[node.place..] {
            let batch = &self.batches.of(*number).batch;
            match node.disk.past.history().judge(batch) {
                Verdict::New { known } => {
                    node.disk.apply(batch, known);
                    if self.batches.of(*number).starts_a_term() {
                        node.start = Some(*number);
                    }
                    if batch.term > term {
                        newer = newer.or(Some(batch.first_index));
                    }
                }
                Verdict::Known => {}
                Verdict::Stale => self.coverage.ignored += 1,
                verdict => return Err(format!("{at} finds {verdict:?} without any loss: {batch:?}")),
            }
        }
        node.place = world.broker.log.len();
        Ok(newer)
    }

    fn claim(&mut self, world: &mut World, at: usize) -> Result<(), String> {
        world.broker.forget(at);
        if self.flaw != Flaw::ClaimsUnread {
            self.read(world, at, 0)?;
        }
        let node = &mut world.nodes[at];
        let token = match &node.role {
            Role::Candidate(claim) => {
                // Of an earlier round, whose answer was lost.
                let claimed = self.batches.of(claim.flight.batch).batch.term;
                let is_fooled = self.flaw == Flaw::KnowsItsStartByTheTerm && claimed == node.disk.past.term;
                if node.start == Some(claim.flight.batch) || is_fooled {
                    self.coverage.found_started += 1;
                    node.lead();
                    return Ok(());
                }
                claim.token
            }
            _ => node.held.expect("who claims a term holds the lease"),
        };
        let start = node.start_of_term(at, token);
        if start.batch.term > self.bounds.terms {
            node.role = Role::Follower;
            node.held = None;
            return Ok(());
        }
        let start = self.batches.number(start);
        let flight = sent(start, world.broker.log.len(), at, &mut world.broker);
        node.role = Role::Candidate(Claim { token, flight });
        Ok(())
    }

    fn write(&mut self, world: &mut World, at: usize, demanded: Demanded) {
        let Node { role: Role::Leader(tenure), disk, .. } = &mut world.nodes[at] else {
            panic!("only a leader writes")
        };
        let version = match demanded {
            Demanded::Nothing => None,
            Demanded::Stored => Some(disk.version(&key()).unwrap_or(0)),
        };
        let taken = tenure.take((at, world.writes), Demand { version }, disk, &self.batches);
        let Ok(authored) = taken else {
            self.coverage.refused += 1;
            return;
        };
        let batch = self.batches.number(authored);
        tenure.taken.push(batch);
        tenure.flights.push(sent(batch, tenure.expected, at, &mut world.broker));
        tenure.expected += 1;
        world.writes += 1;
        if self.flaw == Flaw::AcknowledgesWhatItSent {
            world.acknowledged.insert(batch);
        }
    }

    fn arrive(&mut self, world: &mut World, sent: Sent) {
        let before = world.broker.log.len();
        let is_stored = world.broker.take(&sent, self.flaw);
        if !is_stored && !self.batches.of(sent.batch).starts_a_term() {
            self.coverage.fenced += 1;
        }
        if !sent.is_awaited {
            return;
        }
        let flight = match &mut world.nodes[sent.node].role {
            Role::Follower => None,
            Role::Candidate(claim) => Some(&mut claim.flight),
            Role::Leader(tenure) => tenure.flights.iter_mut().find(|flight| flight.batch == sent.batch),
        };
        let answer = if is_stored { Answer::Stored(before) } else { Answer::Refused };
        flight.expect("it is awaited").answer = Some(answer);
    }

    fn hear(&mut self, world: &mut World, at: usize) -> Result<(), String> {
        let node = &mut world.nodes[at];
        let flight = match &node.role {
            Role::Follower => panic!("nothing is under way"),
            Role::Candidate(claim) => &claim.flight,
            Role::Leader(tenure) => &tenure.flights[0],
        };
        let is_good = flight.answer == Some(Answer::Stored(flight.expected));
        let (batch, place) = (flight.batch, flight.expected + 1);
        match &mut node.role {
            Role::Candidate(_) if !is_good => return self.claim(world, at),
            _ if !is_good => return self.resolve(world, at),
            Role::Leader(tenure) => {
                tenure.flights.remove(0);
                world.acknowledged.insert(batch);
            }
            _ => {}
        }
        node.disk.apply(&self.batches.of(batch).batch, 0);
        node.place = place;
        if let Role::Candidate(_) = node.role {
            node.start = Some(batch);
            node.lead();
        }
        Ok(())
    }

    fn resolve(&mut self, world: &mut World, at: usize) -> Result<(), String> {
        world.broker.forget(at);
        let Role::Leader(mut tenure) = std::mem::take(&mut world.nodes[at].role) else {
            panic!("only a leader has doubts")
        };
        let newer = match self.flaw {
            Flaw::ResendsUnread => None,
            _ => self.read(world, at, tenure.since.term)?,
        };
        // What stands before the other one's term in the log is written, and nothing else of this one ever will be.
        let written_below = newer.unwrap_or(world.nodes[at].disk.past.index + 1);
        let flights = std::mem::take(&mut tenure.flights).into_iter().map(|flight| flight.batch);
        let is_written = |batch: &BatchId| self.batches.of(*batch).batch.last_index() < written_below;
        let (written, lost): (Vec<_>, Vec<_>) = flights.partition(is_written);
        self.coverage.found_written += written.len();
        world.acknowledged.extend(written);
        if newer.is_some() {
            self.coverage.deposed += 1;
            world.nodes[at].held = None;
            return Ok(());
        }
        let end = world.broker.log.len();
        tenure.expected = end + lost.len();
        let again =
            lost.into_iter().zip(end..).map(|(batch, expected)| sent(batch, expected, at, &mut world.broker));
        tenure.flights = again.collect();
        world.nodes[at].role = Role::Leader(tenure);
        Ok(())
    }
}

fn sent(batch: BatchId, expected: usize, node: usize, broker: &mut Broker) -> Flight {
    broker.wire.insert(Sent { node, batch, expected, is_awaited: true });
    Flight { batch, expected, answer: None }
}

impl Model for Fencing {
    type State = World;
    type Action = Action;

    fn initial(&mut self) -> World {
        World {
            broker: Broker::default(),
            nodes: vec![Node::default(); self.bounds.nodes],
            acknowledged: BTreeSet::new(),
            writes: 0,
            crashes: 0,
        }
    }

    fn actions(&mut self, world: &World) -> Vec<Action> {
        let mut actions: Vec<Action> = world.broker.wire.iter().copied().map(Action::Arrive).collect();
        (0..world.nodes.len()).for_each(|at| self.node_actions(world, at, &mut actions));
        actions
    }

    fn next(&mut self, world: &World, action: &Action) -> Result<World, String> {
        let mut world = world.clone();
        match *action {
            Action::Acquire(at) => {
                world.broker.token += 1;
                world.nodes[at].held = Some(world.broker.token);
            }
            Action::Claim(at) => self.claim(&mut world, at)?,
            Action::Write(at, demanded) => self.write(&mut world, at, demanded),
            Action::Arrive(sent) => self.arrive(&mut world, sent),
            Action::Hear(at) => self.hear(&mut world, at)?,
            Action::Resolve(at) => self.resolve(&mut world, at)?,
            Action::Halt(at) => {
                world.nodes[at].role = Role::Follower;
                world.nodes[at].held = None;
                world.broker.forget(at);
            }
            Action::Crash(at) => {
                world.crashes += 1;
                world.nodes[at].crash();
                world.broker.forget(at);
            }
        }
        Ok(world)
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        let counted = self.counted(&world.broker.log)?;
        let acknowledged = world.acknowledged.iter().find(|batch| !counted.batches.contains(batch));
        if let Some(lost) = acknowledged {
            return Err(format!("acknowledged, and it does not count: {:?}", self.batches.of(*lost)));
        }
        let starts = counted.batches.iter().filter(|batch| self.batches.of(**batch).starts_a_term());
        self.coverage.terms = self.coverage.terms.max(starts.count());
        self.coverage.acknowledged = self.coverage.acknowledged.max(world.acknowledged.len());
        world.nodes.iter().try_for_each(|node| counted.check(node))
    }
}
