//! What a replica says of the members of its namespace. The layout is described in `docs/FORMAT.md`.

use archipelago_clock::{Hlc, ReplicaId};

use crate::{
    DecodeError, Limits,
    reader::{Reader, malformed, within},
    replica,
    writer::Writer,
};

/// One member of a namespace, as of a moment. Of two of one name the one with the greater (incarnation, `since`, state)
/// holds: a name stands for one replica, whose latest incarnation is the one that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub replica: ReplicaId,
    /// How it stands.
    pub state: MemberState,
    /// Since when it does.
    pub since: Hlc,
}

/// How a replica stands with the others of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// It is known, and may not have all yet that the others have.
    Joining,
    /// It has caught up at least once.
    Active,
    /// It takes no more writes and brings those that it has to the others.
    Leaving,
    /// It is gone, and has left nothing behind.
    Left,
    /// Others gave it up. If it comes back it is told so, and joins again.
    Retired,
}

impl MemberState {
    /// Every state, in the order of their codes.
    pub const ALL: [MemberState; 5] = [
        MemberState::Joining,
        MemberState::Active,
        MemberState::Leaving,
        MemberState::Left,
        MemberState::Retired,
    ];

    /// The state as a word.
    pub const fn name(self) -> &'static str {
        match self {
            MemberState::Joining => "joining",
            MemberState::Active => "active",
            MemberState::Leaving => "leaving",
            MemberState::Left => "left",
            MemberState::Retired => "retired",
        }
    }

    /// True if the others wait for it before they reclaim a tombstone.
    pub const fn is_awaited(self) -> bool {
        matches!(self, MemberState::Joining | MemberState::Active | MemberState::Leaving)
    }

    const fn code(self) -> u64 {
        match self {
            MemberState::Joining => 0,
            MemberState::Active => 1,
            MemberState::Leaving => 2,
            MemberState::Left => 3,
            MemberState::Retired => 4,
        }
    }
}

impl std::fmt::Display for MemberState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Members as bytes, for a store.
pub fn encode_members(members: &[Member]) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer, members);
    writer.into_vec()
}

/// Reads what [`encode_members`] wrote.
///
/// # Errors
/// Every [`DecodeError`].
pub fn decode_members(bytes: bytes::Bytes, limits: &Limits) -> Result<Vec<Member>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let members = read(&mut reader, limits)?;
    reader.end("members", 0)?;
    Ok(members)
}

pub(crate) fn write(writer: &mut Writer, members: &[Member]) {
    writer.array(members.len() * 3);
    for member in members {
        replica::write(writer, &member.replica);
        writer.unsigned(member.state.code());
        writer.unsigned(member.since.bits());
    }
}

pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<Vec<Member>, DecodeError> {
    let len = reader.array("members")?;
    within("replicas_max", len / 3, limits.replicas_max)?;
    if len % 3 != 0 {
        return Err(malformed("members", "not a list of triples"));
    }
    (0..len / 3)
        .map(|_| {
            let replica = replica::read(reader)?;
            let found = reader.unsigned("member state")?;
            let state = MemberState::ALL.into_iter().find(|state| state.code() == found);
            let state = state.ok_or(DecodeError::Unknown { what: "member state", found })?;
            Ok(Member { replica, state, since: Hlc::from_bits(reader.unsigned("member since")?) })
        })
        .collect()
}
