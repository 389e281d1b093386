use std::collections::BTreeMap;

use super::Schema;
use crate::StartError;

/// Which schema holds for which entities: the one of the longest prefix that their ids begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct SchemaTable {
    /// For entities without a schema.
    first: Schema,
    prefixes: BTreeMap<String, Schema>,
}

impl SchemaTable {
    pub(crate) fn insert(&mut self, prefix: String, schema: Schema) {
        self.prefixes.insert(prefix, schema);
    }

    pub(crate) fn schema(&self, entity_id: &str) -> &Schema {
        let matching = self.prefixes.iter().filter(|(prefix, _)| entity_id.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.first, |(_, schema)| schema)
    }

    /// # Errors
    /// [`StartError::Option`], which names the prefix and what is wrong with its schema.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        for (prefix, schema) in &self.prefixes {
            schema.check().map_err(|reason| StartError::Option {
                option: "schema",
                reason: format!("of the prefix {prefix:?}: {reason}"),
            })?;
        }
        Ok(())
    }
}
