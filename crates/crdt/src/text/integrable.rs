use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    run::Run,
    runs::TextRuns,
    update::{ROOT, encode_client, write_number},
};

/// The part of a state that makes up its text: the insertions before which nothing is missing, neither of their own
/// client nor of those next to which they were made. What is left waits for deltas that are still to come.
pub(super) struct Integrable<'r> {
    /// By client, all its runs, and how many of them are integrable.
    clients: BTreeMap<u64, (&'r [Run], usize)>,
}

impl<'r> Integrable<'r> {
    pub(super) fn of(runs: &'r TextRuns) -> Self {
        let mut clients: BTreeMap<u64, (&[Run], usize)> =
            runs.clients().map(|(client, runs)| (client, (runs, 0))).collect();
        // Whom a client waits for: the client and clock it needs, and the client that waits.
        let mut waiting: BTreeSet<(u64, u32, u64)> = BTreeSet::new();
        let mut ready: Vec<u64> = clients.keys().copied().collect();
        while let Some(client) = ready.pop() {
            let Some(&(runs, from)) = clients.get(&client) else { continue };
            let mut at = from;
            while let Some(run) = runs.get(at) {
                let Some(place) = run.place.filter(|_| run.clock == end(runs, at)) else { break };
                let missing = [place.origin, place.right].into_iter().flatten().find(|id| {
                    let there = if id.client == client {
                        end(runs, at)
                    } else {
                        clients.get(&id.client).map_or(0, |(runs, count)| end(runs, *count))
                    };
                    there <= id.clock
                });
                if let Some(id) = missing {
                    waiting.insert((id.client, id.clock, client));
                    break;
                }
                at += 1;
            }
            if at > from {
                clients.insert(client, (runs, at));
                let later = waiting.split_off(&(client, end(runs, at), 0));
                let mut woken = waiting.split_off(&(client, 0, 0));
                waiting.extend(later);
                ready.extend(std::mem::take(&mut woken).into_iter().map(|(_, _, waiter)| waiter));
            }
        }
        Integrable { clients }
    }

    /// The clock after the last integrable unit of a client.
    pub(super) fn end(&self, client: u64) -> u32 {
        self.clients.get(&client).map_or(0, |(runs, count)| end(runs, *count))
    }

    /// The update that makes an empty document hold the text.
    pub(super) fn update(&self) -> Vec<u8> {
        let torn = self.torn();
        let mut out = Vec::new();
        let filled = || self.clients.iter().filter(|(_, (_, count))| *count > 0);
        write_number(&mut out, filled().count() as u64);
        for (client, (runs, count)) in filled() {
            let torn = torn.get(client);
            let runs: Vec<Cow<'_, Run>> = runs[..*count].iter().map(|run| tear(run, torn)).collect();
            encode_client(&mut out, *client, runs.iter().map(|run| &**run), ROOT);
        }
        // What is deleted is encoded as such already.
        write_number(&mut out, 0);
        out
    }

    /// By client, the units in front of which something was inserted, if any text has characters of two units.
    fn torn(&self) -> BTreeMap<u64, BTreeSet<u32>> {
        let mut torn: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        let runs = || self.clients.values().flat_map(|(runs, count)| &runs[..*count]);
        if runs().any(|run| run.text.as_deref().is_some_and(has_pairs)) {
            for place in runs().filter_map(|run| run.place) {
                let behind = place.origin.map(|id| (id.client, id.clock + 1));
                let before = place.right.map(|id| (id.client, id.clock));
                for (client, clock) in behind.into_iter().chain(before) {
                    torn.entry(client).or_default().insert(clock);
                }
            }
        }
        torn
    }
}

fn end(runs: &[Run], count: usize) -> u32 {
    count.checked_sub(1).map_or(0, |last| runs[last].end())
}

/// An editor that counts in units may insert between the halves of a character. As in Yjs, both become U+FFFD.
fn tear<'r>(run: &'r Run, torn: Option<&BTreeSet<u32>>) -> Cow<'r, Run> {
    let within = torn.is_some_and(|torn| torn.range(run.clock + 1..run.end()).next().is_some());
    let (Some(text), Some(torn), true) = (run.text.as_deref().filter(|text| has_pairs(text)), torn, within)
    else {
        return Cow::Borrowed(run);
    };
    let mut clock = run.clock;
    let mut whole = String::with_capacity(text.len());
    for character in text.chars() {
        let is_pair = character.len_utf16() == 2;
        if is_pair && torn.contains(&(clock + 1)) {
            whole.extend([char::REPLACEMENT_CHARACTER; 2]);
        } else {
            whole.push(character);
        }
        clock += if is_pair { 2 } else { 1 };
    }
    Cow::Owned(Run { text: Some(whole), ..run.clone() })
}

fn has_pairs(text: &str) -> bool {
    // What takes four bytes takes two units, and nothing else does.
    text.bytes().any(|byte| byte >= 0xf0)
}
