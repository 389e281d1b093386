//! From where a configuration comes: flags before variables before the file before defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, ConfigOption, Kind};

/// What variables of the environment begin with.
const VARIABLE_PREFIX: &str = "ARCHIPELAGO_";

/// From where a configuration comes.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables of the environment, by name; others than those of options are left alone.
    pub variables: BTreeMap<String, String>,
    /// What flags say, by the name of the [flag].
    pub flags: BTreeMap<String, String>,
}

/// The flag of an option, without the two dashes.
pub fn flag(option: &ConfigOption) -> String {
    joined(option, "-").replace('_', "-")
}

/// The variable of an option.
pub fn variable(option: &ConfigOption) -> String {
    format!("{VARIABLE_PREFIX}{}", joined(option, "_").to_uppercase())
}

fn joined(option: &ConfigOption, by: &str) -> String {
    match option.path {
        (section, Some(name)) => format!("{section}{by}{name}"),
        (section, None) => section.to_owned(),
    }
}

impl Config {
    /// The configuration that the sources give, checked.
    ///
    /// # Errors
    /// [`ConfigError`] names the option, and where its value comes from.
    pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
        let mut table = sources.file.as_deref().map_or_else(|| Ok(Table::new()), read)?;
        for option in Config::options() {
            let variable = variable(&option);
            if let Some(text) = sources.variables.get(&variable) {
                set(&mut table, &option, text, &variable)?;
            }
            let flag = flag(&option);
            if let Some(text) = sources.flags.get(&flag) {
                set(&mut table, &option, text, &format!("--{flag}"))?;
            }
        }
        let config = parse(table).map_err(|(key, reason)| ConfigError::Value { key, reason })?;
        config.check()?;
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let refused = |key: String, reason: String| ConfigError::File { path: path.to_owned(), key, reason };
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| refused("TOML".into(), error.to_string()))?;
    // Only now, and only if something is wrong, as this one knows the line and the other one the path.
    let Err((key, reason)) = parse(table.clone()) else { return Ok(table) };
    let line = toml::from_str::<Config>(&text).err().map_or(reason, |error| error.to_string());
    Err(refused(key, line))
}

fn parse(table: Table) -> Result<Config, (String, String)> {
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| (error.path().to_string(), error.inner().to_string()))
}

/// Puts the value of a flag or a variable where the file would have it.
fn set(table: &mut Table, option: &ConfigOption, text: &str, origin: &str) -> Result<(), ConfigError> {
    let key = joined(option, ".");
    let refused = |reason: String| ConfigError::Text { origin: origin.to_owned(), key: key.clone(), reason };
    let value = match option.kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Kind::Literal => Value::deserialize(
            toml::de::ValueDeserializer::parse(text).map_err(|error| refused(error.to_string()))?,
        )
        .map_err(|error| refused(error.to_string()))?,
    };
    let mut alone = Table::new();
    place(&mut alone, option, value.clone());
    parse(alone).map_err(|(_, reason)| refused(reason))?;
    place(table, option, value);
    Ok(())
}

fn place(table: &mut Table, option: &ConfigOption, value: Value) {
    let (section, name) = option.path;
    let Some(name) = name else {
        table.insert(section.to_owned(), value);
        return;
    };
    // What is no table was refused when the file was read.
    if let Value::Table(section) = table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
        section.insert(name.to_owned(), value);
    }
}
