//! The leader-follower mode on a broker in memory.

mod support;

mod election;
mod log_loss;
mod reading;
mod resync;
mod taking_over;
mod writing;
