//! Nodes over real sockets. One program, as each would link everything again.

mod access;
mod changes;
mod config;
mod crdts;
mod description;
mod entities;
mod health;
mod limits;
mod support;
mod tls;
mod together;
