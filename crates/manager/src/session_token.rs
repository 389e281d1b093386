use std::{fmt, sync::OnceLock};

use archipelago_clock::VersionVector;
use archipelago_engine::Written;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a reader or writer has seen: a replica whose vector covers it has seen at least as much.
///
/// Serialized it is its [vector](Self::vector).
#[derive(Clone)]
pub struct SessionToken(Seen);

/// Nobody takes most tokens from their receipts, and a vector has an entry for each replica: that of a write is put
/// together when it is asked for.
#[derive(Clone)]
enum Seen {
    Vector(VersionVector),
    Write(Written, OnceLock<Box<VersionVector>>),
}

impl SessionToken {
    /// The token as a vector.
    pub fn vector(&self) -> &VersionVector {
        match &self.0 {
            Seen::Vector(vector) => vector,
            Seen::Write(written, vector) => vector.get_or_init(|| Box::new(written.token())),
        }
    }

    /// The same, to see more.
    pub(crate) fn vector_mut(&mut self) -> &mut VersionVector {
        if let Seen::Write(written, _) = &self.0 {
            self.0 = Seen::Vector(written.token());
        }
        match &mut self.0 {
            Seen::Vector(vector) => vector,
            Seen::Write(..) => unreachable!("it was just replaced"),
        }
    }

    pub(crate) fn of(written: Written) -> Self {
        SessionToken(Seen::Write(written, OnceLock::new()))
    }
}

impl From<VersionVector> for SessionToken {
    fn from(vector: VersionVector) -> Self {
        SessionToken(Seen::Vector(vector))
    }
}

impl Default for SessionToken {
    fn default() -> Self {
        VersionVector::default().into()
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.vector() == other.vector()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionToken").field(self.vector()).finish()
    }
}

impl Serialize for SessionToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.vector().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SessionToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        VersionVector::deserialize(deserializer).map(Self::from)
    }
}
