//! `archipelago serve`, `config` and `token`: a node, and what it is told.

mod config;
mod flags;
mod serve;
mod token;

pub(crate) use config::{ConfigOptions, config};
pub(crate) use flags::NodeFlags;
pub(crate) use serve::{ServeOptions, serve};
pub(crate) use token::{TokenOptions, token};
