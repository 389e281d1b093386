//! The dashboard in a real browser, by real clicks and keys.

mod browser;
mod chromedriver;
mod conflicts;
mod inspector;
mod islands;
mod login;
mod members;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "each of the two programs uses a part of it")]
mod support;
mod tail;
mod theme;
