//! What the types of a configuration do not say.

use super::{Config, ConfigError};

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
        }
        self.check_http()?;
        self.check_nats()?;
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

    fn check_http(&self) -> Result<(), ConfigError> {
        let http = &self.http;
        if http.tls_certificate.is_some() != http.tls_key.is_some() {
            return Err(ConfigError::value("http.tls_certificate", "it and http.tls_key are given together"));
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
