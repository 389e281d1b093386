//! What a node is told: one tree of sections, from defaults, a file, variables of the environment, and flags.

mod check;
mod error;
mod example;
mod http;
mod layers;
mod namespace;
mod nats;
mod node;
mod secret;
mod section;
mod signatures;
mod snapshots;
mod tokens;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use example::example;
pub use http::HttpSection;
pub use layers::{Sources, flag, variable};
pub use namespace::{ConflictStrategyName, LeaderAckName, Mode, NamespaceSection, RoleName};
pub use nats::{NatsSection, StorageName};
pub use node::{DurabilityName, NodeSection};
pub use secret::Secret;
pub(crate) use section::Setting;
pub use section::{Kind, Opt};
pub use signatures::SignaturesSection;
pub use snapshots::SnapshotsSection;
pub use tokens::TokenSection;

/// The configuration of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Who the node is, and where it keeps its data.
    pub node: NodeSection,
    /// How it is reached.
    pub http: HttpSection,
    /// The broker between the nodes.
    pub nats: NatsSection,
    /// Whom the node believes.
    pub signatures: SignaturesSection,
    /// Where snapshots are kept.
    pub snapshots: SnapshotsSection,
    /// The data sets, by name. Without any, there is one with the name `default`.
    pub namespaces: BTreeMap<String, NamespaceSection>,
    /// Who may use the node, by a name for people.
    pub tokens: BTreeMap<String, TokenSection>,
}

/// One option of the whole tree: what a flag and a variable stand for.
#[derive(Clone, Copy, Debug)]
pub struct ConfigOption {
    /// The section, and the name in it; `None` for a section that is a table by name.
    pub path: (&'static str, Option<&'static str>),
    /// What it does, line by line.
    pub doc: &'static [&'static str],
    /// How its text is read.
    pub kind: Kind,
}

impl Config {
    /// Every option, in the order of the example.
    pub fn options() -> Vec<ConfigOption> {
        let sections = [
            ("node", NodeSection::OPTIONS),
            ("http", HttpSection::OPTIONS),
            ("nats", NatsSection::OPTIONS),
            ("signatures", SignaturesSection::OPTIONS),
            ("snapshots", SnapshotsSection::OPTIONS),
        ];
        let mut options = Vec::new();
        for (section, own) in sections {
            options.extend(own.iter().map(|option| ConfigOption {
                path: (section, Some(option.name)),
                doc: option.doc,
                kind: option.kind,
            }));
        }
        for (section, doc) in [("namespaces", NamespaceSection::DOC), ("tokens", TokenSection::DOC)] {
            options.push(ConfigOption { path: (section, None), doc, kind: Kind::Literal });
        }
        options
    }
}

/// What an option that may be missing is without one.
fn is_unset<T: Serialize>(value: &T) -> bool {
    matches!(serde_json::to_value(value), Ok(serde_json::Value::Null))
}
