use archipelago::{EntityTag, MultiMasterManager, UpdateError, Value, WriteOptions, WriteReceipt};

use crate::{config::ConflictStrategyName, crdts, namespace::Namespace, problem::Problem, receipt::Receipt};

/// Writes at a master.
#[derive(Clone, Debug)]
pub(crate) struct MasterWriter<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) master: &'a MultiMasterManager,
    pub(crate) options: WriteOptions,
}

impl MasterWriter<'_> {
    pub(crate) async fn put(self, id: String, value: Value) -> Result<Receipt, Problem> {
        let MasterWriter { namespace, master, options } = self;
        if namespace.options.strategy_of(&id) != ConflictStrategyName::CrdtMerge {
            return receipt(master, &master.write_with(id, &value, options).await?).await;
        }
        let put = move |standing: &mut Value| {
            *standing = crdts::kept(standing, value)?;
            Ok(())
        };
        let updated: Result<_, UpdateError<Problem>> = master.update_with(id, options, put).await;
        receipt(master, &updated?).await
    }

    pub(crate) async fn patch(self, id: String, fields: Value) -> Result<Receipt, Problem> {
        let MasterWriter { namespace, master, options } = self;
        if namespace.options.strategy_of(&id) != ConflictStrategyName::CrdtMerge {
            return receipt(master, &master.patch_with(id, &fields, options).await?).await;
        }
        let Value::Map(fields) = fields else { return Err(Problem::no_fields()) };
        let patch = move |standing: &mut Value| {
            let mut whole = standing.as_map().cloned().unwrap_or_default();
            for (name, value) in fields {
                let stands = whole.get(&name).cloned().unwrap_or_default();
                whole.insert(name, crdts::kept(&stands, value)?);
            }
            *standing = Value::Map(whole);
            Ok(())
        };
        let updated: Result<_, UpdateError<Problem>> = master.update_with(id, options, patch).await;
        receipt(master, &updated?).await
    }

    pub(crate) async fn delete(self, id: String) -> Result<Receipt, Problem> {
        let deleted = self.master.delete_with(id, self.options).await?;
        Ok(Receipt::new(&deleted, None))
    }
}

/// The receipt, with the tag of the state that the write made.
pub(crate) async fn receipt(master: &MultiMasterManager, written: &WriteReceipt) -> Result<Receipt, Problem> {
    // The write stands, whatever becomes of the look at it.
    let tag = tag(master, written).await;
    Ok(Receipt::new(written, tag))
}

/// What is live now is what this write made if the write is a part of it, and all else was there when it was made: whatever
/// came later, and changed something, would be live itself.
async fn tag(master: &MultiMasterManager, written: &WriteReceipt) -> Option<EntityTag> {
    let entity = master.entity(&written.entity_id).await.ok()??;
    let mut live = entity.versions.iter().map(|version| &version.dot);
    let is_of_write = live.clone().any(|dot| *dot == written.dot)
        && live.all(|dot| written.token.vector().contains(dot))
        && entity.value.is_some();
    is_of_write.then(|| entity.tag())
}
