use std::fmt::Debug;

use crate::{Reading, Sibling};

/// How concurrent writes to one entity are brought together.
///
/// The built-in ones are [`Strategy`](crate::Strategy)s. An application adds its own by implementing this trait, or
/// with a function by [`Custom`](crate::Custom); what replicas store is then all concurrent siblings, and
/// [`read`](Self::read) computes what is visible. Because it is a pure function of the *set* of siblings, in an order
/// that is the same everywhere, replicas converge even if the function is not commutative, associative or idempotent.
///
/// All replicas of a namespace must use the same strategies: they compare
/// [`fingerprint`](Self::fingerprint)s.
pub trait ConflictStrategy: Debug + Send + Sync + 'static {
    /// The stable name: in configuration, in reports and in the fingerprint.
    fn name(&self) -> &str;

    /// The version of the rules: raise it when the same siblings give another value. Default 1.
    fn version(&self) -> u32 {
        1
    }

    /// What is stored of a conflict. Default [`Family::Siblings`].
    fn family(&self) -> Family {
        Family::Siblings
    }

    /// What a reader sees of two or more concurrent siblings, in canonical order (by replica, then sequence).
    /// Asked only of the family [`Family::Siblings`].
    ///
    /// Must depend on nothing but its argument: no clock, no randomness, no state. The default is the sibling with the
    /// greatest stamp.
    fn read(&self, siblings: &[Sibling]) -> Reading {
        let _ = siblings;
        Reading::Greatest
    }

    /// What a conflict asks of people. Default [`Attention::None`].
    fn attention(&self) -> Attention {
        Attention::None
    }

    /// A number that two replicas share exactly if they resolve by the same rules: FNV-1a in 64 bits of the name, a
    /// `/` and the version of the rules in decimal. Stable over releases and platforms, and no proof against malice.
    fn fingerprint(&self) -> u64 {
        let hash = fnv1a(FNV_OFFSET, self.name().as_bytes());
        fnv1a(fnv1a(hash, b"/"), self.version().to_string().as_bytes())
    }
}

/// What a replica stores of an entity that was written concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// One state, in which the concurrent writes are joined already.
    Joined(Join),
    /// Every concurrent write, as siblings; what is visible is a function of the set of them.
    Siblings,
}

/// How the states of the family [`Family::Joined`] are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Join {
    /// The record as a whole is one register: the greatest stamp wins.
    Whole,
    /// Each field at the top of the record is a register of its own.
    Fields,
    /// The same, but fields that are CRDTs join.
    Crdts,
}

/// What a conflict asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attention {
    /// Nothing: it is resolved.
    None,
    /// That they look: it is reported, and resolved by stamp meanwhile.
    Report,
    /// That they resolve it: it is pending until someone does, and reads are marked meanwhile.
    Resolve,
}

pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// Source: Fowler, Noll, Vo: the FNV-1a hash, 64 bits (IETF draft-eastlake-fnv).
pub(crate) const fn fnv1a(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        bytes = rest;
    }
    hash
}
