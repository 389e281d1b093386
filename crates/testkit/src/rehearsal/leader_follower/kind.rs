/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cut,
    CutLeader,
    Hold,
    HoldLeader,
    Slow,
    SlowLeader,
    Pause,
    PauseLeader,
    Crash,
    CrashLeader,
    LoseDisk,
    FailDisk,
    FailDiskOfLeader,
    Close,
    Promote,
    Demote,
    Resync,
    JumpClock,
    StopBroker,
    FaultyAppends,
    FaultyLease,
    DropLease,
    TruncateTail,
    DeleteLog,
    Purge,
    TrimHead,
}

impl Kind {
    pub(super) const ALL: [Kind; 26] = [
        Kind::Cut,
        Kind::CutLeader,
        Kind::Hold,
        Kind::HoldLeader,
        Kind::Slow,
        Kind::SlowLeader,
        Kind::Pause,
        Kind::PauseLeader,
        Kind::Crash,
        Kind::CrashLeader,
        Kind::LoseDisk,
        Kind::FailDisk,
        Kind::FailDiskOfLeader,
        Kind::Close,
        Kind::Promote,
        Kind::Demote,
        Kind::Resync,
        Kind::JumpClock,
        Kind::StopBroker,
        Kind::FaultyAppends,
        Kind::FaultyLease,
        Kind::DropLease,
        Kind::TruncateTail,
        Kind::DeleteLog,
        Kind::Purge,
        Kind::TrimHead,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Cut | Kind::CutLeader => "cut",
            Kind::Hold | Kind::HoldLeader => "hold",
            Kind::Slow | Kind::SlowLeader => "slow link",
            Kind::Pause | Kind::PauseLeader => "pause",
            Kind::Crash | Kind::CrashLeader => "crash",
            Kind::LoseDisk => "lose disk",
            Kind::FailDisk | Kind::FailDiskOfLeader => "fail disk",
            Kind::Close => "close",
            Kind::Promote => "promote",
            Kind::Demote => "demote",
            Kind::Resync => "resync",
            Kind::JumpClock => "jump clock",
            Kind::StopBroker => "stop broker",
            Kind::FaultyAppends => "faulty appends",
            Kind::FaultyLease => "faulty lease",
            Kind::DropLease => "drop lease",
            Kind::TruncateTail => "truncate tail",
            Kind::DeleteLog => "delete log",
            Kind::Purge => "purge",
            Kind::TrimHead => "trim head",
        }
    }

    /// It takes something from the log.
    pub(super) fn is_loss(self) -> bool {
        matches!(self, Kind::TruncateTail | Kind::DeleteLog | Kind::Purge | Kind::TrimHead)
    }
}
