use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    Secret,
    section::{Kind, Setting, section, settings},
};

section! {
    /// The NATS servers through which the nodes speak. Without any, this node works for itself alone.
    NatsSection {
        /// The servers of one cluster, nats://host:4222 or tls://host:4222.
        servers: Vec<String> = Vec::new(), "[\"nats://127.0.0.1:4222\"]";
        /// The certificate of the authority that signed those of the servers, PEM, if it is not a public one.
        tls_ca: Option<PathBuf> = None, "\"/etc/archipelago/ca.pem\"";
        /// The certificate of this node for the servers, PEM, if they ask for one.
        tls_certificate: Option<PathBuf> = None, "\"/etc/archipelago/client.pem\"";
        /// The private key of that certificate, PEM.
        tls_key: Option<PathBuf> = None, "\"/etc/archipelago/client.key\"";
        /// The user, with password.
        user: Option<String> = None, "\"node\"";
        /// The password of the user.
        password: Option<Secret> = None, "\"secret\"";
        /// A token, instead of a user.
        token: Option<Secret> = None, "\"secret\"";
        /// The seed of an nkey, SU..., instead of a user.
        nkey_seed: Option<Secret> = None, "\"SUA...\"";
        /// A credentials file, as `nsc generate creds` writes it, instead of a user.
        credentials_file: Option<PathBuf> = None, "\"/etc/archipelago/node.creds\"";
        /// The JetStream domain in which the logs are, if it is not that of the servers.
        domain: Option<String> = None, "\"hub\"";
        /// On how many servers a log is kept that this node makes.
        replicas: usize = 1, "3";
        /// Where a log is kept that this node makes: "file" or "memory".
        storage: StorageName = StorageName::File, "\"memory\"";
        /// The most bytes of a log that this node makes. A log that is full takes no more and forgets nothing: writes wait in
        /// the nodes until it is trimmed.
        log_bytes_max: Option<u64> = None, "10737418240";
    }
}

/// Where a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageName {
    /// In files.
    File,
    /// In memory.
    Memory,
}
settings! { Text: StorageName; }
