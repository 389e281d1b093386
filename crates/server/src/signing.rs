//! Whom a node believes, as its configuration names them.

use archipelago::{PublicKey, Signatures, SigningKey};

use crate::config::{Config, ConfigError};

/// What the managers of a node are told of signatures; `None` if it does not sign. Reads the file of the key.
pub(crate) fn signatures(config: &Config) -> Result<Option<Signatures>, ConfigError> {
    let section = &config.signatures;
    let text = match (&section.key, &section.key_file) {
        (Some(key), _) => key.reveal().to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?,
        (None, None) => return Ok(None),
    };
    let option = if section.key.is_some() { "signatures.key" } else { "signatures.key_file" };
    let key =
        SigningKey::from_secret_text(&text).map_err(|error| ConfigError::value(option, error.to_string()))?;
    let mut signatures = Signatures::new(key).required(section.required);
    for entry in &section.trusted {
        let (name, key) = trusted(entry)?;
        signatures = signatures.trust(name, key);
    }
    Ok(Some(signatures))
}

/// The name and the key of an entry of `signatures.trusted`.
pub(crate) fn trusted(entry: &str) -> Result<(&str, PublicKey), ConfigError> {
    let wrong = |reason: &str| ConfigError::value("signatures.trusted", format!("{entry:?}: {reason}"));
    let (name, key) = entry.split_once('=').ok_or_else(|| wrong("it is not NAME=KEY"))?;
    let key = key.parse().map_err(|error: archipelago::InvalidKey| wrong(&error.to_string()))?;
    Ok((name.trim(), key))
}
