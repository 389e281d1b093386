//! `soak leader`: the nodes of a leader-follower namespace, whose leaders are killed, paused and cut off under load, and
//! whose log is cut, deleted and restarted; and the proof that clients saw one store that keeps its promises.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments, and the faults there are |
//! | `run` | a run: fault after fault, and the verdict |
//! | `faults` | each fault, and what must hold after it |
//! | `ensemble` | the nodes, their broker and the clients; waiting until the nodes agree |
//! | `clients` | who writes and reads, and records what came of it |
//! | `member` | the parent's end of a node's process |
//! | `book` | the log, as it is read between faults |
//! | `verdict` | what is wrong with the history of the clients and with the log |
//! | `node` | the child: one node |
//! | `protocol` | what is asked, answered and told between the two |
//! | `report` | what a person, or a program, is told |

mod book;
mod clients;
mod ensemble;
mod faults;
mod member;
pub(crate) mod node;
pub(crate) mod options;
mod protocol;
pub(crate) mod report;
pub(crate) mod run;
mod verdict;
