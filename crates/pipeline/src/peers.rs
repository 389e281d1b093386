use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::PipelineError;

/// What a replica hears from the others beside the log.
#[derive(Debug)]
pub enum Heard {
    /// Said to everyone.
    Announcement {
        /// Who says it, by the subject. Not authenticated here.
        from: String,
        /// What is said. Anyone who may publish can have said it: decode it with limits.
        payload: Bytes,
    },
    /// Asked of this replica.
    Question {
        /// What is asked. Anyone who may publish can have asked it: decode it with limits.
        payload: Bytes,
        /// The way back.
        answer: Answer,
    },
}

/// The way back to whoever asked. Dropping it leaves the question without an answer.
pub struct Answer(Box<dyn FnOnce(Bytes) -> BoxFuture<'static, ()> + Send>);

impl Answer {
    /// A way back that `send` goes. For implementations of [`Pipeline`](crate::Pipeline).
    pub fn new(send: impl FnOnce(Bytes) -> BoxFuture<'static, ()> + Send + 'static) -> Answer {
        Answer(Box::new(send))
    }

    /// Answers, if whoever asked still waits. Best effort, as the question was.
    pub async fn send(self, payload: Bytes) {
        (self.0)(payload).await;
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// A running hearing of announcements and questions.
#[async_trait]
pub trait Listener: Send {
    /// The next of them, in no order. A passing failure (reconnect, restarted broker) is mended inside; what was said
    /// meanwhile is gone.
    ///
    /// Cancel safe: dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// [`PipelineError::Closed`], and no other; it ends the listening.
    async fn next(&mut self) -> Result<Heard, PipelineError>;
}
