use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const COUNTER_BITS: u32 = 16;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
/// 9999-12-31T23:59:59.999Z, the last moment with a calendar form.
const CALENDAR_MS_MAX: u64 = 253_402_300_799_999;

/// A hybrid logical timestamp: 48 bits of milliseconds since the Unix epoch and a 16-bit counter.
///
/// If write a caused write b then `hlc(a) < hlc(b)`; and a stamp stays close to wall time, so that
/// last-writer-wins means what people expect. The counter overflows into the milliseconds.
///
/// The text form sorts as the value does: `2026-11-21T00:29:22.123Z-002a`, with the counter in hexadecimal.
///
/// Source: Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks and Consistent Snapshots in Globally
/// Distributed Databases" (2014). Departure: one 64-bit number instead of two, as their section 6 suggests.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// Below every stamp that a clock issues.
    pub const ZERO: Hlc = Hlc(0);
    /// The largest stamp.
    pub const MAX: Hlc = Hlc(u64::MAX);

    /// The stamp of `unix_ms` and `counter`. Milliseconds beyond 48 bits (the year 10889) become the largest.
    pub const fn new(unix_ms: u64, counter: u16) -> Self {
        let ms = if unix_ms >> (64 - COUNTER_BITS) == 0 { unix_ms } else { u64::MAX >> COUNTER_BITS };
        Hlc((ms << COUNTER_BITS) | counter as u64)
    }

    /// From the number that [`bits`](Self::bits) gives. Every number is a stamp.
    pub const fn from_bits(bits: u64) -> Self {
        Hlc(bits)
    }

    /// As a number that orders as the stamp does, for the wire.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// Tells apart the stamps of one millisecond.
    pub const fn counter(self) -> u16 {
        // Masked to 16 bits, so nothing is cut off.
        #[allow(clippy::cast_possible_truncation, reason = "masked")]
        let counter = (self.0 & COUNTER_MASK) as u16;
        counter
    }

    /// The next larger stamp, or `None` at the largest.
    pub const fn next(self) -> Option<Hlc> {
        match self.0.checked_add(1) {
            Some(bits) => Some(Hlc(bits)),
            None => None,
        }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.unix_ms();
        if ms > CALENDAR_MS_MAX {
            // Sorts after every calendar form, because `~` sorts after the digits.
            return write!(f, "~{:016x}", self.0);
        }
        let (year, month, day) = civil_from_days(ms / 86_400_000);
        let (hour, minute) = (ms / 3_600_000 % 24, ms / 60_000 % 60);
        let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z-{:04x}",
            self.counter()
        )
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a hybrid logical timestamp such as 2026-11-21T00:29:22.123Z-002a")]
pub struct ParseHlcError {
    /// The offending text, cut to a printable length.
    pub text: String,
}

impl FromStr for Hlc {
    type Err = ParseHlcError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseHlcError { text: text.chars().take(40).collect() })
    }
}

fn parse(text: &str) -> Option<Hlc> {
    if let Some(digits) = text.strip_prefix('~') {
        let hlc = Hlc(hex(digits, 16)?);
        return (hlc.unix_ms() > CALENDAR_MS_MAX).then_some(hlc);
    }
    // All ASCII, so that byte offsets are character offsets.
    if text.len() != "2026-11-21T00:29:22.123Z-002a".len() || !text.is_ascii() {
        return None;
    }
    let bytes = text.as_bytes();
    let separators =
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z'), (24, b'-')];
    if separators.iter().any(|&(at, separator)| bytes[at] != separator) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = &text[from..to];
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (milli, counter) = (number(20, 23)?, hex(&text[25..], 4)?);
    if hour > 23 || minute > 59 || second > 59 || year < 1970 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    let ms = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + milli;
    Some(Hlc((ms << COUNTER_BITS) | counter))
}

fn hex(digits: &str, len: usize) -> Option<u64> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != len || !digits.bytes().all(lower_hex) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// The proleptic Gregorian date of a count of days since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`, for days >= 0.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The inverse of [`civil_from_days`]; `None` if there is no such date.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (y / 400, y % 400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * mp + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    // The arithmetic accepts 31 February; only a date that comes back as itself exists.
    (civil_from_days(days) == (year, month, day)).then_some(days)
}
