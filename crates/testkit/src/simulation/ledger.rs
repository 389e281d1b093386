use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{Dot, Hlc, ReplicaId, VersionVector};
use archipelago_proto::EntityId;
use smallvec::SmallVec;

/// Every write that was made, as its author knows it: what the checkers hold the replicas against.
#[derive(Debug, Default)]
pub struct Ledger {
    writes: Vec<Entry>,
    by_dot: BTreeMap<Dot, SmallVec<[usize; 1]>>,
    by_entity: BTreeMap<EntityId, Vec<usize>>,
    /// Whether two writes ever went by one dot.
    has_forked: bool,
    /// Of each copy of a store, of which one it was made, and up to which of its own writes.
    copies: BTreeMap<u64, (u64, u64)>,
    /// Writes that a replica wrote anew: the name that it gave, in which copy of its store, and which write.
    anew: Vec<(Dot, u64, usize)>,
}

/// A write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, which no other write has.
    pub number: u64,
    /// At which replica, by number.
    pub island: usize,
    /// Which entity.
    pub entity: EntityId,
    /// What it did.
    pub deed: Deed,
    /// The number that it wrote, which no other write did.
    pub value: u64,
    /// The name of the write now.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What the replica had applied of the others.
    pub deps: VersionVector,
    /// What the author had seen, if that was less.
    pub context: Option<VersionVector>,
    /// What became of it.
    pub fate: Fate,
    /// Names that it had before its replica took another identity.
    former: SmallVec<[Dot; 1]>,
    /// Another write had the same name.
    pub is_ambiguous: bool,
    /// Another copy of the store went by the same identity when it was made.
    pub is_shared: bool,
    /// Tells apart copies of one store.
    pub(crate) lineage: u64,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The entity became the number that it wrote.
    Put,
    /// A field became the number that it wrote.
    SetField(u8),
    /// A field was removed.
    RemoveField(u8),
    /// The counter grew.
    Increment(u8),
    /// The number that it wrote went into the set.
    Insert,
    /// The entity was removed.
    Delete,
    /// Something else, by a workload of its own.
    Other,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was never stored.
    Dropped,
    /// It is not stored yet, or was stored and nobody was told.
    Unknown,
    /// It was acknowledged.
    Acknowledged,
    /// It was acknowledged, and then the only disk that had it was lost.
    Excused,
}

impl Entry {
    /// Whether the vector covers it, by any of its names.
    pub fn is_in(&self, vector: &VersionVector) -> bool {
        self.fate != Fate::Dropped
            && (vector.contains(&self.dot) || self.former.iter().any(|dot| vector.contains(dot)))
    }

    /// Whether it goes by this name, or did.
    pub fn has_name(&self, dot: &Dot) -> bool {
        self.dot == *dot || self.former.contains(dot)
    }

    /// Whether another replica than its author made it a write of its own.
    pub fn was_taken_over(&self) -> bool {
        self.former.iter().any(|dot| dot.actor.name() != self.dot.actor.name())
    }

    /// Whether its author had seen the other write.
    pub fn saw(&self, other: &Entry) -> bool {
        let names = std::iter::once(&other.dot).chain(&other.former);
        match &self.context {
            Some(context) => names.into_iter().any(|dot| context.contains(dot)),
            None => self.followed(other),
        }
    }

    /// Whether the replica that admitted it had applied the other write.
    pub fn followed(&self, other: &Entry) -> bool {
        // Of its own replica it had applied every write before. A disk that lost its end counts on from where it is, so of two
        // of its lives the later one is not what the earlier one had applied.
        let born = self.born();
        let is_before = other.number < self.number;
        let is_own = |dot: &Dot| is_before && dot.actor == born.actor && dot.sequence < born.sequence;
        let mut names = std::iter::once(&other.dot).chain(&other.former);
        names.any(|dot| is_own(dot) || self.deps.contains(dot))
    }

    /// The name that it was given first.
    pub(crate) fn born(&self) -> &Dot {
        self.former.first().unwrap_or(&self.dot)
    }

    /// Whether the vector covers it by another name than its first one alone: what was done here with what came after it was
    /// not done with it.
    pub(crate) fn is_anew_in(&self, vector: &VersionVector) -> bool {
        self.is_renamed() && !vector.contains(self.born()) && self.is_in(vector)
    }

    /// Whether it had another name before.
    pub fn is_renamed(&self) -> bool {
        !self.former.is_empty()
    }

    /// By which it wins or loses.
    pub fn stamp(&self) -> (Hlc, &Dot) {
        (self.hlc, &self.dot)
    }
}

impl Ledger {
    /// Every write, in order of number.
    pub fn writes(&self) -> &[Entry] {
        &self.writes
    }

    /// The number that the next write will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.writes.len() as u64
    }

    /// The writes of an entity, in order of number.
    pub fn of(&self, entity: &EntityId) -> impl Iterator<Item = &Entry> {
        let numbers = self.by_entity.get(entity).map_or(&[][..], Vec::as_slice);
        numbers.iter().map(|number| &self.writes[*number])
    }

    /// Every entity that was ever written.
    pub fn entities(&self) -> impl Iterator<Item = &str> {
        self.by_entity.keys().map(|entity| &**entity)
    }

    pub(crate) fn entry(&self, number: u64) -> &Entry {
        &self.writes[place(number)]
    }

    pub(crate) fn fate(&self, number: u64) -> Fate {
        self.writes[place(number)].fate
    }

    /// The one write of this name; `None` if there is none, or more than one.
    pub fn by_dot(&self, dot: &Dot) -> Option<&Entry> {
        match self.by_dot.get(dot).map(SmallVec::as_slice) {
            Some([number]) => Some(&self.writes[*number]),
            _ => None,
        }
    }

    /// Whether any write has or had this name.
    pub fn knows(&self, dot: &Dot) -> bool {
        self.by_dot.contains_key(dot)
    }

    /// Whether two writes ever went by one dot: the same vector may stand for different states since.
    pub fn has_forked(&self) -> bool {
        self.has_forked
    }

    pub(crate) fn write(&mut self, entry: NewEntry) -> u64 {
        let at = self.writes.len();
        let NewEntry { island, lineage, is_shared, entity, deed, value, dot, hlc, deps, context } = entry;
        let same = self.by_dot.entry(dot.clone()).or_default();
        same.push(at);
        self.by_entity.entry(entity.clone()).or_default().push(at);
        self.writes.push(Entry {
            number: at as u64,
            island,
            entity,
            deed,
            value: value.unwrap_or(at as u64),
            dot: dot.clone(),
            hlc,
            deps,
            context,
            fate: Fate::Unknown,
            former: SmallVec::new(),
            is_ambiguous: false,
            is_shared,
            lineage,
        });
        self.tell_apart(&dot);
        at as u64
    }

    /// Two writes may go by one name now.
    fn tell_apart(&mut self, dot: &Dot) {
        let same = self.by_dot.get(dot).map_or(&[][..], SmallVec::as_slice);
        if same.len() > 1 {
            self.has_forked = true;
            for at in same {
                self.writes[*at].is_ambiguous = true;
            }
        }
    }

    pub(crate) fn dropped(&mut self, number: u64) {
        let at = place(number);
        self.writes[at].fate = Fate::Dropped;
        let dot = self.writes[at].dot.clone();
        if let Some(same) = self.by_dot.get_mut(&dot) {
            same.retain(|other| *other != at);
            if same.is_empty() {
                self.by_dot.remove(&dot);
            }
        }
    }

    pub(crate) fn acknowledged(&mut self, number: u64) {
        self.writes[place(number)].fate = Fate::Acknowledged;
    }

    pub(crate) fn excused(&mut self, number: u64) {
        self.writes[place(number)].fate = Fate::Excused;
    }

    /// A copy was made of the store `of` when it had `own` writes of its own.
    pub(crate) fn copied(&mut self, lineage: u64, of: u64, own: u64) {
        self.copies.insert(lineage, (of, own));
    }

    /// Whether a copy of a store has the own write `born` that was made in `other`.
    fn has(&self, lineage: u64, other: u64, born: u64) -> bool {
        let mut at = lineage;
        loop {
            match self.copies.get(&at) {
                _ if at == other => return true,
                Some((of, own)) if born <= *own => at = *of,
                _ => return false,
            }
        }
    }

    /// What was `old` above `fork` goes by `new`, in this copy of the store.
    pub(crate) fn renamed(&mut self, lineage: u64, old: &ReplicaId, fork: u64, new: &ReplicaId) {
        for at in 0..self.writes.len() {
            let write = &self.writes[at];
            if write.fate == Fate::Dropped {
                continue;
            }
            // A loss of power may have undone an earlier change of identity.
            let names = std::iter::once(&write.dot).chain(&write.former);
            let names = names.filter(|dot| dot.actor == *old && dot.sequence > fork).cloned();
            let names: BTreeSet<Dot> = names.collect();
            let is_made_here = self.has(lineage, write.lineage, write.born().sequence);
            for name in names {
                let anew = self.anew.iter().find(|(dot, other, which)| {
                    *which == at && *dot == name && self.has(lineage, *other, dot.sequence)
                });
                let is_anew = anew.is_some();
                let dot = Dot::new(new.clone(), name.sequence - fork);
                if is_anew {
                    self.anew.push((dot.clone(), lineage, at));
                }
                if is_anew || is_made_here {
                    self.rename(at, dot);
                }
            }
        }
    }

    /// What was `old` is written anew by a replica, with this copy of its store.
    pub(crate) fn rewritten(&mut self, lineage: u64, old: &Dot, new: &Dot) {
        for at in self.by_dot.get(old).cloned().unwrap_or_default() {
            self.anew.push((new.clone(), lineage, at));
            self.rename(at, new.clone());
        }
        self.tell_apart(new);
    }

    fn rename(&mut self, at: usize, dot: Dot) {
        let write = &mut self.writes[at];
        let former = std::mem::replace(&mut write.dot, dot.clone());
        write.former.push(former);
        self.by_dot.entry(dot).or_default().push(at);
    }
}

/// A write that is made.
pub(crate) struct NewEntry {
    pub(crate) island: usize,
    pub(crate) lineage: u64,
    pub(crate) is_shared: bool,
    pub(crate) entity: EntityId,
    pub(crate) deed: Deed,
    /// If not its number.
    pub(crate) value: Option<u64>,
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) deps: VersionVector,
    pub(crate) context: Option<VersionVector>,
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("it was an index")
}
