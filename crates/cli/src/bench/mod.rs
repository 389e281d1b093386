//! `archipelago bench`: what a leader and its followers do when the leader is killed, how fast they are, and what a
//! node takes over HTTP.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the flags |
//! | `session` | from the flags to the exit status: `archipelago bench` |
//! | `broker` | what carries the log: a NATS server, or a broker inside this process |
//! | `protocol` | what is asked of a node, and its answers |
//! | `node` | a node in this process; `serve`: one in a child process |
//! | `member` | either of them: started, killed, closed, started again |
//! | `cluster` | all of them, and the broker |
//! | `scout` | who leads, as a client finds it out |
//! | `pace` | when the next write is due |
//! | `load`, `ledger` | writes under way, and what became of them |
//! | `failover` | `bench failover`: kills, hand-overs, and the proof |
//! | `audit` | what the log and the nodes hold, against what was acknowledged |
//! | `leader` | `bench leader`: writes at a rate, and how far followers lag |
//! | `append` | the baseline of it: compare-and-append, the plain way |
//! | `lag` | when followers had what was acknowledged |
//! | `http` | `bench http`: writes at a rate to a node |
//! | `masters` | `bench replicate` and all others that are about masters |
//! | `samples`, `memory` | percentiles; what this process occupies |
//! | `report` | what a person and a program get to see |
//!
//! Invariant: what is reported rests on what clients were told, on the log as it is read from the broker, and on the states
//! of the nodes; never on the nodes' own counts.

mod append;
mod audit;
mod broker;
mod cluster;
mod error;
mod failover;
mod http;
mod lag;
mod leader;
mod ledger;
mod load;
mod masters;
mod member;
mod memory;
mod node;
mod options;
mod pace;
mod protocol;
mod report;
mod samples;
mod scout;
mod serve;
mod session;

use self::error::BenchError;
pub(crate) use self::{options::Options, serve::serve, session::run};
