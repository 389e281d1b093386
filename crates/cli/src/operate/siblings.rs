//! An entity with all that is live of it, and how people see it.

use serde::Deserialize;
use serde_json::Value;

use super::{error::OperateError, output};

#[derive(Debug, Deserialize)]
pub(super) struct Siblings {
    pub(super) id: String,
    pub(super) is_conflicted: bool,
    pub(super) value: Option<Value>,
    pub(super) versions: Vec<LiveVersion>,
    /// What was seen with this; a resolution sends it back.
    pub(super) context: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct LiveVersion {
    pub(super) dot: String,
    pub(super) hlc: String,
    pub(super) is_removal: bool,
    pub(super) value: Option<Value>,
}

impl LiveVersion {
    pub(super) fn shown(&self) -> String {
        match (&self.value, self.is_removal) {
            (Some(value), false) => value.to_string(),
            _ => "removed".to_owned(),
        }
    }
}

impl Siblings {
    pub(super) fn show(&self) -> Result<(), OperateError> {
        let state = if self.is_conflicted { "conflicted" } else { "not conflicted" };
        let visible = self.value.as_ref().map_or("removed".to_owned(), Value::to_string);
        output::line(format!("{} ({state}): {visible}", self.id))?;
        let mut table = output::table(["version", "written", "value"]);
        for version in &self.versions {
            table.add_row([version.dot.clone(), version.hlc.clone(), version.shown()]);
        }
        output::line(table.to_string())
    }
}
