//! Nodes over real sockets. One program, as each would link everything again.

mod access;
mod changes;
mod config;
mod crdts;
mod dashboard;
mod description;
mod entities;
mod health;
mod hostile;
mod leading;
mod limits;
mod measures;
mod snapshots;
mod support;
mod tls;
mod together;
