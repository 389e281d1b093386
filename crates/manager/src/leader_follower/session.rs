use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a client has written or read: a node that has applied as much shows at least that.
///
/// As text, for a header, it is `lf1.<term>.<index>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionToken {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// What makes the text of a session token.
const PREFIX: &str = "lf1.";

impl SessionToken {
    /// The index that must be applied.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What stands for both: who has applied as much shows what either has seen.
    #[must_use]
    pub fn max(self, other: SessionToken) -> SessionToken {
        // Each on its own: of two histories the one with the later term counts, though it may be the shorter one yet.
        SessionToken { index: self.index.max(other.index), term: self.term.max(other.term) }
    }

    /// True if this stands for the other one, too.
    pub(super) fn covers(self, other: SessionToken) -> bool {
        self.index >= other.index && self.term >= other.term
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}", self.term, self.index)
    }
}

impl From<SessionToken> for String {
    fn from(token: SessionToken) -> Self {
        token.to_string()
    }
}

/// A text that is no session token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no session token of a leader-follower namespace: those look like lf1.3.1042")]
pub struct InvalidToken {
    text: String,
}

impl FromStr for SessionToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let parse = || {
            let (term, index) = text.strip_prefix(PREFIX)?.split_once('.')?;
            let number = |digits: &str| {
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
            };
            Some(SessionToken { index: number(index)?, term: number(term)? })
        };
        parse().ok_or_else(|| InvalidToken { text: text.chars().take(64).collect() })
    }
}

impl TryFrom<String> for SessionToken {
    type Error = InvalidToken;

    fn try_from(text: String) -> Result<Self, InvalidToken> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_histories_neither_is_forgotten() {
        let lost = SessionToken { index: 12, term: 2 };
        let counts = SessionToken { index: 10, term: 3 };
        assert!(lost.max(counts).covers(lost) && lost.max(counts).covers(counts));
        assert!(!lost.covers(counts) && !counts.covers(lost));
    }

    #[test]
    fn a_token_survives_a_header() {
        let token = SessionToken { index: 1_042, term: 3 };
        assert_eq!(token.to_string(), "lf1.3.1042");
        assert_eq!("lf1.3.1042".parse(), Ok(token));
        for wrong in [
            "",
            "lf1.",
            "lf1.3",
            "lf1.3.-1",
            "lf1.+3.1",
            "lf2.3.1",
            "lf1.3.1.1",
            "lf1.99999999999999999999.1",
        ] {
            assert!(wrong.parse::<SessionToken>().is_err(), "{wrong}");
        }
    }
}
