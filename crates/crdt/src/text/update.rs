//! The first version of the encoding of updates by Yjs, as far as plain text needs it.

use std::{collections::BTreeMap, fmt};

use super::{
    run::{Id, Place, Run, units_in},
    runs::TextRuns,
};

/// No client inserts more units than this. Yjs counts further, its ports do not all.
pub(super) const CLOCK_MAX: u32 = i32::MAX.cast_unsigned();

/// Clients of Yjs are whole numbers that are exact as floats.
pub(super) const CLIENT_MAX: u64 = (1 << 53) - 1;

/// The name of the text within the document that the state is. Another one is the same state to us.
pub(super) const ROOT: &str = "text";

const GC: u8 = 0;
const DELETED: u8 = 1;
const STRING: u8 = 4;
const SKIP: u8 = 10;
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT: u8 = 0x40;
const HAS_KEY: u8 = 0x20;

/// What is wrong with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdateError {
    Malformed(&'static str),
    NotPlain(&'static str),
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Malformed(reason) => write!(f, "malformed update of Yjs: {reason}"),
            UpdateError::NotPlain(what) => {
                write!(f, "an update of Yjs with more than one plain text: {what}")
            }
        }
    }
}

/// Encodes all that is known, for a document with the text under the name `root`.
pub(super) fn encode(runs: &TextRuns, root: &str) -> Vec<u8> {
    let mut out = Vec::new();
    // The order is that of Yjs.
    let placed = |runs: &[Run]| runs.iter().any(|run| run.place.is_some());
    let clients: Vec<_> = runs.clients().rev().filter(|(_, runs)| placed(runs)).collect();
    write_number(&mut out, clients.len() as u64);
    for (client, runs) in clients {
        encode_client(&mut out, client, runs.iter(), root);
    }
    let deleted: Vec<_> =
        runs.clients().rev().filter(|(_, runs)| runs.iter().any(|run| run.text.is_none())).collect();
    write_number(&mut out, deleted.len() as u64);
    for (client, runs) in deleted {
        write_number(&mut out, client);
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for run in runs.iter().filter(|run| run.text.is_none()) {
            match ranges.last_mut() {
                Some((clock, len)) if *clock + *len == run.clock => *len += run.len,
                _ => ranges.push((run.clock, run.len)),
            }
        }
        write_number(&mut out, ranges.len() as u64);
        for (clock, len) in ranges {
            write_number(&mut out, clock.into());
            write_number(&mut out, len.into());
        }
    }
    out
}

/// Encodes the insertions of one client.
pub(super) fn encode_client<'r>(
    out: &mut Vec<u8>,
    client: u64,
    runs: impl Iterator<Item = &'r Run>,
    root: &str,
) {
    let runs: Vec<(&Run, &Place)> = runs.filter_map(|run| Some((run, run.place.as_ref()?))).collect();
    let gaps = runs.windows(2).filter(|pair| pair[0].0.end() < pair[1].0.clock).count();
    let start = runs.first().map_or(0, |(run, _)| run.clock);
    write_number(out, (runs.len() + gaps) as u64);
    write_number(out, client);
    write_number(out, start.into());
    let mut at = start;
    for (run, place) in runs {
        if at < run.clock {
            out.push(SKIP);
            write_number(out, (run.clock - at).into());
        }
        at = run.end();
        let content = if run.text.is_some() { STRING } else { DELETED };
        let flag = |id: Option<Id>, flag| if id.is_some() { flag } else { 0 };
        out.push(content | flag(place.origin, HAS_ORIGIN) | flag(place.right, HAS_RIGHT));
        for id in [place.origin, place.right].into_iter().flatten() {
            write_number(out, id.client);
            write_number(out, id.clock.into());
        }
        if place.origin.is_none() && place.right.is_none() {
            out.push(1);
            write_text(out, root);
        }
        match &run.text {
            Some(text) => write_text(out, text),
            None => write_number(out, run.len.into()),
        }
    }
}

pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// Decodes an update of a document that has nothing but the text under the name `root`. Takes memory in proportion to
/// the bytes.
pub(super) fn decode(bytes: &[u8], root: &str) -> Result<TextRuns, UpdateError> {
    let mut reader = Reader { rest: bytes };
    let mut insertions: BTreeMap<u64, Vec<Run>> = BTreeMap::new();
    for _ in 0..reader.number(u64::MAX)? {
        let structs = reader.number(u64::MAX)?;
        let client = reader.number(CLIENT_MAX)?;
        let runs = reader.insertions(structs, client, root)?;
        if insertions.insert(client, runs).is_some() {
            return Err(UpdateError::Malformed("a client occurs twice"));
        }
    }
    let mut known = TextRuns::default();
    for (client, runs) in insertions {
        known.join_runs(client, &runs);
    }
    for _ in 0..reader.number(u64::MAX)? {
        let client = reader.number(CLIENT_MAX)?;
        let mut ranges = Vec::new();
        for _ in 0..reader.number(u64::MAX)? {
            let clock = reader.clock()?;
            ranges.push((clock, reader.len(clock)?));
        }
        ranges.sort_unstable();
        let mut deletions: Vec<Run> = Vec::with_capacity(ranges.len());
        for (clock, len) in ranges {
            match deletions.last_mut() {
                Some(last) if clock <= last.end() => {
                    last.len = (clock + len).max(last.end()) - last.clock;
                }
                _ => deletions.push(Run::deletion(clock, len)),
            }
        }
        known.join_runs(client, &deletions);
    }
    if reader.rest.is_empty() { Ok(known) } else { Err(UpdateError::Malformed("more than one update")) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

const TRUNCATED: UpdateError = UpdateError::Malformed("it ends too soon");

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, UpdateError> {
        let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(byte)
    }

    fn number(&mut self, max: u64) -> Result<u64, UpdateError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits > u64::MAX >> shift {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return if number <= max {
                    Ok(number)
                } else {
                    Err(UpdateError::Malformed("a number too great"))
                };
            }
        }
        Err(UpdateError::Malformed("a number too great"))
    }

    fn clock(&mut self) -> Result<u32, UpdateError> {
        let clock = self.number(CLOCK_MAX.into())?;
        u32::try_from(clock).map_err(|_| UpdateError::Malformed("a number too great"))
    }

    /// A number of units that begin at `clock`.
    fn len(&mut self, clock: u32) -> Result<u32, UpdateError> {
        match self.clock()? {
            0 => Err(UpdateError::Malformed("no units")),
            len if len > CLOCK_MAX - clock => Err(UpdateError::Malformed("a number too great")),
            len => Ok(len),
        }
    }

    fn text(&mut self) -> Result<&'a str, UpdateError> {
        let len = self.number(u64::MAX)?;
        let len = usize::try_from(len).map_err(|_| TRUNCATED)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| UpdateError::Malformed("a text that is not UTF-8"))
    }

    /// The id of a unit next to which one of `client` with the clock `of` was inserted.
    fn neighbour(&mut self, client: u64, of: u32) -> Result<Id, UpdateError> {
        let id = Id { client: self.number(CLIENT_MAX)?, clock: self.clock()? };
        if id.client == client && id.clock >= of {
            return Err(UpdateError::Malformed("a unit next to a later one"));
        }
        Ok(id)
    }

    fn insertions(&mut self, structs: u64, client: u64, root: &str) -> Result<Vec<Run>, UpdateError> {
        let mut clock = self.clock()?;
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..structs {
            let info = self.byte()?;
            let kind = info & 0x1f;
            match kind {
                SKIP => {
                    clock += self.len(clock)?;
                    continue;
                }
                GC => return Err(UpdateError::NotPlain("something in something deleted")),
                DELETED | STRING if info & HAS_KEY == 0 => {}
                _ => return Err(UpdateError::NotPlain("formatting or structure")),
            }
            let mut next = |flag| {
                if info & flag == 0 { Ok(None) } else { self.neighbour(client, clock).map(Some) }
            };
            let place = Place { origin: next(HAS_ORIGIN)?, right: next(HAS_RIGHT)? };
            if place.origin.is_none() && place.right.is_none() {
                if self.number(1)? == 0 {
                    return Err(UpdateError::NotPlain("something in something else"));
                }
                if self.text()? != root {
                    return Err(UpdateError::NotPlain("a part under another name"));
                }
            }
            let (len, text) = if kind == DELETED {
                (self.len(clock)?, None)
            } else {
                let text = self.text()?;
                let len = u32::try_from(units_in(text)).ok().filter(|len| *len <= CLOCK_MAX - clock);
                let len = len.ok_or(UpdateError::Malformed("a number too great"))?;
                if len == 0 {
                    return Err(UpdateError::Malformed("no units"));
                }
                (len, Some(text.to_owned()))
            };
            runs.push(Run { clock, len, place: Some(place), text });
            clock += len;
        }
        Ok(runs)
    }
}
