//! What an entity must be for a write to happen, and how the state of an entity is named.

use std::{fmt, str::FromStr};

use archipelago_clock::Dot;
use archipelago_engine::Engine;
use archipelago_proto::EntityId;
use xxhash_rust::xxh3::Xxh3;

use crate::{EntityView, WriteError, replica::Stored};

/// Names what is live of an entity: two tags are equal exactly if the same versions are. As text, 32 hexadecimal digits.
///
/// Masters that have applied the same writes give an entity the same tag, but for a while after a removal, when one of
/// them has reclaimed its tombstone and the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityTag(u128);

/// A text that is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 32 hexadecimal digits in lower case")]
pub struct InvalidTag;

/// What an entity must be for a write to happen, as this master has it. It is looked at where no other write comes
/// between; what other masters write at the same time shows as a conflict, as always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// Whatever it is.
    #[default]
    Anything,
    /// It has a value.
    Present,
    /// It has none: it was never written, or was removed.
    Absent,
    /// It is in one of these states, see [`EntityView::tag`].
    OneOf(Vec<EntityTag>),
}

impl EntityTag {
    fn of<'a>(dots: impl Iterator<Item = &'a Dot>) -> EntityTag {
        let mut hash = Xxh3::new();
        for dot in dots {
            hash.update(dot.actor.name().as_bytes());
            // No name has it.
            hash.update(b"@");
            hash.update(&dot.actor.incarnation().bits().to_be_bytes());
            hash.update(&dot.sequence.to_be_bytes());
        }
        EntityTag(hash.digest128())
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for EntityTag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(InvalidTag);
        }
        u128::from_str_radix(text, 16).map(EntityTag).map_err(|_| InvalidTag)
    }
}

impl EntityView {
    /// Names this state of the entity, for [`Expected::OneOf`].
    pub fn tag(&self) -> EntityTag {
        EntityTag::of(self.versions.iter().map(|version| &version.dot))
    }
}

impl Expected {
    /// # Errors
    /// [`WriteError::Unexpected`], and if what is stored cannot be read.
    pub(crate) fn check(
        &self,
        entity: &EntityId,
        engine: &Engine,
        records: &Stored<'_>,
    ) -> Result<(), WriteError> {
        if *self == Expected::Anything || entity.is_empty() {
            // The engine refuses a write without an id, and says why.
            return Ok(());
        }
        let unreadable = |error| WriteError::from(archipelago_engine::WriteError::from(error));
        let present = || Ok::<_, WriteError>(engine.visible(entity, records).map_err(unreadable)?.is_some());
        let is_met = match self {
            Expected::Anything => true,
            Expected::Present => present()?,
            Expected::Absent => !present()?,
            Expected::OneOf(tags) => {
                let live = engine.live(entity, records).map_err(unreadable)?;
                tags.contains(&EntityTag::of(live.iter()))
            }
        };
        if is_met { Ok(()) } else { Err(WriteError::Unexpected { entity: entity.to_string() }) }
    }
}
