//! Writes, as the mode of the namespace does them.

mod leader;
mod master;
mod turns;

use archipelago::Value;
use axum::http::HeaderMap;

use crate::{
    app::App,
    namespace::{Namespace, Running},
    problem::Problem,
    receipt::Receipt,
    session::{self, Condition, Consistency, WAIT_DEFAULT},
};

use leader::LeaderWriter;
pub(crate) use master::{MasterWriter, receipt};
pub(crate) use turns::PatchTurns;

/// What a request asks of its writes, ready to be done.
#[derive(Clone, Debug)]
pub(crate) enum Writer<'a> {
    MultiMaster(MasterWriter<'a>),
    LeaderFollower(LeaderWriter<'a>),
}

impl<'a> Writer<'a> {
    /// Waits for what the session has seen, and reads what else the request asks for.
    pub(crate) async fn prepare(
        app: &App,
        namespace: &'a Namespace,
        headers: &HeaderMap,
        consistency: &Consistency,
    ) -> Result<Writer<'a>, Problem> {
        match &namespace.running {
            Running::MultiMaster(master) => {
                let options = consistency.options(headers, app.wait_max())?;
                let wait = session::wait(consistency.wait_ms, WAIT_DEFAULT, app.wait_max())?;
                session::settle(headers, master, wait).await?;
                Ok(Writer::MultiMaster(MasterWriter { namespace, master, options }))
            }
            // The leader has all that any session has seen.
            Running::LeaderFollower(node) => {
                LeaderWriter::new(app, namespace, node, headers, consistency).map(Writer::LeaderFollower)
            }
        }
    }

    /// The same, if the entity is in the state with this tag.
    pub(crate) fn expecting(self, tag: &str) -> Writer<'a> {
        let condition = Condition::OneOf(vec![tag.to_owned()]);
        match self {
            Writer::MultiMaster(writer) => {
                let options = writer.options.expecting(condition.into());
                Writer::MultiMaster(MasterWriter { options, ..writer })
            }
            Writer::LeaderFollower(writer) => Writer::LeaderFollower(LeaderWriter { condition, ..writer }),
        }
    }

    /// Gives the entity a value.
    pub(crate) async fn put(self, id: String, value: Value) -> Result<Receipt, Problem> {
        match self {
            Writer::MultiMaster(writer) => writer.put(id, value).await,
            Writer::LeaderFollower(writer) => writer.put(id, value).await,
        }
    }

    /// Sets the fields at its top that `fields` has.
    pub(crate) async fn patch(self, id: String, fields: Value) -> Result<Receipt, Problem> {
        match self {
            Writer::MultiMaster(writer) => writer.patch(id, fields).await,
            Writer::LeaderFollower(writer) => writer.patch(id, fields).await,
        }
    }

    /// Removes it.
    pub(crate) async fn delete(self, id: String) -> Result<Receipt, Problem> {
        match self {
            Writer::MultiMaster(writer) => writer.delete(id).await,
            Writer::LeaderFollower(writer) => writer.delete(id).await,
        }
    }
}
