//! The node: namespaces served over HTTP, for those who do not embed them, and for those who operate them.
//!
//! ```no_run
//! use archipelago_server::{Config, Node, Sources};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(&Sources { file: Some("node.toml".into()), ..Sources::default() })?;
//! let node = Node::start(config).await?;
//! println!("http://{}", node.address());
//! # let ctrl_c = async {};
//! ctrl_c.await;
//! node.drain().await;
//! # Ok(())
//! # }
//! ```
//!
//! `docs/NODE.md` says how to use one. A request goes down through few rooms: `listener` takes the connection, `router`
//! finds the path and its bounds, `access` looks at the token, `routes` does what was asked, on a `namespace` that runs,
//! and `media` or `problem` makes the response of it.
//!
//! | module | noun |
//! |---|---|
//! | `config` | [`Config`]: options from defaults, a file, variables and flags |
//! | `node` | [`Node`]: starts and ends |
//! | `namespace`, `nats`, `watching` | a namespace that runs, by mode; the broker behind it; what it tells by itself |
//! | `listener`, `places`, `stall`, `tls` | connections: how many, whose turn it is, how slow, how secret |
//! | `refusals` | what clients were refused for |
//! | `router`, `openapi` | paths, and their description |
//! | `access` | roles, tokens, and the guard before the paths |
//! | `app` | what all requests share |
//! | `dashboard` | the page for people |
//! | `routes` | what each path does |
//! | `writing`, `freshness` | writes, as each mode does them; how new what a read shows must be |
//! | `media`, `session`, `receipt`, `crdts` | what travels: forms, what a client has seen, what was written, CRDTs in JSON |
//! | `problem` | what went wrong: [`ProblemType`] |
//! | `measures` | what is counted |
//!
//! Invariants:
//! - Everything that a client can make grow has a limit with a name: [`HttpSection`](config::HttpSection).
//! - A path is in the router exactly if it is in the description, as both are made of one list.
//! - What runs in a namespace is matched by mode, each time, so that a new mode is not forgotten anywhere.
//! - Tokens and passwords are in no log, no error and no `Debug` output.

mod access;
mod app;
pub mod config;
mod crdts;
mod dashboard;
mod freshness;
mod listener;
mod measures;
mod media;
mod namespace;
mod nats;
mod node;
mod openapi;
mod places;
mod problem;
mod receipt;
mod refusals;
mod router;
mod routes;
mod session;
mod signing;
mod stall;
mod tls;
mod watching;
mod writing;

pub use access::{ApiToken, Role, TokenHash};
pub use config::{Config, ConfigError, Sources};
pub use nats::nats_config;
pub use node::{Drained, Node, NodeError};
pub use openapi::describe;
pub use problem::{LEADER_HEADER, PROBLEM_TYPE_PREFIX, ProblemType};
pub use session::{CONTEXT_HEADER, SESSION_HEADER};
