//! The leader-follower mode on a broker in memory.

mod lossy;
mod support;

mod election;
mod feed;
mod folders;
mod log_loss;
mod partition;
mod reading;
mod resync;
mod routing;
mod sessions;
mod signing;
mod starting;
mod taking_over;
mod writing;
