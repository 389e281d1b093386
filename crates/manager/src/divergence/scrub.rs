use archipelago_engine::Scrubbed;
use tokio::sync::oneshot;

use crate::{
    MultiMasterManager, ReadError,
    replica::{Command, Examine},
};

impl MultiMasterManager {
    /// Reads again all that is stored, at once, and tells in which buckets of the digest something had changed behind this
    /// master's back, and what cannot be understood. From then on what is stored counts; damage is also a
    /// [notification](crate::Notification::Damaged), and other masters are alarmed by the next heartbeat.
    ///
    /// The same goes on all the time, a little at each heartbeat interval
    /// ([`scrub_entities_per_beat`](crate::MultiMasterBuilder::scrub_entities_per_beat)). Writes go on meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed, or its store failed.
    pub async fn scrub(&self) -> Result<Scrubbed, ReadError> {
        let (reply, scrubbed) = oneshot::channel();
        self.send(Command::Examine(Examine::Scrub { reply })).await.ok_or(ReadError::Closed)?;
        scrubbed.await.map_err(|_| ReadError::Closed)
    }
}
