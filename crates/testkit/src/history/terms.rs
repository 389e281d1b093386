use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::{BufRead, Write},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{HistoryError, Version, Violations, json_lines};

/// What leaders did: the terms they claimed and the appends that were acknowledged to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermHistory {
    /// In any order.
    pub claims: Vec<Claim>,
    /// In any order.
    pub appends: Vec<Append>,
}

/// A node became leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// In this term.
    pub term: u64,
    /// Its name.
    pub node: String,
    /// No earlier than the moment from which on no older term can append: that at which the start of its term was
    /// acknowledged by the log.
    pub started_ns: u64,
    /// The index from which on the log is its, if known: that of the entry that starts the term.
    pub first_index: Option<Version>,
}

/// An append that was acknowledged to a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Append {
    /// In this term.
    pub term: u64,
    /// Its name.
    pub node: String,
    /// The index that the entry has.
    pub index: Version,
    /// No later than the moment at which it was sent.
    pub invoked_ns: u64,
}

/// What is wrong with the leaders.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TermViolation {
    /// Two leaders at once.
    #[error("term {term} has two leaders, {one} and {other}")]
    TwoLeaders {
        /// The term.
        term: u64,
        /// One of them.
        one: String,
        /// The other one.
        other: String,
    },
    /// An append in a term that its node did not claim.
    #[error("{append}, and has not claimed that term")]
    Unclaimed {
        /// The append.
        append: String,
    },
    /// A deposed leader's append was acknowledged.
    #[error("a deposed leader appends: {append}, but {claim}")]
    Deposed {
        /// The append.
        append: String,
        /// The newer term.
        claim: String,
    },
    /// Two entries with one index.
    #[error("an index is used twice: {one}; {other}")]
    IndexReused {
        /// One of them.
        one: String,
        /// The other one.
        other: String,
    },
    /// An entry of an older term after one of a newer term.
    #[error("terms go back in the log: {before}; and after it {after}")]
    TermsGoBack {
        /// The entry with the lower index.
        before: String,
        /// The entry of an older term.
        after: String,
    },
}

/// Whether each term has at most one leader, each index one entry, and the terms of the entries never go back; and
/// whether nothing was acknowledged to a leader that it sent after the start of a newer term, or that lies in the newer
/// term's part of the log.
///
/// # Errors
/// Everything that is wrong.
pub fn check_terms(history: &TermHistory) -> Result<(), Violations<TermViolation>> {
    let mut found = Vec::new();
    let mut leaders = BTreeMap::<u64, &Claim>::new();
    for claim in &history.claims {
        let known = leaders.entry(claim.term).or_insert(claim);
        if known.node != claim.node {
            let (one, other) = (known.node.clone(), claim.node.clone());
            found.push(TermViolation::TwoLeaders { term: claim.term, one, other });
        }
    }
    for append in &history.appends {
        let is_claimed =
            history.claims.iter().any(|claim| claim.term == append.term && claim.node == append.node);
        if !is_claimed {
            found.push(TermViolation::Unclaimed { append: append.to_string() });
        }
        let is_deposed_by = |claim: &&Claim| {
            let is_in_its_part = claim.first_index.is_some_and(|first| append.index >= first);
            claim.term > append.term && (append.invoked_ns > claim.started_ns || is_in_its_part)
        };
        if let Some(claim) = history.claims.iter().find(is_deposed_by) {
            let (append, claim) = (append.to_string(), claim.to_string());
            found.push(TermViolation::Deposed { append, claim });
        }
    }
    found.extend(out_of_order(&history.appends));
    Violations::none_of(found, ())
}

fn out_of_order(appends: &[Append]) -> Vec<TermViolation> {
    let mut by_index: HashMap<Version, &Append> = HashMap::new();
    let mut found = Vec::new();
    for append in appends {
        if let Some(one) = by_index.insert(append.index, append) {
            let (one, other) = (one.to_string(), append.to_string());
            found.push(TermViolation::IndexReused { one, other });
        }
    }
    let mut appends: Vec<&Append> = appends.iter().collect();
    appends.sort_by_key(|append| append.index);
    let mut newest = None::<&Append>;
    for append in appends {
        match newest.filter(|newest| newest.index < append.index && newest.term > append.term) {
            Some(before) => {
                let (before, after) = (before.to_string(), append.to_string());
                found.push(TermViolation::TermsGoBack { before, after });
            }
            None if newest.is_none_or(|newest| newest.term <= append.term) => newest = Some(append),
            None => {}
        }
    }
    found
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Claim(Claim),
    Append(Append),
}

impl TermHistory {
    /// As JSON Lines, a claim or an append each. Files may stand one after the other.
    ///
    /// # Errors
    /// [`HistoryError::Io`]; some lines may have been written.
    pub fn write_to(&self, to: impl Write) -> Result<(), HistoryError> {
        let claims = self.claims.iter().cloned().map(Line::Claim);
        json_lines::write(to, claims.chain(self.appends.iter().cloned().map(Line::Append)))
    }

    /// From JSON Lines. A last line that was not finished is left out.
    ///
    /// # Errors
    /// [`HistoryError`] if a line cannot be read or understood.
    pub fn read_from(from: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = TermHistory::default();
        for line in json_lines::read(from)? {
            match line {
                Line::Claim(claim) => history.claims.push(claim),
                Line::Append(append) => history.appends.push(append),
            }
        }
        Ok(history)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { term, node, started_ns, first_index } = self;
        write!(f, "{node} is leader of term {term} since {started_ns} ns")?;
        first_index.map_or(Ok(()), |first| write!(f, ", from the index {first} on"))
    }
}

impl fmt::Display for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Append { term, node, index, invoked_ns } = self;
        write!(f, "{node} appends the index {index} in term {term} at {invoked_ns} ns")
    }
}
