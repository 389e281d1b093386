use std::{borrow::Cow, collections::BTreeMap};

use super::{
    cut::{Cut, Piece},
    run::{Id, Place, Run},
};
use crate::{Crdt, DeltaCrdt, Kind};

/// What is known of a text: a join-semilattice of single insertions and deletions, out of which the text is computed.
///
/// Text is counted in *units*, those of UTF-16, since that is how the clocks of Yjs count. A unit has a client and a
/// clock as its id. What is known of one is where it was inserted (its [`Place`]), its content, and whether it was
/// deleted; a deletion may arrive before the insertion, and then that is all that is known.
///
/// Units join one by one: two that say the same stay, a deletion hides the content and keeps the place. That is all
/// that happens while every client counts its own units up. Two that disagree about an id, which only misuse brings
/// about, become U+FFFD, and if it is the place, one behind the unit before. A character of two units is whole or is
/// two U+FFFD. So the join is commutative, associative and idempotent for whatever was decoded.
///
/// Runs of units that were inserted behind one another are kept together, and there is one way to cut units into runs,
/// so equal states have equal encodings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextRuns {
    /// By client. Invariant: no list is empty; each is ascending and without overlaps, and no two neighbours in it
    /// could be one run.
    clients: BTreeMap<u64, Vec<Run>>,
}

impl TextRuns {
    /// The clients in ascending order, each with its runs.
    pub(super) fn clients(&self) -> impl DoubleEndedIterator<Item = (u64, &[Run])> {
        self.clients.iter().map(|(client, runs)| (*client, &runs[..]))
    }

    /// The clock after the last unit of a client that anything is known of.
    #[cfg_attr(not(feature = "text"), expect(dead_code, reason = "for those who write"))]
    pub(super) fn end(&self, client: u64) -> u32 {
        self.clients.get(&client).and_then(|runs| runs.last()).map_or(0, Run::end)
    }

    /// Takes in the runs of a client, which are ascending and without overlaps.
    pub(super) fn join_runs(&mut self, client: u64, theirs: &[Run]) {
        let (Some(first), Some(last)) = (theirs.first(), theirs.last()) else { return };
        let ours = self.clients.entry(client).or_default();
        // Runs that end before begin anew at most by growing at their end, so one more than what overlaps is taken.
        let from = ours.partition_point(|run| run.end() < first.clock);
        let to = from + ours[from..].partition_point(|run| run.clock <= last.end());
        let mut joined = Joined { client, runs: Vec::with_capacity(to - from + theirs.len()) };
        let touched = ours.drain(from..to).map(Cow::Owned);
        sweep(client, touched, theirs.iter().map(Cow::Borrowed), |one, other| match (one, other) {
            (Some(one), Some(other)) => join_same(client, &one.run, &other.run, &mut joined),
            (Some(piece), None) | (None, Some(piece)) => joined.push(piece.run.into_owned()),
            (None, None) => {}
        });
        ours.splice(from..from, joined.runs);
    }
}

impl Crdt for TextRuns {
    fn kind() -> Option<Kind> {
        Some(Kind::Text)
    }

    fn merge(&mut self, other: &Self) {
        for (client, theirs) in &other.clients {
            self.join_runs(*client, theirs);
        }
    }

    fn covers(&self, other: &Self) -> bool {
        other.delta_since(self).is_none()
    }
}

impl DeltaCrdt for TextRuns {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let mut clients = BTreeMap::new();
        for (&client, ours) in &self.clients {
            let known = since.clients.get(&client).map_or(&[][..], |runs| &runs[..]);
            let mut news = Joined { client, runs: Vec::new() };
            let ours = ours.iter().map(Cow::Borrowed);
            sweep(client, ours, known.iter().map(Cow::Borrowed), |one, other| match (one, other) {
                (Some(piece), Some(known)) if !known.torn && says_all(client, &known.run, &piece.run) => {}
                (Some(piece), _) => news.push(piece.run.into_owned()),
                (None, _) => {}
            });
            if !news.runs.is_empty() {
                clients.insert(client, news.runs);
            }
        }
        (!clients.is_empty()).then_some(TextRuns { clients })
    }
}

/// Walks through the runs of one client in two states and shows what each has of the same units, piece by piece.
fn sweep<'a>(
    client: u64,
    ours: impl Iterator<Item = Cow<'a, Run>>,
    theirs: impl Iterator<Item = Cow<'a, Run>>,
    mut visit: impl FnMut(Option<Piece<'a>>, Option<Piece<'a>>),
) {
    let (mut ours, mut theirs) = (Cut::new(client, ours), Cut::new(client, theirs));
    loop {
        let ((at, len), (other_at, other_len)) = match (ours.ahead(), theirs.ahead()) {
            (Some(one), Some(other)) => (one, other),
            (Some((_, len)), None) => {
                visit(ours.take(len), None);
                continue;
            }
            (None, Some((_, len))) => {
                visit(None, theirs.take(len));
                continue;
            }
            (None, None) => return,
        };
        if at < other_at {
            visit(ours.take(len.min(other_at - at)), None);
        } else if other_at < at {
            visit(None, theirs.take(other_len.min(at - other_at)));
        } else {
            let len = len.min(other_len);
            visit(ours.take(len), theirs.take(len));
        }
    }
}

/// Runs in the making: what is pushed is joined to the last one where both could be one run.
struct Joined {
    client: u64,
    runs: Vec<Run>,
}

impl Joined {
    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.continues_as(self.client, &run) => last.append(run),
            _ => self.runs.push(run),
        }
    }
}

/// Whether `known` says all that `run`, of the same units, says.
fn says_all(client: u64, known: &Run, run: &Run) -> bool {
    if known == run {
        return true;
    }
    let mut joined = Joined { client, runs: Vec::new() };
    join_same(client, known, run, &mut joined);
    joined.runs.len() == 1 && joined.runs[0] == *known
}

/// Joins two runs of the same units.
fn join_same(client: u64, one: &Run, other: &Run, joined: &mut Joined) {
    let both_text = one.text.as_deref().zip(other.text.as_deref());
    match (one.place, other.place) {
        (Some(place), Some(other_place)) if place != other_place => {
            let right = if place.right == other_place.right { place.right } else { None };
            let text = both_text.map(|(ours, theirs)| {
                agreement(ours, theirs, |unit| unit > 0 && place.right == other_place.right)
            });
            let run =
                Run { clock: one.clock, len: one.len, place: Some(Place { origin: None, right }), text };
            let mut cut = Cut::new(client, [Cow::Owned(run)].into_iter());
            if let Some(first) = cut.take(1) {
                let behind = one.clock.checked_sub(1).map(|clock| Id { client, clock });
                let place = Some(Place { origin: behind, right: None });
                joined.push(Run { place, ..first.run.into_owned() });
            }
            if let Some(rest) = cut.take(one.len - 1) {
                joined.push(rest.run.into_owned());
            }
        }
        (place, other_place) => {
            let text = both_text.map(|(ours, theirs)| agreement(ours, theirs, |_| true));
            joined.push(Run { clock: one.clock, len: one.len, place: place.or(other_place), text });
        }
    }
}

/// The text of equally many units in which only the units remain that are equal in both and `may_agree`.
fn agreement(ours: &str, theirs: &str, may_agree: impl Fn(usize) -> bool) -> String {
    if ours == theirs && may_agree(0) {
        return ours.to_owned();
    }
    let mut both = units(ours).zip(units(theirs)).enumerate();
    let mut agreed =
        both.by_ref().map(|(at, (one, other))| Some(one).filter(|_| one == other && may_agree(at)));
    let mut text = String::with_capacity(ours.len());
    while let Some(unit) = agreed.next() {
        match unit {
            Some((character, None)) => text.push(character),
            // Whoever knows one half of a character as it was knows the other half, or that it is lost.
            Some((character, Some(Half::First))) => match agreed.next() {
                Some(Some(second)) if second == (character, Some(Half::Second)) => text.push(character),
                Some(_) => text.extend([char::REPLACEMENT_CHARACTER; 2]),
                None => text.push(char::REPLACEMENT_CHARACTER),
            },
            Some((_, Some(Half::Second))) | None => text.push(char::REPLACEMENT_CHARACTER),
        }
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// The units of a text: each with its character and, of a character of two units, which half it is.
fn units(text: &str) -> impl Iterator<Item = (char, Option<Half>)> {
    text.chars().flat_map(|character| {
        let halves: &[Option<Half>] =
            if character.len_utf16() == 1 { &[None] } else { &[Some(Half::First), Some(Half::Second)] };
        halves.iter().map(move |half| (character, *half))
    })
}
