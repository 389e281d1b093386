//! What a node must be allowed at the broker, and nothing more.

use std::fmt::Write;

use archipelago_pipeline::{PipelineError, check_name};

use crate::config::own_inbox;

/// What inboxes are for.
pub(crate) const ANSWERS: &str = "answers";

/// How many messages may answer one question: an answer that is larger than a message comes in parts.
const ANSWER_MESSAGES_MAX: u32 = 10_000;

/// What the user of one node must be allowed, in its namespaces: to publish as itself and as nobody else, to read the log, to
/// ask, and to answer. Give each node a user of its own with these, and none can write in the name of another one: a
/// message whose writes are not of the node that its subject names is skipped by everyone. The node is answered where nobody
/// else hears it: connect it with [`NatsConfig::own_inbox`](crate::NatsConfig::own_inbox).
///
/// ```
/// use archipelago_pipeline_nats::NatsPermissions;
///
/// let paris = NatsPermissions::new("orders", "paris")?;
/// assert!(paris.publish().iter().any(|may| may.subject == "archipelago.orders.events.paris"));
/// assert!(!paris.publish().iter().any(|may| may.subject.contains("events.tokyo")));
/// println!("{}", paris.to_server_config());
/// # Ok::<(), archipelago_pipeline::PipelineError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NatsPermissions {
    namespaces: Vec<String>,
    node: String,
    api: String,
    may_lead: bool,
    snapshots: Option<String>,
    log: LogPermissions,
}

/// What a node may do to the log beside reading and writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogPermissions {
    /// Nothing: somebody else makes the streams and trims them.
    Use,
    /// Make the streams that are not there.
    Make,
    /// Make them, and remove from the log what snapshots cover.
    MakeAndTrim,
}

/// A subject, with wildcards as NATS has them, and what it is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permission {
    /// The subject.
    pub subject: String,
    /// What for.
    pub purpose: &'static str,
}

impl NatsPermissions {
    /// Those of a node that is one of the masters of the namespace, and may make and trim its log.
    ///
    /// # Errors
    /// [`PipelineError::InvalidName`] if one of the names cannot be part of a subject.
    pub fn new(namespace: &str, node: &str) -> Result<NatsPermissions, PipelineError> {
        check_name(namespace)?;
        check_name(node)?;
        Ok(NatsPermissions {
            namespaces: vec![namespace.to_owned()],
            node: node.to_owned(),
            api: "$JS.API".to_owned(),
            may_lead: false,
            snapshots: None,
            log: LogPermissions::MakeAndTrim,
        })
    }

    /// Also for this namespace.
    ///
    /// # Errors
    /// [`PipelineError::InvalidName`] if it cannot be part of a subject.
    pub fn and(mut self, namespace: &str) -> Result<NatsPermissions, PipelineError> {
        check_name(namespace)?;
        self.namespaces.push(namespace.to_owned());
        Ok(self)
    }

    /// Those of a node of namespaces with a leader, which it may become: also the buckets of the leases.
    pub fn may_lead(mut self) -> NatsPermissions {
        self.may_lead = true;
        self
    }

    /// Also to keep snapshots in this bucket of the object store, and to take them from there.
    pub fn snapshots(mut self, bucket: impl Into<String>) -> NatsPermissions {
        self.snapshots = Some(bucket.into());
        self
    }

    /// What it may do to the log. Default: [`LogPermissions::MakeAndTrim`].
    pub fn log(mut self, log: LogPermissions) -> NatsPermissions {
        self.log = log;
        self
    }

    /// The domain of JetStream, if the servers have one.
    pub fn domain(mut self, domain: &str) -> NatsPermissions {
        self.api = format!("$JS.{domain}.API");
        self
    }

    /// On what it must be allowed to publish.
    pub fn publish(&self) -> Vec<Permission> {
        let api = &self.api;
        let mut permissions = vec![may(format!("{api}.INFO"), "to see what JetStream allows")];
        for namespace in &self.namespaces {
            permissions.extend(self.of_namespace(namespace));
        }
        if let Some(bucket) = &self.snapshots {
            let stream = format!("OBJ_{bucket}");
            permissions.push(may(format!("$O.{bucket}.>"), "to keep snapshots"));
            permissions.push(may(format!("{api}.STREAM.PURGE.{stream}"), "to remove old snapshots"));
            permissions.push(may(format!("{api}.STREAM.MSG.DELETE.{stream}"), "to remove old snapshots"));
            permissions.extend(self.of_stream(&stream, "snapshots"));
        }
        permissions
    }

    fn of_namespace(&self, namespace: &str) -> Vec<Permission> {
        let NatsPermissions { node, api, .. } = self;
        let mut permissions = vec![
            may(format!("archipelago.{namespace}.events.{node}"), "its own writes"),
            may(format!("archipelago.{namespace}.said.{node}"), "its own heartbeats"),
            may(format!("archipelago.{namespace}.asked.*"), "questions to other nodes"),
        ];
        let log = format!("ARCHIPELAGO_{namespace}");
        permissions.extend(self.of_stream(&log, "the log"));
        if self.log == LogPermissions::MakeAndTrim {
            permissions.push(may(format!("{api}.STREAM.PURGE.{log}"), "to trim the log below snapshots"));
        }
        if self.may_lead {
            let bucket = format!("archipelago_{namespace}_lease");
            permissions.push(may(format!("$KV.{bucket}.>"), "to hold the lease"));
            permissions.extend(self.of_stream(&format!("KV_{bucket}"), "the lease"));
        }
        permissions
    }

    fn of_stream(&self, stream: &str, what: &'static str) -> Vec<Permission> {
        let api = &self.api;
        let mut permissions = vec![
            may(format!("{api}.STREAM.INFO.{stream}"), what),
            may(format!("{api}.STREAM.MSG.GET.{stream}"), what),
            may(format!("{api}.DIRECT.GET.{stream}"), what),
            may(format!("{api}.DIRECT.GET.{stream}.>"), what),
            may(format!("{api}.CONSUMER.CREATE.{stream}"), what),
            may(format!("{api}.CONSUMER.CREATE.{stream}.>"), what),
            may(format!("{api}.CONSUMER.INFO.{stream}.>"), what),
            may(format!("{api}.CONSUMER.DELETE.{stream}.>"), what),
            may(format!("{api}.CONSUMER.MSG.NEXT.{stream}.>"), what),
            may(format!("$JS.FC.{stream}.>"), what),
        ];
        if self.log != LogPermissions::Use {
            permissions.push(may(format!("{api}.STREAM.CREATE.{stream}"), what));
        }
        permissions
    }

    /// To what it must be allowed to subscribe.
    pub fn subscribe(&self) -> Vec<Permission> {
        let of_namespaces = self.namespaces.iter().flat_map(|namespace| {
            [
                may(format!("archipelago.{namespace}.said.*"), "the heartbeats of others"),
                may(format!("archipelago.{namespace}.asked.*"), "the questions of others"),
            ]
        });
        of_namespaces.chain([may(format!("{}.>", own_inbox(&self.node)), ANSWERS)]).collect()
    }

    /// As the section `permissions` of a user in the configuration of nats-server.
    pub fn to_server_config(&self) -> String {
        let list = |permissions: Vec<Permission>| {
            permissions.iter().fold(String::new(), |mut text, may| {
                let _ = writeln!(text, "    {:?} # {}", may.subject, may.purpose);
                text
            })
        };
        format!(
            "permissions: {{\n  publish: {{ allow: [\n{}  ] }}\n  subscribe: {{ allow: [\n{}  ] }}\n  \
             # Questions are answered wherever the one who asks wants.\n  \
             allow_responses: {{ max: {ANSWER_MESSAGES_MAX}, expires: \"1m\" }}\n}}\n",
            list(self.publish()),
            list(self.subscribe()),
        )
    }
}

fn may(subject: String, purpose: &'static str) -> Permission {
    Permission { subject, purpose }
}
