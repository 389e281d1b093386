//! What the types of a configuration do not say.

use crate::signing;

use super::{Config, ConfigError, Mode, NamespaceSection, RoleName};

/// The longest address of a node, in bytes: it travels in heartbeats.
const ADVERTISE_BYTES_MAX: usize = 1_024;

/// The shortest lease.
const LEASE_MS_MIN: u64 = 100;

impl Config {
    /// Whether the values can be used together.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| ConfigError::value(key, reason);
        let name = self.node.name.as_deref();
        let name = name.ok_or_else(|| wrong("node.name", "it is required, and unique among the nodes"))?;
        check_name("node.name", name)?;
        for namespace in self.namespaces.keys() {
            check_name(&format!("namespaces.{namespace}"), namespace)?;
        }
        for (name, namespace) in &self.namespaces {
            if namespace.heartbeat_interval_ms == 0 {
                return Err(wrong(&format!("namespaces.{name}.heartbeat_interval_ms"), "it is at least 1"));
            }
            if namespace.event_buffer_events_max == 0 {
                return Err(wrong(&format!("namespaces.{name}.event_buffer_events_max"), "it is at least 1"));
            }
            if let Some(option) = namespace.of_other_mode().first() {
                let reason = format!("it is not for the mode {}", namespace.mode.name());
                return Err(wrong(&format!("namespaces.{name}.{option}"), &reason));
            }
            if namespace.mode == Mode::LeaderFollower {
                self.check_leader_follower(name, namespace)?;
            }
        }
        self.check_http()?;
        self.check_nats()?;
        self.check_signatures()?;
        if self.snapshots.folder.is_none() && self.snapshots.every_ms.is_some() {
            return Err(wrong("snapshots.every_ms", "it needs snapshots.folder"));
        }
        if self.snapshots.every_ms == Some(0) || self.snapshots.keep == 0 {
            return Err(wrong("snapshots", "every_ms and keep are at least 1"));
        }
        for (name, token) in &self.tokens {
            if token.sha256.is_none() {
                return Err(wrong(
                    &format!("tokens.{name}.sha256"),
                    "it is required; `archipelago token new` makes a token and its hash",
                ));
            }
        }
        if !self.http.listen.ip().is_loopback() && self.tokens.is_empty() {
            return Err(wrong(
                "tokens",
                &format!(
                    "there is none, and http.listen is {}, which is no loopback address: nobody could use the node; \
                     `archipelago token new --role admin` makes one",
                    self.http.listen
                ),
            ));
        }
        Ok(())
    }

    fn check_leader_follower(&self, name: &str, options: &NamespaceSection) -> Result<(), ConfigError> {
        let wrong = |option: &str, reason: &str| {
            Err(ConfigError::value(format!("namespaces.{name}.{option}"), reason))
        };
        if self.nats.servers.is_empty() {
            return wrong(
                "mode",
                "leader-follower needs nats.servers: the log there decides who leads; for a node alone, \
                 multi-master does",
            );
        }
        if options.lease_ms < LEASE_MS_MIN {
            return wrong("lease_ms", &format!("it is at least {LEASE_MS_MIN}"));
        }
        if options.heartbeat_timeout_ms <= options.heartbeat_interval_ms {
            return wrong("heartbeat_timeout_ms", "it is longer than heartbeat_interval_ms");
        }
        if options.priority > u16::from(archipelago::leader_follower::PRIORITY_MAX) {
            return wrong("priority", "it is 0 to 100");
        }
        if options.leader.is_some() && options.role != RoleName::Follower {
            return wrong("leader", "it is for role = \"follower\", where there is no election");
        }
        Ok(())
    }

    fn check_http(&self) -> Result<(), ConfigError> {
        let http = &self.http;
        if http.tls_certificate.is_some() != http.tls_key.is_some() {
            return Err(ConfigError::value("http.tls_certificate", "it and http.tls_key are given together"));
        }
        if let Some(advertise) = &http.advertise {
            let rest = advertise.strip_prefix("http://").or_else(|| advertise.strip_prefix("https://"));
            let is_visible = advertise.bytes().all(|byte| byte.is_ascii_graphic());
            if rest.is_none_or(str::is_empty) || !is_visible || advertise.len() > ADVERTISE_BYTES_MAX {
                let reason = format!(
                    "{advertise:?} is not http:// or https:// and a host, in at most {ADVERTISE_BYTES_MAX} bytes"
                );
                return Err(ConfigError::value("http.advertise", reason));
            }
        }
        let bounds = [
            ("connections_max", http.connections_max),
            ("body_bytes_max", http.body_bytes_max),
            ("batch_operations_max", http.batch_operations_max),
            ("page_entities_max", http.page_entities_max),
        ];
        let zero = bounds.iter().find(|(_, bound)| *bound == 0);
        zero.map_or(Ok(()), |(name, _)| Err(ConfigError::value(format!("http.{name}"), "it is at least 1")))
    }

    fn check_signatures(&self) -> Result<(), ConfigError> {
        let signatures = &self.signatures;
        if signatures.key.is_some() && signatures.key_file.is_some() {
            return Err(ConfigError::value(
                "signatures.key",
                "it and signatures.key_file exclude one another",
            ));
        }
        let has_key = signatures.key.is_some() || signatures.key_file.is_some();
        if !has_key && !signatures.trusted.is_empty() {
            return Err(ConfigError::value(
                "signatures.trusted",
                "it needs signatures.key_file: who does not sign looks at no signatures",
            ));
        }
        signatures
            .trusted
            .iter()
            .try_for_each(|entry| check_name("signatures.trusted", signing::trusted(entry)?.0))
    }

    fn check_nats(&self) -> Result<(), ConfigError> {
        let nats = &self.nats;
        if nats.tls_certificate.is_some() != nats.tls_key.is_some() {
            return Err(ConfigError::value("nats.tls_certificate", "it and nats.tls_key are given together"));
        }
        if nats.user.is_some() != nats.password.is_some() {
            return Err(ConfigError::value("nats.user", "it and nats.password are given together"));
        }
        let ways = [
            nats.user.is_some(),
            nats.token.is_some(),
            nats.nkey_seed.is_some(),
            nats.credentials_file.is_some(),
        ];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(ConfigError::value(
                "nats",
                "user, token, nkey_seed and credentials_file exclude one another: choose one",
            ));
        }
        Ok(())
    }
}

fn check_name(key: &str, name: &str) -> Result<(), ConfigError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_allowed) {
        return Err(ConfigError::value(key, format!("{name:?} is not 1 to 64 of A-Z a-z 0-9 _ -")));
    }
    Ok(())
}
