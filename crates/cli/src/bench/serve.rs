use std::{process::ExitCode, sync::Arc};

use super::{
    broker::Broker,
    node::Node,
    protocol::{Answer, Request},
};
use crate::child::{Numbered, answer, requests};

/// The child: a node that does what standard input asks until it ends.
pub(crate) async fn serve() -> ExitCode {
    let mut queue = requests();
    let mut node: Option<Arc<Node>> = None;
    while let Some(Numbered { number, body }) = queue.recv().await {
        match (body, &node) {
            (Request::Start(options), None) => {
                let broker = Broker::new(options.server.clone(), options.replicas);
                match Node::start(options, &broker, None).await {
                    Ok(started) => {
                        node = Some(Arc::new(started));
                        answer(number, Answer::Done);
                    }
                    Err(reason) => answer(number, Answer::Failed { reason }),
                }
            }
            (body, Some(node)) => {
                let node = node.clone();
                tokio::spawn(async move { answer(number, node.answer(body).await) });
            }
            (_, None) => answer(number, Answer::Failed { reason: "it is not started".into() }),
        }
    }
    ExitCode::SUCCESS
}
