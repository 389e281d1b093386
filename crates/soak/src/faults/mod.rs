//! The faults that both modes have: how each comes about, and how it is healed.

pub(crate) mod broker;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod network;
pub(crate) mod storm;
