use std::{process::ExitCode, sync::Arc};

use super::super::{
    master::Master,
    protocol::{Answer, Request},
};
use crate::child::{Numbered, answer, requests};

/// The child: does what standard input asks until it ends.
pub(crate) async fn serve() -> ExitCode {
    let mut queue = requests();
    let mut master: Option<Arc<Master>> = None;
    while let Some(Numbered { number, body }) = queue.recv().await {
        match (body, &master) {
            (Request::Start(options), None) => match Master::start(options, None).await {
                Ok(started) => {
                    master = Some(Arc::new(started));
                    answer(number, Answer::Done);
                }
                Err(reason) => answer(number, Answer::Refused { reason, retryable: false }),
            },
            (body, Some(master)) => {
                let master = master.clone();
                tokio::spawn(async move { answer(number, master.answer(body).await) });
            }
            (_, None) => {
                let reason = "it is not started".to_owned();
                answer(number, Answer::Refused { reason, retryable: false });
            }
        }
    }
    ExitCode::SUCCESS
}
